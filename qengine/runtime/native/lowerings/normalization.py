"""Lowering of normalizations: of layers, groups, instances, by root mean square, by a norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from qengine.kernels.elements import lanes_of
from qengine.kernels.local_response import LocalResponse, scratch_bytes
from qengine.kernels.rows import Normalize
from qengine.model.eager.elements import axes_of, axis_of
from qengine.model.graph import Node
from qengine.model.steps import Evaluated, Island, Tensor
from qengine.model.steps.row_forms import LayerStandardized
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.row_op import Extent, extent_of, row_op
from qengine.runtime.native.tensor_buffer import TensorBuffer, constant_buffer

Context = PlainContext[Island] | PlainContext[Evaluated]


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


@lowers_plain(Island, LayerStandardized)
def lower_layer_normalization(context: PlainContext[Island]) -> Lowered:
    """Lower LayerNormalization with one output."""
    x, gain, *offset = context.step.inputs
    form = context.function
    return _layer(context, (x, gain, offset[0] if offset else None), form.first, "variance", form.epsilon)


@lowers_plain(Evaluated, "LayerNormalization")
def lower_layer_normalization_with_statistics(context: PlainContext[Evaluated]) -> Lowered:
    """Lower LayerNormalization with its statistics."""
    x, gain, offset = _inputs(context, 3)
    first = axis_of(_node(context).number("axis", -1), _given(x).ndim)
    return _layer(context, (x, gain, offset), first, "variance", _node(context).number("epsilon", 1e-5))


@lowers_plain(Evaluated, "RMSNormalization")
def lower_rms_normalization(context: PlainContext[Evaluated]) -> Lowered:
    """Lower RMSNormalization."""
    x, gain = _inputs(context, 2)
    first = axis_of(_node(context).number("axis", -1), _given(x).ndim)
    return _layer(context, (x, gain, None), first, "squares", _node(context).number("epsilon", 1e-5))


def _layer(
    context: Context,
    inputs: tuple[Tensor | None, Tensor | None, Tensor | None],
    first: int,
    measure: Any,
    epsilon: float,
) -> Lowered:
    """Lower a normalization over the axes from `first` on, with a gain and an offset of each element of a row."""
    x, gain, offset = inputs
    shape = _given(x).shape
    parameters = _Parameters(
        _row_of(gain, shape[first:]), _row_of(offset, shape[first:]), "element", prod(shape[first:])
    )
    return _normalized(context, _given(x), extent_of(shape, first, len(shape)), (measure, epsilon), parameters)


@lowers_plain(Evaluated, "InstanceNormalization")
def lower_instance_normalization(context: PlainContext[Evaluated]) -> Lowered:
    """Lower InstanceNormalization: rows are channels."""
    x, gain, offset = _inputs(context, 3)
    shape = _given(x).shape
    if len(shape) < 3:
        raise NotLowered(f"InstanceNormalization of {len(shape)} axes")
    parameters = _Parameters(gain, offset, "span", shape[1], prod(shape[2:]))
    measure = "variance", _node(context).number("epsilon", 1e-5)
    return _normalized(context, _given(x), extent_of(shape, 2, len(shape)), measure, parameters)


@lowers_plain(Evaluated, "GroupNormalization")
def lower_group_normalization(context: PlainContext[Evaluated]) -> Lowered:
    """Lower GroupNormalization: rows are groups of channels; before opset 21 a group has one gain."""
    x, gain, offset = _inputs(context, 3)
    shape, node = _given(x).shape, _node(context)
    groups = int(node.number("num_groups", 0))
    if len(shape) < 2 or groups < 1 or shape[1] % groups:
        raise NotLowered(f"{groups} groups")
    row = prod(shape[1:]) // groups
    is_of_group = node.version < 21
    count, span = (groups, row) if is_of_group else (shape[1], prod(shape[2:]))
    parameters = _Parameters(gain, offset, "span", count, span)
    measure = "variance", node.number("epsilon", 1e-5)
    return _normalized(context, _given(x), (shape[0] * groups, row, 1), measure, parameters)


@lowers_plain(Evaluated, "LpNormalization")
def lower_lp_normalization(context: PlainContext[Evaluated]) -> Lowered:
    """Lower LpNormalization along one axis."""
    (x,) = _inputs(context, 1)
    shape, node = _given(x).shape, _node(context)
    axis, p = axis_of(node.number("axis", -1), len(shape)), node.number("p", 2)
    if p not in (1, 2):
        raise NotLowered(f"a norm of order {p}")
    none = _Parameters(None, None, None, 0)
    return _normalized(context, _given(x), extent_of(shape, axis, axis + 1), (f"norm {p}", 0.0), none)


@lowers_plain(Evaluated, "MeanVarianceNormalization")
def lower_mean_variance_normalization(context: PlainContext[Evaluated]) -> Lowered:
    """Lower MeanVarianceNormalization over neighbouring axes; axes of length 1 may lie between."""
    (x,) = _inputs(context, 1)
    shape = _given(x).shape
    given: Any = _node(context).attributes.get("axes", (0, 2, 3))
    axes = {axis for axis in axes_of(given, len(shape)) if shape[axis] > 1}
    first, end = (min(axes), max(axes) + 1) if axes else (len(shape) - 1, len(shape))
    if any(shape[axis] > 1 and axis not in axes for axis in range(first, end)):
        raise NotLowered(f"statistics over the axes {sorted(axes)} of {list(shape)}")
    none = _Parameters(None, None, None, 0)
    return _normalized(context, _given(x), extent_of(shape, first, end), ("deviation", 1e-9), none)


_ROOTS: Mapping[float, Literal["root", "roots", "one"]] = MappingProxyType({0.5: "root", 0.75: "roots", 1.0: "one"})


@lowers_plain(Evaluated, "LRN")
def lower_lrn(context: PlainContext[Evaluated]) -> Lowered:
    """Lower LRN: lanes are positions, and each goes through the channels."""
    (x,) = map(_given, _inputs(context, 1))
    node, out = _node(context), TensorBuffer.plain(context.out)
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
    return Tensor(t.name, t.dtype, row, np.ascontiguousarray(full))


def _inputs(context: PlainContext[Evaluated], count: int) -> list[Tensor | None]:
    """Return the inputs of a node, None for those that are left out."""
    given = list(context.step.evaluation.inputs)
    return [*given, *[None] * count][:count]


def _given(t: Tensor | None) -> Tensor:
    assert t is not None
    return t


def _node(context: PlainContext[Evaluated]) -> Node:
    return context.step.evaluation.node
