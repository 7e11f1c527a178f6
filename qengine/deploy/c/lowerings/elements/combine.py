"""Add, Sub, Sum, Mul, Div and PRelu: exact, rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Call, CTensor, Operation, Parameters, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.elements.convert import convert_call, enough
from qengine.deploy.c.lowerings.elements.exact import BY_ZERO
from qengine.deploy.c.lowerings.elements.operands import Elements, Ends, elements_of, magnitude, sum_bound
from qengine.deploy.c.lowerings.nests import Nest
from qengine.kernels.reference.requantize import requantize
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Combine

_PAIR = 2
_MOST_LEFT = 40  # bits beyond which no sum of 64 bits holds a shifted code
_INTEGER = {"add": 0, "subtract": 1, "multiply": 2, "divide": 3}


@lowers(Combine)
def lower_combine(context: Context) -> Operation:
    """Return the operation of a step."""
    if not context.y.size:
        return context.operation()
    if context.out.format is None:
        return _integers(context)
    step: Combine = context.step
    by_name = {"multiply": _multiply, "divide": _divide, "prelu": _prelu}
    return by_name.get(step.operation, _add)(context)


def _epilogue(context: Context, shift: int) -> Parameters:
    activation = context.step.activation or NO_ACTIVATION
    return context.epilogue(shift, *_bounds(context, activation.low, activation.high))


def _bounds(context: Context, low: float | None, high: float | None) -> tuple[int | None, int | None]:
    return context.out.encode_bound(low), context.out.encode_bound(high)


def _pair(
    context: Context, kernel: str, elements: Elements, numbers: Parameters, v: np.dtype[Any] | None, *comments: str
) -> Operation:
    """Return the operation of a kernel on two operands."""
    a, b = elements.operands
    types = {"a": a.dtype, "b": b.dtype, "y": context.y.dtype} | ({} if v is None else {"v": v})
    numbers = {**elements.nest.numbers("a", "b", "y"), **numbers}
    call = Call(kernel, types, (*elements.arguments, context.y), numbers)
    return context.operation(*elements.before, call, overlap=elements.overlaps, comments=comments)


def _lefts(bits: Sequence[int]) -> list[int]:
    """Return the bits by which each operand is shifted to the fraction bits of the finest."""
    lefts = [max(bits) - n for n in bits]
    if max(lefts) > _MOST_LEFT:
        raise NotExportable(
            f"the fraction bits of its operands differ by {max(lefts)}, at most {_MOST_LEFT} is possible in C"
        )
    return lefts


def _add(context: Context) -> Operation:
    step: Combine = context.step
    sign = -1 if step.operation == "subtract" else 1
    target = context.out.fraction_bits
    moved = [t.format != context.out.format and context.arithmetic.aligns for t in step.terms]
    if any(moved) and len(step.terms) != _PAIR:
        return _add_many_aligned(context, moved)
    elements = elements_of(context, step.terms)
    if any(moved):
        pairs = zip(step.terms, elements.operands, moved, strict=True)
        aligned = [_alignment(context, t.fraction_bits - target, one.ends, m) for t, one, m in pairs]
        aligning: Parameters = {
            "align_a": aligned[0],
            "align_b": aligned[1],
            "sign_b": sign,
            "epilogue": _epilogue(context, 0),
        }
        return _pair(context, "add_aligned", elements, aligning, None)
    bits = [t.fraction_bits for t in step.terms]
    lefts = _lefts(bits)
    bound = sum_bound(elements.operands, [1 << left for left in lefts])
    shift = enough(max(bits) - target, bound)
    v = accumulator(bound, shift)
    if len(step.terms) == _PAIR:
        numbers: Parameters = {
            "left_a": lefts[0],
            "left_b": lefts[1],
            "sign_b": sign,
            "epilogue": _epilogue(context, shift),
        }
        return _pair(context, "add", elements, numbers, v, f"|sum| <= {bound}")
    return _add_many(context, elements, lefts, shift, v, bound)


def _alignment(context: Context, shift: int, ends: Ends, is_moved: bool) -> Parameters:
    """Return the numbers that bring a term to the word of the sum; a term in its format stays."""
    word = context.arithmetic.word(context.out.one_format)
    if is_moved:
        return epilogue(word, enough(shift, magnitude(ends)))
    return epilogue(word._replace(overflow="saturate"), 0)


def _add_many(
    context: Context, elements: Elements, lefts: Sequence[int], shift: int, v: np.dtype[Any], bound: int
) -> Operation:
    """Return the operation that adds terms one after the other to exact sums, and rounds those."""
    y, calls = context.y, list(elements.before)
    sums = Scratch(v, y.size, elements.end)
    for i, (one, left) in enumerate(zip(elements.operands, lefts, strict=True)):
        nest = Nest(elements.nest.lengths, (elements.nest.steps[i],))
        numbers = {**nest.numbers("x"), "left": left, "is_first": i == 0}
        calls.append(Call("add_term", {"x": one.dtype, "v": v}, (one.argument, sums), numbers))
    row = Nest((y.size,), ((1,), (1,)))
    calls.append(convert_call(sums, y, row, _epilogue(context, shift), v))
    return context.operation(*calls, comments=(f"|sum| <= {bound}",))


def _add_many_aligned(context: Context, moved: Sequence[bool]) -> Operation:
    """Return the sum of more than two terms that are brought to its format first."""
    step: Combine = context.step
    word, target = context.arithmetic.word(context.out.one_format), context.out.fraction_bits
    known = [
        requantize(t.elements.astype(np.int64), t.fraction_bits - target, word) if m and t.value is not None else None
        for t, m in zip(step.terms, moved, strict=True)
    ]
    elements = elements_of(context, step.terms, known)
    operands, calls, end = list(elements.operands), list(elements.before), elements.end
    for i, (t, one, is_moved) in enumerate(zip(step.terms, operands, moved, strict=True)):
        if not is_moved or t.value is not None:
            continue
        size = context.tensors[t.name].size if isinstance(one.argument, CTensor) else context.y.size
        scratch = Scratch(word.dtype, size, end)
        end = -(-scratch.end // 8) * 8
        shift = enough(t.fraction_bits - target, magnitude(one.ends))
        row = Nest((size,), ((1,), (1,)))
        v = accumulator(magnitude(one.ends), shift)
        calls.append(convert_call(one.argument, scratch, row, epilogue(word, shift), v))
        operands[i] = replace(one, argument=scratch, dtype=word.dtype, ends=(word.least, word.most))
    bound = sum_bound(operands, [1] * len(operands))
    aligned = replace(elements, operands=tuple(operands), before=tuple(calls), end=end)
    return _add_many(context, aligned, [0] * len(operands), 0, accumulator(bound), bound)


def _multiply(context: Context) -> Operation:
    step: Combine = context.step
    elements = elements_of(context, step.terms)
    a, b = elements.operands
    bound = magnitude(a.ends) * magnitude(b.ends)
    shift = enough(sum(t.fraction_bits for t in step.terms) - context.out.fraction_bits, bound)
    v = accumulator(bound, shift)
    return _pair(context, "multiply", elements, {"epilogue": _epilogue(context, shift)}, v, f"|product| <= {bound}")


def _prelu(context: Context) -> Operation:
    step: Combine = context.step
    x, slope = step.terms
    elements = elements_of(context, step.terms)
    a, b = elements.operands
    finest = max(slope.fraction_bits, 0)
    lefts = {"left_a": finest, "left_b": finest - slope.fraction_bits}
    if max(lefts.values()) > _MOST_LEFT:
        raise NotExportable(f"its slope has {slope.fraction_bits} fraction bits, C has up to {_MOST_LEFT}")
    factors = (1 << lefts["left_a"], magnitude(b.ends) << lefts["left_b"])
    bound = magnitude(a.ends) * max(factors)
    shift = enough(finest + x.fraction_bits - context.out.fraction_bits, bound)
    v = accumulator(bound, shift)
    return _pair(
        context, "prelu", elements, {**lefts, "epilogue": _epilogue(context, shift)}, v, f"|product| <= {bound}"
    )


def _divide(context: Context) -> Operation:
    step: Combine = context.step
    elements = elements_of(context, step.terms)
    a, b = elements.operands
    word = context.arithmetic.word(context.out.one_format)
    shift = step.terms[0].fraction_bits - step.terms[1].fraction_bits - context.out.fraction_bits
    if abs(shift) > _MOST_LEFT:
        raise NotExportable(
            f"the fraction bits of its operands and its result differ by {abs(shift)}, C has up to {_MOST_LEFT}"
        )
    lefts = {"left_a": max(-shift, 0), "left_b": max(shift, 0)}
    dividend, divisor = magnitude(a.ends) << lefts["left_a"], magnitude(b.ends) << lefts["left_b"]
    v = accumulator(max(4 * dividend + 8, 2 * divisor, 1 << 17))
    activation = step.activation or NO_ACTIVATION
    quotient = epilogue(word.unshifted, 2, *_bounds(context, activation.low, activation.high))
    numbers: Parameters = {**lefts, "least": word.lowest, "most": word.most, "epilogue": quotient}
    return _pair(context, "divide", elements, numbers, v, f"|dividend| <= {dividend}")


def _integers(context: Context) -> Operation:
    """Return arithmetic on integers without a format, which wraps."""
    step: Combine = context.step
    if len(step.terms) != _PAIR or step.operation not in _INTEGER:
        raise NotExportable(
            f"it is {step.operation} of {len(step.terms)} tensors of integers: use Add, Sub, Mul or Div"
        )
    if any(t.dtype != context.y.dtype for t in step.terms):
        raise NotExportable(f"its operands have other types than its result, {context.y.dtype}: cast them first")
    divisor = step.terms[1].value
    may_stop = step.operation == "divide" and (divisor is None or not np.all(divisor))
    elements = elements_of(context, step.terms)
    activation = step.activation or NO_ACTIVATION
    if activation != NO_ACTIVATION:
        raise NotExportable("it has a bound on integers: leave the Relu or Clip as an operator of its own")
    call = Call(
        "integer_arithmetic",
        {"y": context.y.dtype},
        (*elements.arguments, context.y),
        {**elements.nest.numbers("a", "b", "y"), "operation": _INTEGER[step.operation]},
    )
    comments = (BY_ZERO,) if may_stop else ()
    return context.operation(*elements.before, call, overlap=elements.overlaps, comments=comments)
