"""Lowering of operations on tensors that broadcast, on plain buffers: arithmetic, comparisons, choices, bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.steps import Combine, Evaluated, Island, Join, Move, Tensor
from qengine.model.steps.combine import NO_QUOTIENT
from qengine.model.steps.forms import Bounded
from qengine.model.steps.pairs import Chosen, Extreme, Predicate, Remainder
from qengine.runtime.native.broadcast_op import broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer

_MAX_TERMS = 8
"""Largest number of tensors that one kernel takes."""


def lower_pairs(
    context: PlainContext[Any],
    operation: str,
    tensors: Sequence[Tensor],
    *,
    bounds: NDArray[Any] | None = None,
    fault: Address = 0,
    cycles: float = 1.0,
) -> Lowered:
    """Return an operation on tensors that broadcast, lowered to one op."""
    out = context.out
    if len(tensors) > _MAX_TERMS:
        raise NotLowered(f"{operation} of {len(tensors)} tensors")
    operands = [(context.request(t), t.shape) for t in tensors]
    buffer = TensorBuffer.plain(out)
    options: dict[str, Any] = {"bounds": bounds, "fault": fault, "cycles": cycles}
    return Lowered.by(broadcast_op(context.isa, operation, operands, buffer, out.shape, **options))


def _needs_reals(context: PlainContext[Any]) -> None:
    if not context.is_float:
        raise NotLowered(f"{context.step.kind} of codes on plain buffers")


def bounds_of(low: float | None, high: float | None, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return bounds as elements of a type, the ends of the type where there is none; None without bounds."""
    if low is None and high is None:
        return None
    if dtype.kind == "f":
        least, most = -np.inf, np.inf
    else:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    return np.array(
        [np.asarray(least if low is None else low, dtype), np.asarray(most if high is None else high, dtype)]
    )


@lowers_plain(Combine)
def lower_combine(context: PlainContext[Combine]) -> Lowered:
    """Lower arithmetic on real numbers and integers."""
    _needs_reals(context)
    step = context.step
    activation = step.activation
    bounds = None if activation is None else bounds_of(activation.low, activation.high, step.dtype)
    divides = step.operation == "divide"
    fault = context.fault(NO_QUOTIENT) if divides and step.dtype.kind in "iu" else 0
    cycles = 8.0 if divides else 1.0
    return lower_pairs(context, step.operation, step.terms, bounds=bounds, fault=fault, cycles=cycles)


@lowers_plain(Move, Bounded)
def lower_bounded(context: PlainContext[Move]) -> Lowered:
    """Lower bounds without another operation: Relu, Clip."""
    x, constants = context.step.x, context.step.constants
    dtype = x.dtype if x.format is None else x.one_format.word().dtype
    low, high = constants if x.format is None else [None if c is None else x.encode(c) for c in constants]
    return lower_pairs(context, "copy", [x], bounds=bounds_of(low, high, dtype))


def _same_formats(context: PlainContext[Join]) -> None:
    if any(t.format != context.out.format for t in context.step.joined):
        raise NotLowered("codes in several formats")


@lowers_plain(Join, Extreme)
def lower_extreme(context: PlainContext[Join]) -> Lowered:
    """Lower Max and Min, of codes too if they have one format."""
    _same_formats(context)
    return lower_pairs(context, "maximum" if context.function.largest else "minimum", context.step.joined)


@lowers_plain(Join, Chosen)
def lower_chosen(context: PlainContext[Join]) -> Lowered:
    """Lower Where: elements of any type, or codes of one format, are picked as integers of their size."""
    _same_formats(context)
    tensors = context.step.operands
    operands = [(context.request(t), t.shape) for t in tensors]
    buffer = TensorBuffer.plain(context.out)
    integer = f"i{8 * ITEMSIZE[buffer.stored]}"
    types = ("b8", integer, integer, integer)
    return Lowered.by(broadcast_op(context.isa, "where", operands, buffer, context.out.shape, types=types))


@lowers_plain(Island, Predicate)
def lower_predicate(context: PlainContext[Island]) -> Lowered:
    """Lower comparisons and logic."""
    _needs_reals(context)
    return lower_pairs(context, context.function.name, context.step.inputs)


@lowers_plain(Island, Remainder)
def lower_remainder(context: PlainContext[Island]) -> Lowered:
    """Lower Mod of integers."""
    _needs_reals(context)
    form = context.function
    if context.out.dtype.kind == "f":
        raise NotLowered("Mod of real numbers")
    fault = context.fault(form.refusal)
    return lower_pairs(context, "fmod" if form.truncates else "mod", context.step.inputs, fault=fault, cycles=16.0)


_EVALUATED = {
    "BitwiseAnd": "logical_and",
    "BitwiseOr": "logical_or",
    "BitwiseXor": "logical_xor",
    "BitwiseNot": "invert",
    "IsNaN": "is nan",
}


def _lower_evaluated(name: str) -> Callable[[PlainContext[Evaluated]], Lowered]:
    return lambda context: lower_pairs(context, name, context.step.operands)


for _operator, _name in _EVALUATED.items():
    lowers_plain(Evaluated, _operator)(_lower_evaluated(_name))


@lowers_plain(Evaluated, "BitShift")
def lower_bit_shift(context: PlainContext[Evaluated]) -> Lowered:
    """Lower BitShift."""
    direction = str(context.step.evaluation.node.attributes["direction"])
    return lower_pairs(context, f"shift {direction.lower()}", context.step.operands)


@lowers_plain(Evaluated, "IsInf")
def lower_is_inf(context: PlainContext[Evaluated]) -> Lowered:
    """Lower IsInf: infinities of either sign, or of one."""
    node = context.step.evaluation.node
    signs = [
        name
        for attribute, name in (("detect_positive", "is above"), ("detect_negative", "is below"))
        if node.number(attribute, 1)
    ]
    names = {2: "is infinite", 1: signs[0] if signs else "", 0: "is nothing"}
    return lower_pairs(context, names[len(signs)], context.step.operands)
