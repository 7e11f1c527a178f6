"""The kind resize: weighted sums at computed coordinates; mode "nearest" picks elements and keeps the format."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.coordinates import Axis
from qengine.kernels.reference.requantize import Tally, count
from qengine.kernels.reference.resize import (
    ResizeTaps,
    integer_taps,
    interpolate_fixed,
    interpolate_float,
    interpolation_taps,
    nearest_taps,
    pick,
)
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.step import Kernel, OneOperand, Tensor

TAP_BITS_NARROW, TAP_BITS_WIDE = 11, 14


@dataclass(frozen=True, eq=False)
class Resize(OneOperand):
    """x resized along `axes`; fields without a description are ONNX's attributes.

    Attributes
    ----------
    x : input.
    axes : axes whose length or scale changes.
    shape : shape of the output.
    mode : "nearest", "linear" or "cubic".
    coordinates : ONNX's coordinate_transformation_mode.
    """

    kind: ClassVar[str] = "resize"
    rule_kind: ClassVar[Kind] = "resize"
    axes: tuple[Axis, ...]
    shape: tuple[int, ...]
    mode: str
    coordinates: str
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation_value: float = 0.0

    def float32(self) -> Kernel:
        """Return the kernel on real numbers."""
        axes, taps, fill = self.axes, self.taps(), self.extrapolation_value
        resize = pick if self.mode == "nearest" else interpolate_float

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return resize(arrays[0], axes, taps, fill)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        axes, taps, fill = self.axes, self.taps(), out.encode(self.extrapolation_value)
        if self.mode == "nearest":

            def nearest(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
                codes = pick(arrays[0], axes, taps, fill)
                if tally is not None:
                    count(tally, codes, np.False_, np.False_, codes)
                return codes

            return nearest
        tap_bits = self.tap_bits
        whole = [integer_taps(t, tap_bits) for t in taps]
        shift, word = self.x.fraction_bits - out.fraction_bits, arithmetic.word(out.one_format)

        def interpolate(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            return interpolate_fixed(arrays[0], axes, whole, tap_bits, shift, word, fill, tally=tally)

        return interpolate

    @property
    def tap_bits(self) -> int:
        """The fraction bits of the taps in fixed point."""
        return TAP_BITS_NARROW if self.x.one_format.bits <= 8 else TAP_BITS_WIDE

    def taps(self) -> list[ResizeTaps]:
        """Return the taps of each output coordinate, along each axis."""
        if self.mode == "nearest":
            return [nearest_taps(a, self.coordinates, self.nearest_mode) for a in self.axes]
        return [
            interpolation_taps(
                a,
                self.mode,
                self.coordinates,
                cubic_coeff_a=self.cubic_coeff_a,
                exclude_outside=self.exclude_outside,
                antialias=self.antialias,
            )
            for a in self.axes
        ]
