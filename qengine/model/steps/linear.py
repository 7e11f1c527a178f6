"""The kind linear: sums of products with weights, plus a bias; Conv, ConvTranspose, Gemm and MatMul.

In fixed point the sums are exact integers with n fraction bits, n being that of the input plus that of the weights. The
bias is an int32 with n fraction bits too, so that it is simply added. The total is rounded once, to the format of the
output; a fused Relu or Clip is a bound on the result.
"""

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.linear import Product, linear_fixed, linear_float, ordered_matmul
from qengine.kernels.reference.requantize import Tally
from qengine.kernels.reference.rounding import shift_left, shift_right
from qengine.model.graph import NO_ACTIVATION, ActivationBounds
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.step import Kernel, Step, Tensor
from qengine.qformat import QFormat

_BIAS = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class Linear(Step):
    """A linear operator: out = activation(b + product(x, w)).

    Attributes
    ----------
    x, w, b : input, weights and bias.
    product : function (x, w) -> sums of products, for any element type; a `LinearForm`.
    shape : shape of the output.
    summed : axes of w that are summed over.
    channel_axis : axis of the output that counts its channels.
    bias_shape : shape in which b broadcasts against the output.
    activation : fused Relu or Clip.
    scratch : see `Step`.
    """

    kind: ClassVar[str] = "linear"
    rule_kind: ClassVar[Kind] = "linear"
    x: Tensor
    w: Tensor
    b: Tensor | None
    product: Product
    shape: tuple[int, ...]
    summed: tuple[int, ...]
    channel_axis: int
    bias_shape: tuple[int, ...]
    activation: ActivationBounds | None = None
    scratch: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the input."""
        return self.x.dtype

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """x, w and, where there is one, b."""
        return (self.x, self.w) if self.b is None else (self.x, self.w, self.b)

    def float32(self) -> Kernel:
        """Return the kernel on real numbers."""
        activation = self.activation or NO_ACTIVATION
        product, shape = self.product, self.bias_shape

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            x, w, *rest = arrays
            bias = rest[0].reshape(shape).astype(x.dtype, copy=False) if rest else None
            return linear_float(x, w, bias, product, activation.low, activation.high)

        return run

    def known(self) -> NDArray[Any]:
        """Return the output of known operands: computed in float64 in the order of the elements, and rounded once."""
        if self.dtype.kind != "f":
            return super().known()
        x, w, *rest = (t.value.astype(np.float64) for t in self.operands if t.value is not None)
        ordered = replace(self, product=partial(self.product, matmul=ordered_matmul)).float32()
        return ordered(x, w, *rest).astype(self.dtype)

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        weight_bits = self.weight_fraction_bits()
        sum_fraction_bits = self.x.fraction_bits + weight_bits
        constant = self.b if self.b is not None and self.b.value is not None else None
        if constant is not None:
            _refuse_nan(constant)
        activation = self.activation or NO_ACTIVATION
        options: dict[str, Any] = {
            "shift": sum_fraction_bits - out.fraction_bits,
            "word": arithmetic.word(out.one_format),
            "accumulator_bits": arithmetic.accumulator.bits,
            "low": out.encode_bound(activation.low),
            "high": out.encode_bound(activation.high),
        }
        product = self.product
        known: list[tuple[NDArray[np.int64] | None, int]] = []  # bias and bound, once: native kernels need none
        bias_shift = None if constant is not None or self.b is None else self.b.fraction_bits - sum_fraction_bits

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            x, w, *rest = arrays
            if not known:
                codes = None if constant is None else bias_codes(constant, self.bias_shape, sum_fraction_bits)
                known.append((codes, self._bound(codes)))
            bias, bound = known[0]
            if bias_shift is not None:
                bias = _requantized_bias(rest[0].reshape(self.bias_shape), bias_shift)
            return linear_fixed(x, w, bias, product, bound=bound, **options, tally=tally)

        return run

    def saturated_bias(self) -> int:
        """Return the number of elements of a constant bias that saturate in int32."""
        if self.b is None or self.b.value is None:
            return 0
        scaled = _scaled_bias(self.b, self.bias_shape, self.x.fraction_bits + self.weight_fraction_bits())
        return int(np.count_nonzero((scaled < _BIAS.min) | (scaled > _BIAS.max)))

    def weight_fraction_bits(self) -> int | NDArray[np.int64]:
        """Return the fraction bits of the weights: one number, or an array that broadcasts against the output."""
        if isinstance(self.w.format, QFormat):
            return self.w.format.fraction_bits
        if self.w.format is None:
            raise FormatError(f"weights '{self.w.name}' have no format")
        n = np.array([f.fraction_bits for f in self.w.format.formats], np.int64)
        # A grouped ConvTranspose has the same formats in every group.
        n = np.tile(n, self.shape[self.channel_axis] // len(n))
        after = len(self.shape) - 1 - self.channel_axis % len(self.shape)
        return n.reshape(-1, *(1,) * after)

    def _bound(self, bias: NDArray[np.int64] | None) -> int:
        """Return a bound on |b| + sum(|x * w|), from the weights themselves where they are known."""
        largest = _largest(self.x)
        if self.w.value is not None:
            sums = np.abs(self.w.codes.astype(np.int64)).sum(axis=self.summed)
            products = largest * int(sums.max(initial=0))
        else:
            products = largest * _largest(self.w) * prod(self.w.shape[axis] for axis in self.summed)
        if self.b is None:
            return products
        return products + (1 << 31 if bias is None else int(np.abs(bias).max(initial=0)))


def bias_codes(b: Tensor, shape: tuple[int, ...], fraction_bits: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a constant bias as int32 with the fraction bits of the accumulator: half_even, saturated."""
    scaled = _scaled_bias(b, shape, fraction_bits)
    return np.minimum(np.maximum(scaled, _BIAS.min), _BIAS.max).astype(np.int64)


def _scaled_bias(b: Tensor, shape: tuple[int, ...], fraction_bits: int | NDArray[np.int64]) -> NDArray[np.float64]:
    assert b.value is not None
    _refuse_nan(b)
    return np.asarray(np.rint(np.ldexp(b.value.reshape(shape).astype(np.float64), fraction_bits)))


def _refuse_nan(b: Tensor) -> None:
    if np.isnan(b.value).any():  # type: ignore[arg-type]
        raise FormatError(f"constant '{b.name}' holds NaN: fixed point has no code for it")


def _requantized_bias(codes: NDArray[Any], shift: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a computed bias with the fraction bits of the accumulator, by the same rule as a constant one."""
    wide = codes.astype(np.int64)
    right = shift_right(wide, np.maximum(shift, 1), "half_even")
    moved = np.where(np.asarray(shift) > 0, right, shift_left(wide, np.maximum(-np.asarray(shift), 0)))
    return np.clip(moved, _BIAS.min, _BIAS.max)


def _largest(t: Tensor) -> int:
    assert t.format is not None
    word = t.format.word()
    return max(word.most, -word.least)
