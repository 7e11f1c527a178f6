"""The attributes of convolutions of integers."""

from __future__ import annotations

from dataclasses import dataclass

from qengine.model.ops.linear import conv
from qengine.model.ops.operator import Ints
from qengine.model.steps import Linear, Tensor


@dataclass(frozen=True)
class IntegerWindow:
    """The attributes of a convolution."""

    auto_pad: str = "NOTSET"
    dilations: Ints | None = None
    group: int = 1
    kernel_shape: Ints | None = None
    pads: Ints | None = None
    strides: Ints | None = None

    def step(self, x: Tensor, w: Tensor) -> Linear:
        """Return the step of the same convolution of real numbers."""
        return conv(x, w, **vars(self))
