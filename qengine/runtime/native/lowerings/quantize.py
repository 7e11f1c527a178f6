"""Lowering of conversions between real numbers and the integers of quantized models, on plain buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.isa import Isa
from qengine.kernels.quantization import Dequantize, Quantize, Range, RangeScale, Rescale
from qengine.model.ops.quantization import NOT_FINITE, Dequantized, Quantized, check_scale
from qengine.model.steps import Evaluated, FromCodes, Island, Tensor, ToCodes
from qengine.runtime.native.broadcast_op import broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, constant_buffer

CHUNK = 4096
"""Elements of a part of a conversion, or of a range."""

Parameters = NDArray[Any]
"""Array of scales or zero points with one axis."""


@lowers_plain(Evaluated, "DynamicQuantizeLinear")
def lower_dynamic_quantize(context: PlainContext[Evaluated]) -> Lowered:
    """Lower DynamicQuantizeLinear: the range of chunks, the scale of all, and the codes."""
    (tensor,) = context.step.operands
    x = context.request(tensor)
    if x.stored != "f32":
        raise NotLowered(f"DynamicQuantizeLinear of {tensor.dtype}")
    codes, scale, zero = (TensorBuffer.plain(t) for t in context.outputs)
    ops = dynamic_ops(context.isa, x, (codes, scale, zero), context.fault(NOT_FINITE))
    return Lowered(ops, (codes, scale, zero))


def dynamic_ops(
    isa: Isa, x: TensorBuffer, outputs: tuple[TensorBuffer, TensorBuffer, TensorBuffer], fault: Address
) -> tuple[PlainOp, ...]:
    """Return the ops that quantize float32 to (codes, scale, zero point), as their range demands.

    Parameters
    ----------
    isa
        Instruction set that kernels are compiled for.
    x, outputs
        Buffers.
    fault
        Address of the number that is set where x is not finite; the scale is NaN then.
    """
    codes, scale, zero = outputs
    size = prod(x.shape)
    chunks = -(-size // CHUNK)
    ranges = TensorBuffer.flat(f"ranges of {x.name}", 2 * chunks, "f32")

    def range_arguments(part: Part) -> dict[str, Address]:
        numbers = {"first": part.first, "end": part.end, "chunk": CHUNK, "size": size}
        return {"x": part.inputs[0], "y": part.outputs[0], **numbers, "fault": fault}

    def scale_arguments(part: Part) -> dict[str, Address]:
        return {"ranges": part.inputs[0], "count": chunks, "scale": part.outputs[0], "zero": part.outputs[1]}

    find = PlainOp(isa, (x,), ranges, Range(), range_arguments, chunks, size / 8)
    choose = PlainOp(isa, (ranges,), scale, RangeScale(), scale_arguments, 1, 50.0, (zero,))
    return find, choose, quantize_op(isa, (x, scale, zero), codes)


@dataclass(frozen=True)
class _Spread:
    """Scales and zero points along an axis of a tensor.

    Attributes
    ----------
    outer, count, inner : number of elements before the axis, along it, and after it; one scale has a count of 1.
    """

    outer: int
    count: int
    inner: int

    @classmethod
    def of(cls, shape: tuple[int, ...], spread: tuple[int, ...]) -> _Spread:
        """Return the sizes for a shape in which the scales broadcast: -1 on their axis, or no axes."""
        if -1 not in spread:
            return cls(1, 1, prod(shape))
        axis = spread.index(-1)
        return cls(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))


def _conversion(
    isa: Isa,
    spec: Quantize | Dequantize | Rescale,
    inputs: tuple[TensorBuffer, ...],
    out: TensorBuffer,
    spread: _Spread,
    more: Mapping[str, int] | None = None,
) -> PlainOp:
    """Return the op of a conversion of (elements, scales, zero points), with `more` arguments of its kernel."""
    rows, inner, count, step = spread.outer * spread.count, spread.inner, spread.count, 0
    if spec.by_column:
        rows, inner, count = spread.outer, spread.count, 1
    elif spread.count == 1:
        rows, step = -(-inner // CHUNK), CHUNK
    sizes = ITEMSIZE[inputs[0].stored], ITEMSIZE[out.stored]

    def arguments(part: Part) -> dict[str, Address]:
        (x, scale, zero), (y,) = part.inputs, part.outputs
        numbers = {"first": part.first, "end": part.end, "inner": inner, "count": count}
        if step:
            start, end = part.first * step, min(part.end * step, inner)
            x, y = x + start * sizes[0], y + start * sizes[1]
            numbers = {"first": 0, "end": 1, "inner": end - start, "count": 1}
        return {"x": x, "y": y, "scale": scale, "zero": zero, **numbers, **(more or {})}

    work = (1.5 if isinstance(spec, Quantize) else 0.4) * spread.outer * spread.count * spread.inner
    return PlainOp(isa, inputs, out, spec, arguments, rows, work)


def quantize_op(
    isa: Isa, inputs: tuple[TensorBuffer, TensorBuffer, TensorBuffer], out: TensorBuffer, spread: _Spread | None = None
) -> PlainOp:
    """Return the op that quantizes (elements, scales, zero points).

    Parameters
    ----------
    isa
        Instruction set that the kernel is compiled for.
    inputs, out
        Buffers.
    spread
        Axis of the scales; None for one scale.
    """
    spread = spread or _Spread(1, 1, prod(out.shape))
    by_column = spread.count > 1 and spread.inner == 1
    return _conversion(isa, Quantize(out.stored, by_column), inputs, out, spread)


def rescale_op(
    isa: Isa,
    sums: TensorBuffer,
    numbers: tuple[Parameters, Parameters],
    out: TensorBuffer,
    shape: tuple[int, ...],
    spread: tuple[int, ...],
    bounds: tuple[int, int] | None = None,
) -> PlainOp:
    """Return the op that makes integers of sums.

    Parameters
    ----------
    isa
        Instruction set that the kernel is compiled for.
    sums, out
        Buffers.
    numbers
        Factors, and one zero point.
    shape, spread
        Shape of the output, and that in which factors broadcast against it.
    bounds
        Least and largest integer; None for those of the type.
    """
    factors, zero = numbers
    axis = _Spread.of(shape, spread)
    spec = Rescale(out.stored, by_column=axis.count > 1 and axis.inner == 1)
    inputs = sums, constant_buffer(factors), constant_buffer(np.array(np.broadcast_to(zero, factors.shape)))
    limits = np.iinfo(numbers[1].dtype)
    low, high = bounds or (int(limits.min), int(limits.max))
    return _conversion(isa, spec, inputs, out, axis, {"low": low, "high": high})


def known(t: Tensor, scale: str | None = None, *, may_be_zero: bool = False) -> Parameters:
    """Return the elements of a constant; NotLowered for a tensor that is computed.

    Parameters
    ----------
    t
        The tensor.
    scale
        Name of a scale, which is checked; None for another tensor.
    may_be_zero
        Whether the scale may be 0.
    """
    if t.value is None:
        raise NotLowered(f"'{t.name}', which is computed during the run")
    if scale is not None:
        if t.value.dtype != np.float32:
            raise NotLowered(f"scales of {t.value.dtype}")
        check_scale(t.value, scale, may_be_zero=may_be_zero)
    return t.value


_INTEGERS = ("i8", "u8", "i16", "u16")


@lowers_plain(Island, Quantized)
def lower_quantize(context: PlainContext[Island]) -> Lowered:
    """Lower QuantizeLinear in float32, by constant scales."""
    form, (x, scale, *zeros) = context.function, context.step.inputs
    scales, points = _parameters(scale, zeros, form.dtype)
    return _quantized(context, x, scales, points, form.shape)


@lowers_plain(ToCodes)
def lower_to_codes(context: PlainContext[ToCodes]) -> Lowered:
    """Lower QuantizeLinear by a power of two: of real numbers, or of codes that the integers are, less a zero point."""
    step = context.step
    if step.x.format == step.format:
        return _moved(context, step.x, "add", step.zero_point)
    return _quantized(context, step.x, _power(step.format.fraction_bits), np.array([step.zero_point], step.dtype), ())


def _quantized(
    context: PlainContext[Any], x: Tensor, scales: Parameters, points: Parameters, spread: tuple[int, ...]
) -> Lowered:
    _needs_reals(context)
    source, out = context.request(x), TensorBuffer.plain(context.out)
    if source.stored != "f32" or out.stored not in _INTEGERS:
        raise NotLowered(f"QuantizeLinear of {x.dtype} to {context.out.dtype}")
    inputs = source, constant_buffer(scales), constant_buffer(points)
    return Lowered.by(quantize_op(context.isa, inputs, out, _Spread.of(x.shape, spread)))


@lowers_plain(Island, Dequantized)
def lower_dequantize(context: PlainContext[Island]) -> Lowered:
    """Lower DequantizeLinear in float32, by constant scales."""
    form, (x, scale, *zeros) = context.function, context.step.inputs
    scales, points = _parameters(scale, zeros, x.dtype)
    return _dequantized(context, x, scales, points, form.shape)


@lowers_plain(FromCodes)
def lower_from_codes(context: PlainContext[FromCodes]) -> Lowered:
    """Lower DequantizeLinear by a power of two; see `lower_to_codes`."""
    step = context.step
    if context.out.format == step.format:
        return _moved(context, step.x, "subtract", step.zero_point)
    points = np.array([step.zero_point], step.x.dtype)
    return _dequantized(context, step.x, _power(step.format.fraction_bits), points, ())


def _dequantized(
    context: PlainContext[Any], x: Tensor, scales: Parameters, points: Parameters, spread: tuple[int, ...]
) -> Lowered:
    _needs_reals(context)
    source, out = context.request(x), TensorBuffer.plain(context.out)
    if source.stored not in (*_INTEGERS, "i32") or out.stored != "f32":
        raise NotLowered(f"DequantizeLinear of {x.dtype} to {context.out.dtype}")
    axis = _Spread.of(x.shape, spread)
    spec = Dequantize(source.stored, by_column=axis.count > 1 and axis.inner == 1)
    inputs = source, constant_buffer(scales), constant_buffer(points)
    return Lowered.by(_conversion(context.isa, spec, inputs, out, axis))


def decode_op(isa: Isa, codes: TensorBuffer, out: TensorBuffer, fraction_bits: int) -> PlainOp:
    """Return the op that makes real numbers of codes in plain order; every format has a power of two in float32."""
    zero = np.zeros(1, f"{codes.stored[0]}{ITEMSIZE[codes.stored]}")
    inputs = codes, constant_buffer(_power(fraction_bits)), constant_buffer(zero)
    return _conversion(isa, Dequantize(codes.stored), inputs, out, _Spread(1, 1, prod(out.shape)))


def _moved(context: PlainContext[Any], x: Tensor, operation: str, zero_point: int) -> Lowered:
    """Return integers plus or minus a zero point, modulo 2 to the power of their bits, lowered to one op."""
    source, out = context.request(x), TensorBuffer.plain(context.out)
    if ITEMSIZE[source.stored] != ITEMSIZE[out.stored]:
        raise NotLowered(f"{x.dtype} as {context.out.dtype}")
    if not zero_point:
        out.view_of = source
        return Lowered((), (out,))
    element = f"u{8 * ITEMSIZE[out.stored]}"
    point = constant_buffer(np.array([zero_point], context.out.dtype if operation == "add" else x.dtype))
    types = (element, element, element)
    operands = ((source, x.shape), (point, ()))
    return Lowered.by(broadcast_op(context.isa, operation, operands, out, context.out.shape, types=types))


def _parameters(scale: Tensor, zeros: list[Tensor], dtype: np.dtype[Any]) -> tuple[Parameters, Parameters]:
    """Return scales, and a zero point for each of them."""
    if scale.value is None or any(z.value is None for z in zeros):
        raise NotLowered("a scale that is computed during the run")
    scales = scale.value.reshape(-1).astype(np.float32)
    points = [z.value.reshape(-1) for z in zeros if z.value is not None]
    zero = points[0] if points else np.zeros(1, dtype)
    return scales, np.array(np.broadcast_to(zero, scales.shape))


def _power(fraction_bits: int) -> Parameters:
    return np.array([np.ldexp(1.0, -fraction_bits)], np.float32)


def _needs_reals(context: PlainContext[Any]) -> None:
    if not context.is_float:
        raise NotLowered("a conversion of codes")
