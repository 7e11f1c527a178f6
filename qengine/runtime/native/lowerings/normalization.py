"""Lowering of normalizations: of layers, groups, instances, by root mean square, by a norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from qengine.kernels.elements import lanes_of
from qengine.kernels.local_response import LocalResponse, scratch_bytes
from qengine.kernels.reference.normalization_fixed import Z_BITS
from qengine.kernels.rows import CodeNormalize, Normalize
from qengine.model.eager.elements import axis_of
from qengine.model.steps import Evaluated, Rows, Tensor
from qengine.model.steps.row_forms import Standardized, offset_of_constant
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.row_op import Extent, code_end, extent_of, row_op
from qengine.runtime.native.tensor_buffer import TensorBuffer, constant_buffer

Context = PlainContext[Rows] | PlainContext[Evaluated]

_NARROW_BITS, _NARROW_LENGTH = 30, 1 << 13
"""Bits of an element about its mean, and length of a row, up to which kernels multiply 32 bits."""


@dataclass(frozen=True)
class _Parameters:
    """Gain and offset.

    Attributes
    ----------
    gain, offset : tensors; None for 1 and for 0.
    kind : see `Normalize`.
    count : number of elements that each must have.
    span : elements of a row that share one; 0 for one of each element.
    """

    gain: Tensor | None
    offset: Tensor | None
    kind: Any
    count: int
    span: int = 0


@lowers_plain(Rows, Standardized)
def lower_standardized(context: PlainContext[Rows]) -> Lowered:
    """Lower a normalization over neighbouring axes; axes of length 1 may lie between."""
    form: Standardized = context.function
    extent, parameters = _extent(form), _parameters_of(context.step, form)
    if extent[2] > 1 and parameters.kind == "span":
        raise NotLowered("parameters of parts of rows whose elements are apart")
    if not context.is_float:
        return _of_codes(context, extent, parameters)
    measure = "norm 2" if form.measure == "norm" else form.measure
    return _normalized(context, context.step.x, extent, (measure, form.epsilon), parameters)


def _extent(form: Standardized) -> Extent:
    """Return the extent of the rows of a form."""
    axes = {axis for axis in form.axes if form.view[axis] > 1}
    first, end = (min(axes), max(axes) + 1) if axes else (len(form.view) - 1, len(form.view))
    if any(form.view[axis] > 1 and axis not in axes for axis in range(first, end)):
        raise NotLowered(f"statistics over the axes {sorted(axes)} of {list(form.view)}")
    return extent_of(form.view, first, end)


def _parameters_of(step: Rows, form: Standardized) -> _Parameters:
    """Return gain and offset of a step."""
    if not step.parameters:
        return _Parameters(None, None, None, 0)
    gain, offset = (*step.parameters, None)[:2]
    if form.parameter_shape is None:
        row = form.view[form.axes[0] :]
        return _Parameters(_row_of(gain, row), _row_of(offset, row), "element", prod(row))
    within = prod(form.parameter_shape[axis] for axis in form.axes)
    if within == form.length == prod(form.parameter_shape):
        return _Parameters(gain, offset, "element", within)
    if form.length % within:
        raise NotLowered("parameters of uneven parts of a row")
    return _Parameters(gain, offset, "span", prod(form.parameter_shape), form.length // within)


def _of_codes(context: PlainContext[Rows], extent: Extent, parameters: _Parameters) -> Lowered:
    """Lower a normalization of codes with constant parameters."""
    x, out, form = context.step.x, context.out, context.function
    if any(t.value is None for t in context.step.parameters):
        raise NotLowered("a normalization of codes with a gain or an offset that is computed")
    scale, buffer, word = form.scale(x), TensorBuffer.plain(out), context.arithmetic.word(out.one_format)
    gains, offsets, bits = np.ones(1, np.int32), np.zeros(1, np.int64), Z_BITS
    if parameters.kind is not None:
        gain, offset = parameters.gain, parameters.offset
        assert gain is not None
        bits += gain.fraction_bits
        gains = gain.codes.astype(np.int32)
        offsets = np.zeros(gains.size, np.int64) if offset is None else offset_of_constant(offset, bits)
    width = x.one_format.bits + max(form.length - 1, 0).bit_length()
    narrow = width <= _NARROW_BITS and form.length <= _NARROW_LENGTH
    source = context.request(x)
    spec = CodeNormalize(
        source.stored,
        buffer.stored,
        extent[2] > 1,
        scale.centred,
        parameters.kind,
        narrow,
        word.rounding,
        word.fitting,
    )
    first = scale.count, scale.epsilon, scale.exponent, scale.reciprocal
    inputs = {
        "numbers": constant_buffer(np.array([*first, *code_end(word, bits - out.fraction_bits)], np.int64), "numbers"),
        "gain": constant_buffer(gains, "gains"),
        "offset": constant_buffer(offsets, "offsets"),
    }
    numbers = {"gains": parameters.count, "span": parameters.span}
    op = row_op(context.isa, spec, source, buffer, extent, numbers=numbers, inputs=inputs, element_cycles=6.0)
    return Lowered.by(op)


@lowers_plain(Evaluated, "LayerNormalization")
def lower_layer_normalization_with_statistics(context: PlainContext[Evaluated]) -> Lowered:
    """Lower LayerNormalization with its statistics."""
    given = list(context.step.evaluation.inputs)
    x, gain, offset = [*given, None, None][:3]
    assert x is not None
    node = context.step.evaluation.node
    first = axis_of(node.number("axis", -1), x.ndim)
    row = x.shape[first:]
    parameters = _Parameters(_row_of(gain, row), _row_of(offset, row), "element", prod(row))
    measure = "variance", node.number("epsilon", 1e-5)
    return _normalized(context, x, extent_of(x.shape, first, x.ndim), measure, parameters)


@lowers_plain(Evaluated, "LpNormalization")
def lower_lp_normalization(context: PlainContext[Evaluated]) -> Lowered:
    """Lower LpNormalization of order 1 along one axis."""
    (x,) = context.step.evaluation.inputs
    assert x is not None
    node = context.step.evaluation.node
    if node.number("p", 2) != 1:
        raise NotLowered(f"a norm of order {node.number('p', 2)}")
    axis = axis_of(node.number("axis", -1), x.ndim)
    none = _Parameters(None, None, None, 0)
    return _normalized(context, x, extent_of(x.shape, axis, axis + 1), ("norm 1", 0.0), none)


_ROOTS: Mapping[float, Literal["root", "roots", "one"]] = MappingProxyType({0.5: "root", 0.75: "roots", 1.0: "one"})


@lowers_plain(Evaluated, "LRN")
def lower_lrn(context: PlainContext[Evaluated]) -> Lowered:
    """Lower LRN: lanes are positions, and each goes through the channels."""
    (x,) = context.step.evaluation.inputs
    assert x is not None
    node, out = context.step.evaluation.node, TensorBuffer.plain(context.out)
    if not context.is_float:
        raise NotLowered("an island in fixed point")
    if out.stored not in ("f32", "f64"):
        raise NotLowered(f"LRN of {x.dtype}")
    beta, size = node.number("beta", 0.75), node.number("size", 0)
    power = _ROOTS.get(beta) or ("real" if beta % 1 else "odd" if beta % 2 else "even")
    if beta == 0 or (beta not in _ROOTS and out.stored == "f64"):
        raise NotLowered(f"LRN of {x.dtype} with the power {beta}")
    most = x.shape[1] - 1
    before, after = min((size - 1) // 2, most), min(size // 2, most)
    numbers = {"before": before, "window": before + after + 1}
    scalars = np.array([node.number("alpha", 1e-4) / size, node.number("bias", 1.0), beta])
    op = row_op(
        context.isa,
        LocalResponse(out.stored, power),  # type: ignore[arg-type]
        context.request(x),
        out,
        extent_of(x.shape, 1, 2),
        numbers=numbers,
        inputs={"scalars": constant_buffer(scalars, "scalars")},
        element_cycles=3.0,
        scratch=scratch_bytes(numbers["window"], lanes_of(out.stored)),  # type: ignore[arg-type]
    )
    return Lowered.by(op)


def _normalized(
    context: Context, x: Tensor, extent: Extent, measure: tuple[Any, float], parameters: _Parameters
) -> Lowered:
    """Lower a normalization.

    Parameters
    ----------
    context, x, extent
        Context, input and its extent.
    measure
        See `Normalize`, and the number epsilon.
    parameters
        Gain and offset.
    """
    out, *statistics = (TensorBuffer.plain(t) for t in context.outputs)
    if not context.is_float:
        raise NotLowered("an island in fixed point")
    if out.stored not in ("f32", "f64"):
        raise NotLowered(f"a normalization of {x.dtype}")
    if any(t is not None and t.dtype != x.dtype for t in (*context.step.operands, *context.outputs)):
        raise NotLowered(f"a normalization of {x.dtype} with parameters or statistics of another type")
    element: Any = out.stored
    gain, offset = (
        _parameter(context, t, parameters.count, fill) for t, fill in ((parameters.gain, 1.0), (parameters.offset, 0.0))
    )
    scalars = constant_buffer(np.array([measure[1], extent[1]], x.dtype), "scalars")
    others: dict[str, TensorBuffer] = {}
    if statistics:
        spare = [TensorBuffer.flat(f"{out.name} ({name})", extent[0], element) for name in ("mean", "inverse")]
        statistics = [*statistics, *spare[len(statistics) :]]
        others = {"mean": statistics[0], "inverse": statistics[1]}
    spec = Normalize(element, extent[2] > 1, measure[0], parameters.kind, bool(statistics))
    numbers = {"gains": parameters.count, "span": parameters.span} | ({} if statistics else {"mean": 0, "inverse": 0})
    inputs = {"scalars": scalars, "gain": gain, "offset": offset}
    op = row_op(context.isa, spec, context.request(x), out, extent, numbers=numbers, inputs=inputs, others=others)
    return Lowered((op,), (out, *statistics)[: len(context.outputs)])


def _parameter(context: Context, t: Tensor | None, count: int, fill: float) -> TensorBuffer:
    """Return the buffer of a gain or an offset, of numbers where there is none."""
    dtype = context.out.dtype
    if t is None:
        return constant_buffer(np.full(max(count, 1), fill, dtype), str(fill))
    if prod(t.shape) != count:
        raise NotLowered(f"'{t.name}' {list(t.shape)} as {count} parameters")
    return context.request(t)


def _row_of(t: Tensor | None, row: tuple[int, ...]) -> Tensor | None:
    """Return a parameter of a row: one that is constant may broadcast to it."""
    if t is None or prod(t.shape) == prod(row):
        return t
    if t.value is None or prod(t.shape[: max(t.ndim - len(row), 0)]) != 1:
        raise NotLowered(f"'{t.name}' {list(t.shape)}, broadcast to rows {list(row)}")
    full = np.broadcast_to(t.value.reshape(t.shape[max(t.ndim - len(row), 0) :]), row)
    return replace(t, shape=row, value=np.ascontiguousarray(full))
