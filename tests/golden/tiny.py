"""Tiny networks, each one kind of thing that torch exports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as fn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Residual(nn.Module):
    """conv-bn-relu, a block whose input is added to its output, max pool, Gemm, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1, dilation=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.classifier = nn.Linear(12 * 3 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 12, 12] -> [N, 5]."""
        x = self.stem(x)
        x = torch.relu(self.block(x) + x)
        x = self.pool(torch.relu(self.down(x)))
        return torch.softmax(self.classifier(torch.flatten(x, 1)), dim=1)


class Mobile(nn.Module):
    """Depthwise and pointwise convolutions, hard-swish, ReLU6, squeeze and excite, adaptive average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.swish, self.relu6, self.gate = nn.Hardswish(), nn.ReLU6(), nn.Hardsigmoid()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, 4]."""
        x = self.swish(self.stem(x))
        x = self.relu6(self.norm(self.depthwise(x)))
        x = x * self.gate(self.excite(torch.relu(self.squeeze(self.pool(x)))))
        x = self.pool(self.swish(self.pointwise(x)))
        return self.classifier(torch.flatten(x, 1))


class Decoder(nn.Module):
    """Two branches, a transposed convolution, bilinear resizes, concatenation, sigmoid; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
        self.dilated = nn.Conv2d(6, 4, 3, padding=2, dilation=2)
        self.mask = nn.Conv2d(10, 1, 3, padding=1)
        self.average = nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, 2, 10, 14] -> [N, 1, 10, 14] and [N, 10, 5, 7]."""
        code = fn.elu(self.encode(x))
        grown = self.up(code)
        context = fn.interpolate(self.dilated(code), scale_factor=2, mode="bilinear", align_corners=False)
        corners = fn.interpolate(x, size=(10, 14), mode="bilinear", align_corners=True)
        joined = torch.cat([grown, context, corners], dim=1)
        return torch.sigmoid(self.mask(joined)), self.average(joined)


class Signal(nn.Module):
    """One dimension: strided, dilated and grouped Conv1d, LeakyReLU, PReLU, max pool, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 8, 7, stride=2, padding=3),
            nn.LeakyReLU(0.1),
            nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=4),
            nn.BatchNorm1d(8),
            nn.PReLU(8),
            nn.MaxPool1d(2),
            nn.Conv1d(8, 6, 3, padding="same"),
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 2, L] -> [N, 3]."""
        return self.head(self.body(x).mean(dim=2))


class Shuffle(nn.Module):
    """Nearest resize, pixel shuffle, split, channel shuffle, reflect padding, tanh, GELU; any image size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect")
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.act = nn.GELU()
        self.shuffle = nn.PixelShuffle(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 1, H, W] -> [N, 1, 2H, 2W]."""
        left, right = self.act(self.first(x)).chunk(2, dim=1)
        count, channels, height, width = left.shape
        mixed = torch.stack([right, left * 0.5], dim=2).reshape(count, 2 * channels, height, width)
        fine = self.shuffle(self.second(self.act(self.grouped(mixed))))
        return torch.tanh(fine + self.grow(x))


class Attention(nn.Module):
    """Layer normalization and one head of attention over the pixels: MatMul, Transpose, Softmax, Split."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 16, 16] -> [N, 4]."""
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm(tokens)).split(8, dim=-1)
        weights = torch.softmax(query @ key.transpose(1, 2) / 8**0.5, dim=-1)
        return self.head((tokens + weights @ value).mean(dim=1))


@dataclass(frozen=True)
class Tiny:
    """A network to export, the shapes it is exported with and run at, and how."""

    module: Callable[[], nn.Module]
    traced: tuple[int, ...]
    run: tuple[int, ...]
    opset: int
    outputs: tuple[str, ...] = ("output",)
    free: Mapping[int, str] = field(default_factory=lambda: {0: "N"})  # axes of the input that may vary
    free_out: Mapping[int, str] = field(default_factory=dict)  # those of the outputs, besides the first
    keep_batchnorm: bool = False
    readable_names: bool = False


ANY_IMAGE = {0: "N", 2: "H", 3: "W"}
GROWN = {2: "H_out", 3: "W_out"}
TINY = {
    "tiny_residual_op11": Tiny(Residual, (1, 3, 12, 12), (3, 3, 12, 12), 11, keep_batchnorm=True),
    "tiny_residual_op17": Tiny(Residual, (1, 3, 12, 12), (3, 3, 12, 12), 17, readable_names=True),
    "tiny_mobile_op13": Tiny(Mobile, (1, 3, 12, 12), (2, 3, 15, 11), 13, free=ANY_IMAGE, keep_batchnorm=True),
    "tiny_mobile_op17": Tiny(Mobile, (1, 3, 12, 12), (2, 3, 15, 11), 17, free=ANY_IMAGE),
    "tiny_decoder_op11": Tiny(Decoder, (1, 2, 10, 14), (2, 2, 10, 14), 11, ("mask", "features")),
    "tiny_decoder_op17": Tiny(Decoder, (1, 2, 10, 14), (2, 2, 10, 14), 17, ("mask", "features"), readable_names=True),
    "tiny_signal_op13": Tiny(Signal, (1, 2, 40), (3, 2, 57), 13, free={0: "N", 2: "L"}),
    "tiny_shuffle_op13": Tiny(Shuffle, (1, 1, 8, 8), (2, 1, 7, 9), 13, free=ANY_IMAGE, free_out=GROWN),
    "tiny_shuffle_op20": Tiny(
        Shuffle, (1, 1, 8, 8), (2, 1, 7, 9), 20, free=ANY_IMAGE, free_out=GROWN, readable_names=True
    ),
    "tiny_attention_op17": Tiny(Attention, (1, 3, 16, 16), (2, 3, 16, 16), 17),
}
