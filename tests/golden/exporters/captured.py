"""Networks for torch.export: conditions and loops as operators, symbolic sizes, other element types."""

from __future__ import annotations

import torch
from torch import nn
from torch._higher_order_ops import while_loop
from torch._higher_order_ops.scan import scan
from torch.nn import functional as fn


class Gate(nn.Module):
    """One of two ways by torch.cond, each a network of its own: an If."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.sharp = nn.Conv2d(6, 4, 3, padding=1)
        self.smooth = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(6, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, 4, H, W]."""
        code = fn.silu(self.stem(x))
        return torch.cond(
            x.mean() > 0, lambda y: torch.relu(self.sharp(y)), lambda y: torch.tanh(self.smooth(y)), (code,)
        )


class Iterate(nn.Module):
    """torch's while_loop over a count and an image: a Loop."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Conv2d(2, 2, 3, padding=1)
        self.head = nn.Conv2d(2, 1, 1)

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        """[N, 2, H, W] and a whole number -> [N, 1, H, W]."""
        _, y = while_loop(
            lambda i, y: i < n,
            lambda i, y: (i + 1, 0.5 * y + 0.5 * torch.relu(self.step(y))),
            (torch.zeros_like(n), x),
        )
        return self.head(y)


class Filter(nn.Module):
    """A recurrent filter over the frames of a film by torch's scan: a Scan."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, N, 1, H, W] -> the last frame, and all."""

        def step(carry: torch.Tensor, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mixed = 0.5 * carry + 0.5 * torch.tanh(self.mix(frame))
            return mixed, mixed * 2.0

        return scan(step, torch.zeros_like(x[0]), x)


class Symbolic(nn.Module):
    """Sizes computed from sizes: halves, sums, a resize to a third, padding to a multiple, a grid of places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(9, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 2, 2 H, W + 3]."""
        count, _, height, width = x.shape
        code = torch.relu(self.stem(x))
        grown = fn.interpolate(code, size=(2 * height, width + 3), mode="bilinear", align_corners=False)
        half = fn.interpolate(code[:, :, : (height + 1) // 2], size=(2 * height, width + 3), mode="nearest")
        rows = torch.arange(2 * height, dtype=x.dtype).div(2 * height).view(1, 1, -1, 1)
        rows = rows.expand(count, 1, 2 * height, width + 3)
        return self.head(torch.cat([grown, half, rows], dim=1))


class Tokens(nn.Module):
    """Patches, two layers of a transformer with attention, the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", dropout=0.0)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, 4]."""
        return self.head(self.body(self.embed(x).flatten(2).transpose(1, 2)).mean(dim=1))


class Types(nn.Module):
    """Inputs of every kind: a table that integers look up, a mask of booleans, halves and doubles that become float."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.mix = nn.Conv1d(4, 4, 3, padding=1)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, half: torch.Tensor, brain: torch.Tensor, double: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tokens [N, L], mask [N, L], three of [N, 4, L] -> floats, and each type again."""
        rows = self.mix(self.table(ids).transpose(1, 2)).masked_fill(~mask[:, None], -1.0)
        total = rows + half.float() + brain.float() * double.float()
        return total, half * 2 + 1, brain.exp(), double.sqrt() / 3, torch.where(mask, ids, ids.sum())


class Warp(nn.Module):
    """An image read along a flow that a convolution computes, circular padding, bicubic growth."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")
        self.head = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 2, H, W] -> [N, 3, 2 H, 2 W]."""
        rows, columns = (torch.linspace(-1, 1, n) for n in x.shape[2:])
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        grid = grid + 0.25 * torch.tanh(self.flow(x)).permute(0, 2, 3, 1)
        warped = fn.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        return self.head(fn.interpolate(warped, scale_factor=2, mode="bicubic", align_corners=False))
