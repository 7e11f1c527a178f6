"""Detectors: features of several sizes, mixed, and heads on them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .classifiers import Basic
from .parts import convolution


def _smooth(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return convolution(inputs, outputs, kernel, stride, act=nn.SiLU)


class CrossStage(nn.Module):
    """Half of the channels go through residual convolutions, and all are put together again."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = _smooth(inputs, outputs, 1)
        self.block = nn.Sequential(_smooth(outputs // 2, outputs // 2), _smooth(outputs // 2, outputs // 2))
        self.leave = _smooth(3 * outputs // 2, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        left, right = self.enter(x).split(self.block[0][0].in_channels, dim=1)
        return self.leave(torch.cat([left, right, right + self.block(right)], dim=1))


class Pyramid(nn.Module):
    """Max pools of growing reach, side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = _smooth(channels, channels // 2, 1), _smooth(2 * channels, channels, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same."""
        found = [self.enter(x)]
        for _ in range(3):
            found.append(self.pool(found[-1]))
        return self.leave(torch.cat(found, dim=1))


class Yolo(nn.Module):
    """Two sizes mixed down and up; boxes in pixels, scores between 0 and 1."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.fine = nn.Sequential(_smooth(3, 8, 3, 2), _smooth(8, 12, 3, 2), CrossStage(12, 12))
        self.coarse = nn.Sequential(_smooth(12, 16, 3, 2), CrossStage(16, 16), Pyramid(16))
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.up, self.down = CrossStage(28, 12), _smooth(12, 12, 3, 2)
        self.mix = CrossStage(28, 16)
        self.heads = nn.ModuleList([nn.Conv2d(12, 2 * (5 + classes), 1), nn.Conv2d(16, 2 * (5 + classes), 1)])
        self.register_buffer("anchors", torch.tensor([[[4.0, 6.0], [8.0, 5.0]], [[10.0, 12.0], [16.0, 14.0]]]))
        for level, size in enumerate((8, 4)):
            rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
            self.register_buffer(f"grid{level}", torch.stack([columns, rows], dim=-1)[None, None].float() - 0.5)

    def decode(self, x: torch.Tensor, level: int) -> torch.Tensor:
        """Return [N, boxes, 5 + classes]: centre, size, objectness and classes."""
        count, channels, height, width = x.shape
        x = x.view(count, 2, channels // 2, height, width).permute(0, 1, 3, 4, 2).sigmoid()
        stride = 4.0 * 2**level
        centre = (x[..., 0:2] * 2.0 + getattr(self, f"grid{level}")) * stride
        size = (x[..., 2:4] * 2.0) ** 2 * self.anchors[level].view(1, 2, 1, 1, 2)
        return torch.cat([centre, size, x[..., 4:]], dim=-1).view(count, -1, channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 160, 8]."""
        fine = self.fine(x)
        coarse = self.coarse(fine)
        fine = self.up(torch.cat([self.grow(coarse), fine], dim=1))
        coarse = self.mix(torch.cat([self.down(fine), coarse], dim=1))
        found = [head(x) for head, x in zip(self.heads, (fine, coarse), strict=True)]
        return torch.cat([self.decode(x, level) for level, x in enumerate(found)], dim=1)


class DBNet(nn.Module):
    """Text detector: residual features, a pyramid that is enlarged and put together, a soft threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 8, 3, 2)
        self.stages = nn.ModuleList([Basic(8, 8), Basic(8, 12, 2), Basic(12, 16, 2)])
        self.lateral = nn.ModuleList(nn.Conv2d(n, 12, 1, bias=False) for n in (8, 12, 16))
        self.smooth = nn.ModuleList(nn.Conv2d(12, 4, 3, padding=1, bias=False) for _ in range(3))
        self.heads = nn.ModuleList(
            nn.Sequential(
                convolution(12, 6), nn.ConvTranspose2d(6, 6, 2, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 1, 1)
            )
            for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 3, 32, 32]: probability, threshold and what they make together."""
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        sizes = [lateral(x) for lateral, x in zip(self.lateral, found, strict=True)]
        for i in (1, 0):
            sizes[i] = sizes[i] + fn.interpolate(sizes[i + 1], scale_factor=2, mode="nearest")
        smooth = [smooth(x) for smooth, x in zip(self.smooth, sizes, strict=True)]
        grown = [smooth[0]] + [
            fn.interpolate(x, scale_factor=2 << i, mode="bilinear", align_corners=False)
            for i, x in enumerate(smooth[1:])
        ]
        probability, threshold = (torch.sigmoid(head(torch.cat(grown, dim=1))) for head in self.heads)
        soft = 1.0 / (1.0 + torch.exp(-10.0 * (probability - threshold)))
        return torch.cat([probability, threshold, soft], dim=1)
