"""Classifiers of depthwise convolutions, and one with the parts of a transformer."""

from __future__ import annotations

import torch
from torch import nn

from .parts import Excite, Inverted, convolution


class MobileV1(nn.Module):
    """Depthwise and pointwise convolutions, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [convolution(3, 8, 3, 2)]
        for inputs, outputs, stride in ((8, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2)):
            blocks += [convolution(inputs, inputs, 3, stride, inputs), convolution(inputs, outputs, 1)]
        self.features = nn.Sequential(*blocks, nn.AvgPool2d(4))
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return torch.softmax(self.classifier(self.features(x).flatten(1)), dim=-1)


class MobileV2(nn.Module):
    """Inverted residual blocks, ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 8, 3, 2, act=nn.ReLU6),
            Inverted(8, 16, 8, 3, 1, nn.ReLU6),
            Inverted(8, 24, 12, 3, 2, nn.ReLU6),
            Inverted(12, 24, 12, 3, 1, nn.ReLU6),
            convolution(12, 32, 1, act=nn.ReLU6),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1))


def _hard_excite(channels: int) -> nn.Module:
    return Excite(channels, 4, nn.ReLU, nn.Hardsigmoid)


class MobileV3(nn.Module):
    """Inverted residual blocks with squeeze and excite, hard-swish, hard-sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 8, 3, 2, act=nn.Hardswish),
            Inverted(8, 8, 8, 3, 1, nn.ReLU, _hard_excite),
            Inverted(8, 24, 12, 3, 2, nn.ReLU),
            Inverted(12, 24, 12, 5, 1, nn.Hardswish, _hard_excite),
            convolution(12, 32, 1, act=nn.Hardswish),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(32, 24), nn.Hardswish(), nn.Linear(24, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class ReLU6(nn.Module):
    """The steps of a hard-sigmoid as code written before there was one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Clip x + 3."""
        return nn.functional.relu6(x + 3.0)


class OldSwish(ReLU6):
    """A hard-swish written as four operators."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x relu6(x + 3) / 6."""
        return x * super().forward(x) / 6.0


class OldSigmoid(ReLU6):
    """A hard-sigmoid written as three operators."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu6(x + 3) / 6."""
        return super().forward(x) / 6.0


class OldMobileV3(nn.Module):
    """The same with activations that are spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 8, 3, 2, act=OldSwish),
            Inverted(8, 24, 8, 3, 1, OldSwish, lambda channels: Excite(channels, 4, nn.ReLU, OldSigmoid)),
            convolution(8, 32, 1, act=OldSwish),
        )
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return self.classifier(self.features(x).mean((2, 3)))


def _smooth_excite(channels: int) -> nn.Module:
    return Excite(channels, 4, nn.SiLU, nn.Sigmoid)


class EfficientNet(nn.Module):
    """Inverted residual blocks with squeeze and excite, SiLU, sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 8, 3, 2, act=nn.SiLU),
            Inverted(8, 16, 8, 3, 1, nn.SiLU, _smooth_excite),
            Inverted(8, 24, 12, 5, 2, nn.SiLU, _smooth_excite),
            Inverted(12, 24, 12, 3, 1, nn.SiLU, _smooth_excite),
            convolution(12, 32, 1, act=nn.SiLU),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] -> [N, 10]."""
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))
