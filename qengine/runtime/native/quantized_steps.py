"""Linear steps between quantized tensors, as products of integers.

A model that ONNX Runtime quantized ("QDQ") stores tensors as 8-bit integers, and computes on real numbers: integers to
real numbers, a convolution or matrix product, real numbers to integers. In float32, the reference computes it so. The
exact sum of products of the integers, times one factor, is the same number with less rounding, and an 8-bit dot is four
times as fast as one of float32: native runs take three such steps as one. A result that lies in the middle of two
integers, but for the rounding of float32, may become the one or the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally
from qengine.model.graph import NO_ACTIVATION, StoredConstant
from qengine.model.ops.quantization import Dequantized, Quantized
from qengine.model.rules import Arithmetic
from qengine.model.steps import FromCodes, Island, Kernel, Linear, Step, Tensor, ToCodes
from qengine.model.steps.forms import Convolution, MatrixProduct
from qengine.runtime.plan.plan import BoundStep, Plan

_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass(frozen=True)
class Scale:
    """The scale and the zero point of a whole tensor."""

    scale: np.float32
    zero_point: NDArray[Any]


@dataclass(frozen=True, eq=False)
class QuantizedLinear(Step):
    """A linear operator between integers.

    Attributes
    ----------
    x : integers of the input.
    of_x, of_y : scales of the input and of the output.
    linear : the operator on real numbers.
    weights : integers of the weights, less their zero points.
    factors : scales of the weights: one, or one for each channel.
    bias : integers of the bias, with the scale of the sums; None without a bias.
    bounds : least and largest integer of the output.
    kernels : reference kernels of the three steps.
    """

    kind: ClassVar[str] = "linear"
    x: Tensor
    of_x: Scale
    of_y: Scale
    linear: Linear
    weights: NDArray[np.int32]
    factors: NDArray[np.float32]
    bias: NDArray[np.int32] | None
    bounds: tuple[int, int]
    kernels: tuple[Kernel, Kernel, Kernel]

    @property
    def function(self) -> Any:
        """The form of the products."""
        return self.linear.product

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The input."""
        return (self.x,)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the output."""
        return self.linear.shape

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the output."""
        return self.of_y.zero_point.dtype

    def float32(self) -> Kernel:
        """Return the three kernels, one after the other."""

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            for kernel in self.kernels:
                x = kernel(x)
            return x

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:  # noqa: ARG002
        """Raise an error: such steps are made of float32 steps only."""
        raise AssertionError


def with_quantized_steps(plan: Plan) -> Plan:
    """Return a plan in which linear steps between quantized tensors are one step each; only of float32."""
    if plan.fixed is not None:
        return plan
    makers = {b.output.name: b for b in plan.steps}
    reads = Counter(s for b in plan.steps for s in b.sources if isinstance(s, str))
    reads.update(plan.outputs.keys())
    joined: dict[str, BoundStep] = {}
    gone: set[str] = set()
    for last in plan.steps:
        found = _joined(last, makers, reads)
        if found is not None:
            one, linear = found
            joined[last.output.name] = one
            gone.add(linear.output.name)
            reads[linear.step.operands[0].name] -= 1
    unread = {b.output.name for b in plan.steps if not reads[b.output.name] and _scale_of(b.step) is not None}
    kept = [joined.get(b.output.name, b) for b in plan.steps if b.output.name not in gone | unread]
    return replace(plan, steps=tuple(kept)) if joined else plan


def _joined(
    last: BoundStep, makers: Mapping[str, BoundStep], reads: Mapping[str, int]
) -> tuple[BoundStep, BoundStep] | None:
    """Return one step for a quantization and the two steps before it, and the middle one; None where it is none."""
    of_y = _scale_of(last.step)
    middle = makers.get(last.step.operands[0].name)
    if of_y is None or not isinstance(last.step, Island | ToCodes) or isinstance(last.step, FromCodes):
        return None
    if middle is None or not isinstance(middle.step, Linear) or reads[middle.output.name] != 1:
        return None
    linear = middle.step
    first = makers.get(linear.x.name)
    of_x = None if first is None else _scale_of(first.step)
    if first is None or of_x is None or of_y.zero_point.dtype not in _BYTES or of_x.zero_point.dtype not in _BYTES:
        return None
    if first.step.operands[0].dtype != of_x.zero_point.dtype or not isinstance(first.sources[0], str):
        return None
    weights = _weights(linear)
    if weights is None:
        return None
    factors, integers = weights
    bias = _bias(linear.b, of_x.scale * factors)
    if linear.b is not None and bias is None:
        return None
    if not _fits(integers, _channels_axis(linear), bias):
        return None
    kernels = tuple(_bound(b) for b in (first, middle, last))
    step = QuantizedLinear(
        x=first.step.operands[0],
        of_x=of_x,
        of_y=of_y,
        linear=linear,
        weights=integers,
        factors=factors,
        bias=bias,
        bounds=_bounds(linear, of_y),
        kernels=(kernels[0], kernels[1], kernels[2]),
    )
    one = BoundStep(middle.node, step, last.output, step.float32(), (first.sources[0],))
    return one, middle


