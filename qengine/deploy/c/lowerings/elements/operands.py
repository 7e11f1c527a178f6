"""Operands of operations that work element by element: tensors and constants that broadcast, in any order of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qengine.deploy.c.ir import Argument, Array, Call, CTensor, Scratch
from qengine.deploy.c.lowering import Context
from qengine.deploy.c.lowerings.calls import copy_calls
from qengine.deploy.c.lowerings.nests import AXES, Nest, broadcast_strides, in_memory
from qengine.model.steps import Tensor

_VISIBLE = 64  # elements of a constant that the compiler sees
Ends = tuple[int, int]


@dataclass(frozen=True)
class Operand:
    """An operand of an element-by-element operation.

    Attributes
    ----------
    argument : the pointer.
    dtype : element type.
    strides : elements from one place along each axis of the output, in ONNX's order, to the next; 0 where it repeats.
    ends : the least and the most element.
    """

    argument: Argument
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    ends: Ends


@dataclass(frozen=True)
class Elements:
    """The operands of an element-by-element operation, and its loops.

    Attributes
    ----------
    operands : operands.
    nest : loops, with the steps of the operands and then of the output.
    before : calls that copy operands whose broadcasting needs more loops than there are.
    end : bytes of scratch that those take.
    overlaps : 0 for each tensor that the output may lie on, in the order of `Context.reads`; see `Operation.overlap`.
    """

    operands: tuple[Operand, ...]
    nest: Nest
    before: tuple[Call, ...]
    end: int
    overlaps: tuple[int | None, ...]

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The pointers."""
        return tuple(one.argument for one in self.operands)


def elements_of(context: Context, tensors: Sequence[Tensor], constants: Sequence[Array | None] = ()) -> Elements:
    """Return the operands of the output of a step.

    Parameters
    ----------
    context
        The step.
    tensors
        The operands.
    constants
        Elements of the operands that are known, where they are not `Tensor.elements`.
    """
    y = context.y
    given = (*constants, *(None,) * (len(tensors) - len(constants)))
    operands = [_operand(context, t, i, known) for i, (t, known) in enumerate(zip(tensors, given, strict=True))]
    nest = _nest(operands, y)
    before: list[Call] = []
    offset = 0
    if len(nest.lengths) > AXES:
        for i, one in enumerate(operands):
            if one.strides == y.strides:
                continue
            scratch = Scratch(one.dtype, y.size, offset)
            offset = -(-scratch.end // 8) * 8
            own = Nest.of(in_memory(y, y.shape), [in_memory(y, one.strides), in_memory(y, y.strides)])
            before += copy_calls(one.argument, scratch, own)
            operands[i] = replace(one, argument=scratch, strides=y.strides)
        nest = _nest(operands, y)
    return Elements(tuple(operands), nest, tuple(before), offset, _overlaps(context, operands, bool(before)))


def _nest(operands: Sequence[Operand], y: CTensor) -> Nest:
    return Nest.of(in_memory(y, y.shape), [in_memory(y, s) for s in (*(one.strides for one in operands), y.strides)])


def _operand(context: Context, t: Tensor, index: int, known: Array | None) -> Operand:
    y = context.y
    if t.value is None:
        x = context.tensors[t.name]
        return Operand(x, x.dtype, broadcast_strides(x.shape, x.strides, y.shape), x.ends)
    array = t.elements if known is None else known
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    ndim = len(y.shape)
    lead = ndim - array.ndim
    full = array.reshape((1,) * lead + array.shape)
    order = y.order
    placed = np.ascontiguousarray(full.transpose(order))
    inner = [0] * ndim
    step = 1
    for axis in reversed(order):
        inner[axis] = 0 if full.shape[axis] == 1 else step
        step *= full.shape[axis]
    fmt = f" {t.format}" if t.format is not None else ""
    constant = context.constant(f"operand{index}", placed, f"{t.name}{fmt}", is_visible=array.size <= _VISIBLE)
    ends = (int(array.min()), int(array.max())) if array.size else (0, 0)
    return Operand(constant, constant.array.dtype, tuple(inner), ends)


def _overlaps(context: Context, operands: Sequence[Operand], is_copied: bool) -> tuple[int | None, ...]:
    y, found = context.y, list[int | None]()
    for x in context.reads:
        own = [one for one in operands if one.argument is x]
        in_place = own and all(one.strides == y.strides for one in own) and not is_copied
        found.append(0 if in_place and x.size == y.size and _same_memory(x.dtype, y.dtype) else None)
    return tuple(found)


def _same_memory(x: np.dtype[Any], y: np.dtype[Any]) -> bool:
    """Whether elements may be written onto others of which each is read before."""
    return y.itemsize == 1 or (x.itemsize == y.itemsize)


def sum_bound(operands: Sequence[Operand], factors: Sequence[int]) -> int:
    """Return a limit of the magnitude of a sum of operands times factors."""
    return sum(magnitude(one.ends) * abs(factor) for one, factor in zip(operands, factors, strict=True))


def magnitude(ends: Ends) -> int:
    """Return the largest magnitude between two ends."""
    return max(abs(ends[0]), abs(ends[1]))
