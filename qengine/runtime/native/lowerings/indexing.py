"""Lowering of operators that read or write elements at computed indices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from qengine.kernels.indexed import PickElements, PickSlices, PutElements, PutSlices
from qengine.model.eager.elements import axis_of
from qengine.model.steps import Evaluated, Tensor
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.packing import copy_bytes_op
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer

_JOINED = ("f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
"""Types of elements that updates may be joined with."""


@lowers_plain(Evaluated, "GatherElements")
def lower_gather_elements(context: PlainContext[Evaluated]) -> Lowered:
    """Lower GatherElements."""
    data, indices = context.step.operands
    x, places = context.request(data), context.request(indices)
    facts, rows = _element_facts(context, data, indices)
    out = TensorBuffer.plain(context.out)
    spec = PickElements(x.stored, places.stored)
    return Lowered.by(_op(context, (x, places), out, spec, facts, rows, 3.0 * prod(indices.shape)))


@lowers_plain(Evaluated, "ScatterElements")
@lowers_plain(Evaluated, "Scatter")
def lower_scatter_elements(context: PlainContext[Evaluated]) -> Lowered:
    """Lower ScatterElements: a copy of the data, and the updates in their order."""
    data, indices, updates = context.step.operands
    x, places, values = (context.request(t) for t in (data, indices, updates))
    out, spec = TensorBuffer.plain(context.out), PutElements(x.stored, places.stored, _reduction(context, x))
    facts, _ = _element_facts(context, data, indices)
    op = _op(context, (values, places), out, spec, facts, 1, 4.0 * prod(indices.shape))
    return Lowered.by(copy_bytes_op(context.isa, x, out), op)


@lowers_plain(Evaluated, "GatherND")
def lower_gather_nd(context: PlainContext[Evaluated]) -> Lowered:
    """Lower GatherND."""
    data, indices = context.step.operands
    x, places = context.request(data), context.request(indices)
    batch = context.step.evaluation.node.number("batch_dims", 0)
    facts = _slice_facts(data.shape, indices.shape, batch)
    out = TensorBuffer.plain(context.out)
    spec = PickSlices(x.stored, places.stored)
    tuples = prod(indices.shape[:-1])
    return Lowered.by(_slices(context, (x, places), out, spec, facts, data.shape[batch:], tuples))


@lowers_plain(Evaluated, "ScatterND")
def lower_scatter_nd(context: PlainContext[Evaluated]) -> Lowered:
    """Lower ScatterND: a copy of the data, and the updates in their order."""
    data, indices, updates = context.step.operands
    x, places, values = (context.request(t) for t in (data, indices, updates))
    out, spec = TensorBuffer.plain(context.out), PutSlices(x.stored, places.stored, _reduction(context, x))
    facts = _slice_facts(data.shape, indices.shape, 0)
    op = _slices(context, (values, places), out, spec, facts, data.shape, prod(indices.shape[:-1]), cut=False)
    return Lowered.by(copy_bytes_op(context.isa, x, out), op)


def _reduction(context: PlainContext[Evaluated], x: TensorBuffer) -> str:
    """Return the reduction of a node that kernels compute as the reference does."""
    reduction = context.step.evaluation.node.attributes.get("reduction", "none")
    if reduction != "none" and x.stored not in _JOINED:
        raise NotLowered(f"reduction '{reduction}' of {x.stored}")
    return str(reduction)


def _element_facts(context: PlainContext[Evaluated], data: Tensor, indices: Tensor) -> tuple[list[int], int]:
    """Return the facts of the kernels on elements, see `PickElements`, and the number of rows of the indices."""
    axis = axis_of(context.step.evaluation.node.number("axis", 0), data.ndim)
    lengths: list[int] = []
    strides: list[int] = []
    may_merge = False
    for k, (n, m) in enumerate(zip(indices.shape, data.shape, strict=True)):
        stride = 0 if k == axis else prod(data.shape[k + 1 :])
        if may_merge and k != axis and n == m:  # one axis in memory with the one before it
            lengths[-1], strides[-1] = lengths[-1] * n, stride
        else:
            lengths.append(n)
            strides.append(stride)
        may_merge = k != axis
    length, step = data.shape[axis], prod(data.shape[axis + 1 :])
    return [len(lengths), length, step, *lengths, *strides], prod(lengths[:-1])


def _slice_facts(shape: tuple[int, ...], indices: tuple[int, ...], batch: int) -> list[int]:
    """Return the facts of the kernels on slices, see `PickSlices`."""
    count = indices[-1]
    rest = shape[batch + count :]
    strides = [prod(shape[batch + k + 1 :]) for k in range(count)]
    per_batch = prod(indices[batch:-1]) if batch else max(prod(indices[:-1]), 1)
    return [count, prod(rest), per_batch, prod(shape[batch:]), *shape[batch : batch + count], *strides]


def _slices(
    context: PlainContext[Evaluated],
    inputs: tuple[TensorBuffer, ...],
    out: TensorBuffer,
    spec: Any,
    facts: list[int],
    named: tuple[int, ...],
    tuples: int,
    cut: bool = True,
) -> PlainOp:
    """Return the op of a kernel on slices."""
    work = float(tuples * (10 * facts[0] + facts[1]))
    return _op(context, inputs, out, spec, facts, tuples if cut else 1, work, named[: facts[0]], tuples)


def _op(
    context: PlainContext[Evaluated],
    inputs: tuple[TensorBuffer, ...],
    out: TensorBuffer,
    spec: Any,
    facts: list[int],
    parts: int,
    work: float,
    lengths: tuple[int, ...] = (),
    rows: int | None = None,
) -> PlainOp:
    """Return the op of a kernel, whose parts are rows or tuples; with one part it computes all of them."""
    numbers = np.array(facts, np.int64)
    if inputs[1].stored not in ("i32", "i64"):
        raise NotLowered(f"indices of {inputs[1].stored}")
    if rows is None:
        rows = prod(facts[3 : 2 + facts[0]])
    faults = [context.fault(f"an index is {{}}, outside of {-n}..{n - 1}") for n in lengths or (facts[1],)]

    def arguments(part: Part) -> dict[str, Address]:
        first, end = (0, rows) if parts == 1 else (part.first, part.end)
        x, indices = part.inputs
        given = {"x": x, "indices": indices, "y": part.outputs[0], "first": first, "end": end}
        return given | {"facts": int(numbers.ctypes.data), "fault": faults[0]}

    return PlainOp(context.isa, inputs, out, spec, arguments, parts, work, label=type(spec).__name__)
