"""Steps that the runtime computes in real numbers although integers give the same: comparisons, truth values, casts.

A code is a real number exactly, so two codes compare like the numbers that they stand for. All other steps in real
numbers in the middle of codes are refused by name.
"""

from __future__ import annotations

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Call, Operation
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.elements.convert import convert_call, enough
from qengine.deploy.c.lowerings.elements.operands import elements_of, magnitude
from qengine.kernels.reference.word import Word
from qengine.model.ops.conversion import Converted
from qengine.model.steps import Evaluated, Island, Tensor
from qengine.model.steps.pairs import Predicate

_OPERATIONS = (
    "equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
)
_SIGNIFICANDS = {"float16": 11, "float32": 24, "float64": 53}
_FLOAT16_BITS, _FLOAT16_MOST = 24, 65504
_FAR = 100  # fraction bits up to which float32 holds every code exactly
_MOST_LEFT = 40
_BEYOND_WORDS = 1 << 17  # integers up to here are exact after a shift to the left


def _fraction_bits(t: Tensor) -> int:
    """Return the fraction bits of an operand; 0 of integers and truth values."""
    if t.format is None:
        if t.is_float:
            raise NotExportable(f"'{t.name}' is real numbers, and C has none: give it a format")
        return 0
    if abs(t.fraction_bits) > _FAR:
        raise NotExportable(f"'{t.name}' has {t.fraction_bits} fraction bits, C compares up to {_FAR}")
    return t.fraction_bits


@lowers(Island, lambda c: isinstance(c.step.function, Predicate), first=50)
def lower_predicate(context: Context) -> Operation:
    """Return a comparison or a logical operator."""
    step: Island = context.step
    name = step.function.name  # type: ignore[attr-defined]
    if not context.y.size:
        return context.operation()
    if name == "logical_not":
        return _compared_with_zero(context, is_zero=True)
    bits = [_fraction_bits(t) for t in step.inputs]
    elements = elements_of(context, step.inputs)
    a, b = elements.operands
    if name not in _OPERATIONS:
        raise NotExportable(f"C has no {name}")
    is_widest = np.dtype(np.uint64) in (a.dtype, b.dtype)
    if is_widest and a.dtype != b.dtype:
        raise NotExportable("it compares uint64 with another type: cast them to int64")
    lefts = [max(bits) - n for n in bits]
    if max(lefts) > _MOST_LEFT:
        raise NotExportable(f"the fraction bits of its operands differ by {max(lefts)}, C has up to {_MOST_LEFT}")
    bound = max(magnitude(one.ends) << left for one, left in zip((a, b), lefts, strict=True))
    v = np.dtype(np.uint64 if is_widest else np.int32 if bound < 1 << 31 else np.int64)
    numbers = {
        **elements.nest.numbers("a", "b", "y"),
        "left_a": lefts[0],
        "left_b": lefts[1],
        "operation": _OPERATIONS.index(name),
    }
    call = Call("compare", {"a": a.dtype, "b": b.dtype, "v": v}, (*elements.arguments, context.y), numbers)
    return context.operation(*elements.before, call, overlap=elements.overlaps)


def _compared_with_zero(context: Context, *, is_zero: bool) -> Operation:
    elements = elements_of(context, context.step.inputs)
    (x,) = elements.operands
    numbers = {**elements.nest.numbers("x", "y"), "is_zero": is_zero}
    call = Call("compare_with", {"x": x.dtype}, (x.argument, context.y), numbers)
    return context.operation(*elements.before, call, overlap=elements.overlaps)


@lowers(Island, lambda c: isinstance(c.step.function, Converted), first=50)
def lower_cast(context: Context) -> Operation:
    """Return a Cast to integers, truth values, or real numbers of another type, which have codes too."""
    step: Island = context.step
    y = context.y
    if not y.size:
        return context.operation()
    (t,) = step.inputs
    bits = _fraction_bits(t)
    if context.out.format is not None:
        return _rounded(context, bits)
    if y.dtype.kind == "b":
        return _compared_with_zero(context, is_zero=False)
    elements = elements_of(context, step.inputs)
    (x,) = elements.operands
    types = {"x": x.dtype, "y": y.dtype}
    if t.format is not None and bits != 0:
        return _truncated(context, bits)
    info = np.iinfo(y.dtype)
    fits = info.min <= x.ends[0] and x.ends[1] <= info.max
    if not fits and t.format is not None:
        raise NotExportable(f"codes of {t.format} do not fit in {y.dtype}: cast to a wider type")
    call = Call("cast" if fits else "cast_wrapped", types, (x.argument, y), elements.nest.numbers("x", "y"))
    return context.operation(*elements.before, call, overlap=elements.overlaps)


def _rounded(context: Context, bits: int) -> Operation:
    """Return the cast of codes to real numbers that are codes."""
    (t,), out = context.step.inputs, context.out
    elements = elements_of(context, [t])
    (x,) = elements.operands
    bound = magnitude(x.ends)
    if out.dtype.name not in _SIGNIFICANDS or bound > 1 << _SIGNIFICANDS[out.dtype.name]:
        raise NotExportable(f"codes up to {bound} of '{t.name}' are not exact in {out.dtype}: cast to float32")
    if out.dtype == np.float16 and not (bits <= _FLOAT16_BITS and bound <= _FLOAT16_MOST * 2.0**bits):
        raise NotExportable(f"codes of {t.format} are not exact in float16: cast to float32")
    shift = enough(bits - out.fraction_bits, bound)
    numbers = epilogue(context.arithmetic.word(out.one_format).unshifted, shift)
    call = convert_call(x.argument, context.y, elements.nest, numbers, accumulator(bound, shift))
    return context.operation(*elements.before, call, overlap=elements.overlaps)


def _truncated(context: Context, bits: int) -> Operation:
    """Return the cast of codes, which drops their fraction bits."""
    y, (t,) = context.y, context.step.inputs
    elements = elements_of(context, [t])
    (x,) = elements.operands
    bound = magnitude(x.ends)
    least, most = (
        (-(-end >> bits) if end < 0 else end >> bits for end in x.ends)
        if bits > 0
        else (end << -bits for end in x.ends)
    )
    info = np.iinfo(y.dtype)
    if not (info.min <= least and most <= info.max and least > -_BEYOND_WORDS and most < _BEYOND_WORDS):
        raise NotExportable(f"numbers from {least} to {most} do not fit in {y.dtype}: cast to a wider type")
    numbers = {**epilogue(Word(16, True, "trunc"), enough(bits, bound)), "low": least, "high": most}
    call = convert_call(x.argument, y, elements.nest, numbers, np.dtype(np.int32))
    return context.operation(*elements.before, call, overlap=elements.overlaps)


@lowers(Island, first=900)
def lower_island(context: Context) -> Operation:
    """Refuse a step in real numbers."""
    if isinstance(context.step, Evaluated) and context.step.kind == "rule":
        raise NotExportable("C has no kernel for it: leave it out of the model")
    if context.bound_step.is_island:
        raise NotExportable(
            "it computes real numbers in the middle of codes, and C has none: "
            "leave it out of the model, or spell it in operators with a rule in fixed point"
        )
    raise NotExportable("C has no kernel for it: leave it out of the model")
