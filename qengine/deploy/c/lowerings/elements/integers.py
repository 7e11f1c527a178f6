"""Functions of integers: bits, shifts, remainders and powers; and the remainder of codes, exact in real numbers.

The kernels compute in the type of the result, and wrap as NumPy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Call, Operation
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, is_evaluation_of, lowers
from qengine.deploy.c.lowerings.elements.convert import enough
from qengine.deploy.c.lowerings.elements.operands import BY_ZERO, elements_of, magnitude
from qengine.model.graph import NO_ACTIVATION
from qengine.model.ops.functions import IntegerPower
from qengine.model.steps import Island, Tensor
from qengine.model.steps.pairs import Remainder

_AND, _OR, _XOR, _LEFT, _RIGHT, _REMAINDER, _TRUNCATED, _POWER = range(8)
_BITWISE = {"BitwiseAnd": _AND, "BitwiseOr": _OR, "BitwiseXor": _XOR}
_SHIFTS = {"LEFT": _LEFT, "RIGHT": _RIGHT}
_FLOAT32_BITS = 24


def integer_function(context: Context, terms: Sequence[Tensor], operation: int, *comments: str) -> Operation:
    """Return a function of two tensors of integers of one type."""
    if not context.y.size:
        return context.operation()
    if any(t.dtype != context.y.dtype for t in terms):
        raise NotExportable(f"its operands have other types than its result, {context.y.dtype}: cast them first")
    if context.bound_step.node.activation not in (None, NO_ACTIVATION):
        raise NotExportable("it has a bound on integers: leave the Relu or Clip as an operator of its own")
    elements = elements_of(context, terms)
    numbers = {**elements.nest.numbers("a", "b", "y"), "operation": operation}
    call = Call("integer_function", {"y": context.y.dtype}, (*elements.arguments, context.y), numbers)
    return context.operation(*elements.before, call, overlap=elements.overlaps, comments=comments)


@lowers(Island, is_evaluation_of(*_BITWISE), first=60)
def lower_bitwise(context: Context) -> Operation:
    """Return and, or, xor of the bits of integers."""
    return integer_function(context, context.step.inputs, _BITWISE[context.bound_step.node.operator])


@lowers(Island, is_evaluation_of("BitwiseNot"), first=60)
def lower_bitwise_not(context: Context) -> Operation:
    """Return all bits inverted, as xor with ones."""
    (x,) = context.step.inputs
    ones = np.array(np.bitwise_not(np.zeros((), x.dtype)))
    return integer_function(context, (x, Tensor("all ones", x.dtype, (), ones)), _XOR)


@lowers(Island, is_evaluation_of("BitShift"), first=60)
def lower_bit_shift(context: Context) -> Operation:
    """Return bits moved to the left or right."""
    return integer_function(context, context.step.inputs, _SHIFTS[context.bound_step.node.attributes["direction"]])


@lowers(Island, lambda c: isinstance(c.step.function, Remainder), first=60)
def lower_remainder(context: Context) -> Operation:
    """Return the remainder of integers or of codes."""
    step: Island = context.step
    a, b = step.inputs
    truncates = step.function.truncates  # type: ignore[attr-defined]
    notes = () if b.value is not None and np.all(b.value) else (BY_ZERO,)
    if context.out.format is None:
        return integer_function(context, step.inputs, _TRUNCATED if truncates else _REMAINDER, *notes)
    if any(t.format is None for t in step.inputs):
        raise NotExportable("it has real numbers without a format: give them one")
    if not context.y.size:
        return context.operation()
    bits = [a.fraction_bits, b.fraction_bits]
    elements = elements_of(context, step.inputs)
    lefts = [max(bits) - n for n in bits]
    bounds = [magnitude(one.ends) << left for one, left in zip(elements.operands, lefts, strict=True)]
    if max(bounds) > 1 << _FLOAT32_BITS or max(map(abs, bits)) > 100:
        raise NotExportable(
            f"its operands have {bits[0]} and {bits[1]} fraction bits, which float32 does not hold together: "
            "give them closer formats"
        )
    word = context.arithmetic.word(context.out.one_format)
    shift = enough(max(bits) - context.out.fraction_bits, max(bounds))
    v = accumulator(max(bounds), shift)
    numbers = {
        **elements.nest.numbers("a", "b", "y"),
        "left_a": lefts[0],
        "left_b": lefts[1],
        "truncates": truncates,
        "epilogue": epilogue(word.unshifted, shift),
    }
    types = {"a": elements.operands[0].dtype, "b": elements.operands[1].dtype, "y": context.y.dtype, "v": v}
    call = Call("remainder", types, (*elements.arguments, context.y), numbers)
    return context.operation(*elements.before, call, overlap=elements.overlaps, comments=notes)


@lowers(Island, lambda c: isinstance(c.step.function, IntegerPower), first=60)
def lower_power(context: Context) -> Operation:
    """Return a constant power of integers."""
    (x,) = context.step.inputs
    exponent = context.step.function.exponent
    if exponent.dtype.kind not in "iu" or (exponent < 0).any():
        raise NotExportable(f"its exponent {exponent.item()} is no whole number from 0 on, and C has no real numbers")
    power = np.array(exponent.reshape(()), x.dtype)
    if int(power) != int(exponent.item()):
        raise NotExportable(f"its exponent {exponent.item()} does not fit in {x.dtype}: cast its input to a wider type")
    return integer_function(context, (x, replace(x, name="exponent", shape=(), value=power)), _POWER)