def _bound(bound_step: BoundStep) -> Kernel:
    """Return the kernel of a step as a function of its first operand; the others are constants."""
    rest: Sequence[Any] = bound_step.sources[1:]

    def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
        return bound_step.kernel(*arrays, *rest)

    return run


def _scale_of(step: Step) -> Scale | None:
    """Return the scale of a conversion between float32 and integers by one constant scale; None for another step."""
    if isinstance(step, FromCodes | ToCodes):
        dtype = step.x.dtype if isinstance(step, FromCodes) else step.dtype
        if (step.dtype if isinstance(step, FromCodes) else step.x.dtype) != np.float32:
            return None
        scale = np.float32(np.ldexp(1.0, -step.format.fraction_bits))
        return Scale(scale, np.array([step.zero_point], dtype))
    if not isinstance(step, Island) or not isinstance(step.function, Quantized | Dequantized):
        return None
    x, scale_tensor, *zeros = step.inputs
    real = x if isinstance(step.function, Quantized) else None
    dtype = step.dtype if isinstance(step.function, Quantized) else x.dtype
    if (real.dtype if real is not None else step.dtype) != np.float32:
        return None
    values = [t.value for t in (scale_tensor, *zeros)]
    if any(v is None or v.size != 1 for v in values):
        return None
    scale_value, *points = values
    assert scale_value is not None
    zero = np.zeros(1, dtype) if not points or points[0] is None else points[0].reshape(1)
    return Scale(np.float32(scale_value.item()), zero)


def _channels_axis(linear: Linear) -> int | None:
    """Return the axis of the weights that counts the channels of the output; None where the weights have no such."""
    product = linear.product
    if isinstance(product, Convolution):
        return 0
    if isinstance(product, MatrixProduct) and not product.transposed_x and linear.w.ndim == 2 and linear.x.ndim > 1:
        return 0 if product.transposed_w else 1
    return None


def _weights(linear: Linear) -> tuple[NDArray[np.float32], NDArray[np.int32]] | None:
    """Return the scales of the channels, and the weights less their zero points; None where these do not fit bytes."""
    stored, axis = linear.w.stored, _channels_axis(linear)
    if stored is None or axis is None or stored.codes.dtype not in _BYTES or stored.scale.dtype != np.float32:
        return None
    if stored.scale.size > 1 and stored.axis % stored.codes.ndim != axis:
        return None
    shape = tuple(-1 if i == axis else 1 for i in range(stored.codes.ndim))
    zero = np.zeros(1, np.int32) if stored.zero_point is None else stored.zero_point.astype(np.int32)
    integers = stored.codes.astype(np.int32) - zero.reshape(shape if zero.size > 1 else ())
    if not integers.size or integers.min() < -128 or integers.max() > 127:
        return None
    return stored.scale.reshape(-1), integers


def _bias(b: Tensor | None, scales: NDArray[np.float32]) -> NDArray[np.int32] | None:
    """Return the integers of a bias; None where it has another scale than the sums, or is not constant."""
    stored: StoredConstant | None = None if b is None else b.stored
    if stored is None or stored.codes.dtype != np.int32 or stored.codes.ndim != 1:
        return None
    if stored.zero_point is not None and stored.zero_point.any():
        return None
    scale = stored.scale.reshape(-1)
    if scale.size not in (1, scales.size) or not np.allclose(scale, scales, rtol=1e-6, atol=0):
        return None
    return stored.codes


def _fits(weights: NDArray[np.int32], axis: int | None, bias: NDArray[np.int32] | None) -> bool:
    """Whether 32 bits hold the sums of products with integers of 8 bits, less their zero point."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = 255 * np.abs(weights).sum(axis=others, dtype=np.int64)
    if bias is not None:
        largest = largest + np.abs(bias.astype(np.int64))
    return int(largest.max()) < 1 << 31


def _bounds(linear: Linear, of_y: Scale) -> tuple[int, int]:
    """Return the integers between which a fused activation brings the output: rounding keeps the order."""
    activation, limits = linear.activation or NO_ACTIVATION, np.iinfo(of_y.zero_point.dtype)
    ends = [int(limits.min), int(limits.max)]
    for i, bound in enumerate((activation.low, activation.high)):
        if bound is not None and np.isfinite(bound):
            place = np.rint(np.float32(bound) / of_y.scale) + float(of_y.zero_point[0])
            ends[i] = int(np.clip(place, limits.min, limits.max))
    return ends[0], max(ends)
