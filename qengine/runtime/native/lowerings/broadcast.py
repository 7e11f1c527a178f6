"""Lowering of operations on tensors that broadcast, on plain buffers: arithmetic, comparisons, choices, bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Combine, Evaluated, Island, Join, Move, Tensor
from qengine.model.steps.combine import NO_QUOTIENT
from qengine.model.steps.forms import Bounded
from qengine.model.steps.pairs import Chosen, Extreme, Predicate, Remainder
from qengine.runtime.native.broadcast_op import ExactNumbers, broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.combine import MAX_SUM, aligned_term
from qengine.runtime.native.lowerings.functions import lower_to_table
from qengine.runtime.native.op import Op
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, element_type

MAX_TERMS = 8
"""Largest number of tensors that one kernel takes."""

_MAX_SHIFT = 44
"""Largest shift of a result or an operand, with which codes stay in 64 bits."""


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
    if len(tensors) > MAX_TERMS:
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
    """Lower arithmetic on real numbers, integers and codes."""
    step = context.step
    if not context.is_float:
        return lower_codes(context)
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


def exact_op(
    context: PlainContext[Any],
    operation: str,
    operands: Sequence[tuple[TensorBuffer, Tensor]],
    out: Tensor,
    numbers: ExactNumbers,
    limit: int,
) -> Op:
    """Return the op of an operation on codes.

    Parameters
    ----------
    context
        Context of the step.
    operation
        "add", "subtract", "multiply", "divide" or "prelu".
    operands
        Buffer and tensor of each operand.
    out
        Output.
    numbers
        Shifts, word and bounds.
    limit
        Bound of the magnitude of the exact result.
    """
    if limit >= MAX_SUM or max(abs(numbers.shift), *numbers.shifts) > _MAX_SHIFT:
        raise NotLowered("intermediate results of more than 60 bits")
    given = [(buffer, t.shape) for buffer, t in operands]
    return broadcast_op(context.isa, operation, given, TensorBuffer.plain(out), out.shape, exact=numbers, cycles=20.0)


def _largest(t: Tensor) -> int:
    word = t.one_format.word()
    return max(word.most, -word.least)


def lower_codes(context: PlainContext[Combine]) -> Lowered:
    """Lower arithmetic on codes, which is exact and rounded once."""
    step, out = context.step, context.out
    terms = [aligned_term(context, t) for t in step.terms]
    if any(element_type(t) is None or t.format is None for t in (*terms, out)) or len(terms) > MAX_TERMS:
        raise NotLowered(f"{step.operation} of codes and real numbers")
    n, target = [t.fraction_bits for t in terms], out.fraction_bits
    activation = step.activation or NO_ACTIVATION
    word = context.arithmetic.word(out.one_format)
    bounds = {"low": out.encode_bound(activation.low), "high": out.encode_bound(activation.high)}
    sizes = [_largest(t) for t in terms]
    shifts: tuple[int, ...]
    if step.operation == "multiply":
        shift, shifts, limit = sum(n) - target, (0, 0), sizes[0] * sizes[1]
    elif step.operation == "prelu":
        finest = max(n[1], 0)
        shift, shifts = n[0] + finest - target, (finest, finest - n[1])
        limit = sizes[0] * max(1 << finest, sizes[1] << shifts[1])
    elif step.operation == "divide":
        if terms[1].value is not None and terms[1].codes.size == 1 and out.shape == terms[0].shape:
            return _quotient_by_number(context)
        shift = n[0] - n[1] - target
        shifts = max(-shift, 0), max(shift, 0)
        shift, limit = 0, 4 * max(size << s for size, s in zip(sizes, shifts, strict=True))
        if bounds != {"low": None, "high": None}:
            raise NotLowered("a quotient of codes with bounds")
    else:
        finest = max(n)
        shift, shifts = finest - target, tuple(finest - k for k in n)
        limit = sum(size << s for size, s in zip(sizes, shifts, strict=True))
    ops, operands = list[Op](), list[tuple[TensorBuffer, Tensor]]()
    for term, own in zip(terms, step.terms, strict=True):
        buffer = context.request(term if term.value is not None else own)
        if term is not own and term.value is None:
            ops.append(_brought_op(context, buffer, own, term))
            buffer = ops[-1].out
        operands.append((buffer, term))
    numbers = ExactNumbers(word, shift, shifts, **bounds)
    return Lowered.by(*ops, exact_op(context, step.operation, operands, out, numbers, limit))


def _quotient_by_number(context: PlainContext[Combine]) -> Lowered:
    """Lower codes divided by one number: a power of two is a shift, others make a table."""
    step, out = context.step, context.out
    (x, divisor), divides = step.terms, int(step.terms[1].codes.item())
    if divides > 0 and divides & (divides - 1) == 0 and step.activation is None:
        shift = x.fraction_bits - divisor.fraction_bits - out.fraction_bits + divides.bit_length() - 1
        left = max(-shift, 0)
        word = context.arithmetic.word(out.one_format).unshifted
        numbers = ExactNumbers(word, max(shift, 0), (left,))
        return Lowered.by(exact_op(context, "add", [(context.request(x), x)], out, numbers, _largest(x) << left))
    word = x.one_format.word()
    every = np.arange(word.least, word.most + 1).astype(word.dtype)
    return lower_to_table(context, x, step.fixed(out, context.arithmetic)(every, divisor.codes.reshape(1)))


def _brought_op(context: PlainContext[Any], x: TensorBuffer, t: Tensor, same: Tensor) -> Op:
    """Return the op that brings codes to another format."""
    numbers = ExactNumbers(context.arithmetic.word(same.one_format), t.fraction_bits - same.fraction_bits, (0,))
    return exact_op(context, "add", [(x, t)], same, numbers, _largest(t))


def brought(context: PlainContext[Join]) -> tuple[list[Op], list[TensorBuffer]]:
    """Return the joined tensors in the format of the output, and the ops that bring them there."""
    out, ops, buffers = context.out, list[Op](), list[TensorBuffer]()
    for t in context.step.joined:
        x = context.request(t)
        if t.format != out.format:
            if t.format is None or out.format is None:
                raise NotLowered("codes and real numbers")
            same = Tensor(f"{t.name} in the format of {out.name}", out.dtype, t.shape, None, out.format)
            ops.append(_brought_op(context, x, t, same))
            x = ops[-1].out
        buffers.append(x)
    return ops, buffers


@lowers_plain(Join, Extreme)
def lower_extreme(context: PlainContext[Join]) -> Lowered:
    """Lower Max and Min."""
    ops, buffers = brought(context)
    if len(buffers) > MAX_TERMS:
        raise NotLowered(f"an extreme of {len(buffers)} tensors")
    operands = [(x, t.shape) for x, t in zip(buffers, context.step.joined, strict=True)]
    operation, buffer = "maximum" if context.function.largest else "minimum", TensorBuffer.plain(context.out)
    return Lowered.by(*ops, broadcast_op(context.isa, operation, operands, buffer, context.out.shape))


@lowers_plain(Join, Chosen)
def lower_chosen(context: PlainContext[Join]) -> Lowered:
    """Lower Where: elements of any type are picked as integers of their size."""
    ops, buffers = brought(context)
    given = [*map(context.request, context.step.lead), *buffers]
    operands = [(x, t.shape) for x, t in zip(given, context.step.operands, strict=True)]
    buffer = TensorBuffer.plain(context.out)
    integer = f"i{8 * ITEMSIZE[buffer.stored]}"
    types = ("b8", integer, integer, integer)
    return Lowered.by(*ops, broadcast_op(context.isa, "where", operands, buffer, context.out.shape, types=types))


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
