"""What several families are built of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def convolution(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Conv, BatchNorm and an activation."""
    parts = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    parts.append(nn.BatchNorm2d(outputs))
    if act is not None:
        parts.append(act())
    return nn.Sequential(*parts)


class Excite(nn.Module):
    """Squeeze and excite: channels are scaled by what their means say."""

    def __init__(self, channels: int, squeezed: int, act: Callable[[], nn.Module], gate: Callable[[], nn.Module]):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same."""
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class Inverted(nn.Module):
    """Inverted residual block: wider, depthwise, perhaps squeeze and excite, narrow again."""

    def __init__(
        self,
        inputs: int,
        wide: int,
        outputs: int,
        kernel: int,
        stride: int,
        act: Callable[[], nn.Module],
        excite: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        self.adds = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            convolution(inputs, wide, 1, act=act),
            convolution(wide, wide, kernel, stride, wide, act=act),
            excite(wide) if excite else nn.Identity(),
            convolution(wide, outputs, 1, act=None),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        return x + self.body(x) if self.adds else self.body(x)
