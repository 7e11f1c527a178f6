"""Image to image: segmentation and super-resolution."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .parts import convolution


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs), convolution(outputs, outputs))


class UNet(nn.Module):
    """Down by max pools, up by a transposed convolution and by a bilinear Resize, with what was before beside."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = _double(3, 8), _double(8, 12), _double(12, 16)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(16, 12, 2, stride=2)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.fourth, self.fifth = _double(24, 12), _double(20, 8)
        self.mask = nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 24, 24] -> [N, 2, 24, 24]."""
        fine = self.first(x)
        middle = self.second(self.pool(fine))
        up = self.up(self.third(self.pool(middle)))
        # Where lengths are odd the halves do not meet, and zeros are put around.
        up = fn.pad(up, [0, middle.shape[3] - up.shape[3], 0, middle.shape[2] - up.shape[2]])
        x = self.grow(self.fourth(torch.cat([middle, up], dim=1)))
        return torch.sigmoid(self.mask(self.fifth(torch.cat([fine, x], dim=1))))


class FSRCNN(nn.Module):
    """Narrow, map, wide, then a transposed convolution that enlarges; a PReLU for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.PReLU(16),
            nn.Conv2d(16, 6, 1), nn.PReLU(6),
            nn.Conv2d(6, 6, 3, padding=1), nn.PReLU(6),
            nn.Conv2d(6, 6, 3, padding=1), nn.PReLU(6),
            nn.Conv2d(6, 16, 1), nn.PReLU(16),
            nn.ConvTranspose2d(16, 1, 9, stride=3, padding=4, output_padding=2),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 1, 3 H, 3 W]."""
        return self.body(x)


class ESPCN(nn.Module):
    """Convolutions with tanh, then channels become pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(),
            nn.Conv2d(16, 12, 3, padding=1), nn.Tanh(),
            nn.Conv2d(12, 9, 3, padding=1), nn.PixelShuffle(3),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 1, 3 H, 3 W]."""
        return torch.clamp(self.body(x), 0.0, 1.0)


class EDSR(nn.Module):
    """Residual blocks without BatchNorm, scaled and added; the mean colour is taken away and given back."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.449, 0.438, 0.404]).view(1, 3, 1, 1))
        self.head = nn.Conv2d(3, 12, 3, padding=1, padding_mode="reflect")
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1)) for _ in range(3)
        )
        self.last = nn.Conv2d(12, 12, 3, padding=1, padding_mode="replicate")
        self.grow = nn.Sequential(nn.Conv2d(12, 48, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(12, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, 3, 2 H, 2 W]."""
        x = head = self.head(x - self.mean)
        for block in self.blocks:
            x = x + 0.1 * block(x)
        return self.grow(head + self.last(x)) + self.mean
