"""The kind linear: sums of products with weights, plus a bias; Conv, ConvTranspose, Gemm and MatMul.

In fixed point the sums are exact integers with n fraction bits, n being that of the input plus that of the weights. The
bias is brought to n fraction bits too (`bias`), so that it is simply added. A device's register may be too narrow for
these sums, or saturate (`accumulator`). The total is rounded once, to the format of the output; a fused Relu or Clip is
a bound on the result.
"""

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.linear import (
    Product,
    linear_fixed,
    linear_float,
    linear_in_order,
    ordered_matmul,
)
from qengine.kernels.reference.register import RegisterSums
from qengine.kernels.reference.requantize import Tally
from qengine.model.graph import NO_ACTIVATION, ActivationBounds
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.bias import saturated_elements
from qengine.model.steps.forms import Convolution, LinearForm, MatrixProduct
from qengine.model.steps.step import Kernel, Step, Tensor
from qengine.qformat import QFormat


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
    def rule_kind(self) -> Kind:  # type: ignore[override]
        """The kind: "depthwise" for a Conv whose filters see one channel each, "dense" for constant matrices."""
        form = self.product
        if isinstance(form, MatrixProduct) and self.w.value is not None:
            return "dense"
        one_channel = isinstance(form, Convolution) and form.group > 1 and self.w.shape[1] == 1
        return "depthwise" if one_channel else "linear"

    def __post_init__(self) -> None:
        b = self.b
        if b is not None and b.value is not None and b.name in (self.x.name, self.w.name):
            # The format is that of the factor; as a bias the constant has the word of biases.
            object.__setattr__(self, "b", replace(b, format=None))

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
        rules, activation = Accumulation(self, out, arithmetic), self.activation or NO_ACTIVATION
        product, is_computed = self.product, self.b is not None and self.b.value is None

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            x, w, *rest = arrays
            bias = rules.computed_bias(rest[0]) if is_computed else rules.bias
            given: dict[str, Any] = {
                "shift": rules.shift,
                "word": arithmetic.word(out.one_format),
                "low": out.encode_bound(activation.low),
                "high": out.encode_bound(activation.high),
                "tally": tally,
            }
            if rules.in_order:
                sums, half = rules.register_sums(bias, rules.bound), rules.register_half
                return linear_in_order(x, w, self.in_order, sums, half=half, **given)
            kept, half = rules.kept_bits, rules.half
            return linear_fixed(x, w, bias, product, bound=rules.bound, accumulator_bits=kept, half=half, **given)

        return run

    def in_order(self, x: NDArray[Any], w: NDArray[Any], sums: RegisterSums) -> NDArray[Any]:
        """Return sums of products that a register holds, computed one tap after the other."""
        if isinstance(self.product, LinearForm):
            return self.product.in_order(x, w, sums)
        return self.product(x, w, matmul=sums)

    @property
    def taps(self) -> int:
        """The most products that a sum has."""
        return prod(self.w.shape[axis] for axis in self.summed)

    def saturated_bias(self, arithmetic: Arithmetic) -> int:
        """Return the number of elements of a constant bias that saturate in their word."""
        if self.b is None or self.b.value is None:
            return 0
        sums = self.x.fraction_bits + self.weight_fraction_bits()
        return saturated_elements(self.b, self.bias_shape, sums, arithmetic.bias)

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
