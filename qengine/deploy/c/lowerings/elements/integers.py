"""Functions of integers: bits, shifts, remainders and powers; and the remainder of codes, exact in real numbers.

The kernels compute in the type of the result, and wrap as NumPy does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Array, Call, Operation
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.elements.convert import enough
from qengine.deploy.c.lowerings.elements.exact import BY_ZERO, attributes_of, is_evaluation_of
from qengine.deploy.c.lowerings.elements.operands import elements_of, magnitude
from qengine.model.graph import NO_ACTIVATION
from qengine.model.ops.functions import IntegerPower
from qengine.model.steps import Island, Tensor
from qengine.model.steps.forms import Curve
from qengine.model.steps.pairs import Remainder

_AND, _OR, _XOR, _LEFT, _RIGHT, _REMAINDER, _TRUNCATED, _POWER, _MAGNITUDE, _SIGN, _NEGATIVE = range(11)
_BITWISE = {"BitwiseAnd": _AND, "BitwiseOr": _OR, "BitwiseXor": _XOR}
_UNARY = {"abs": _MAGNITUDE, "sign": _SIGN, "negative": _NEGATIVE}
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
    return integer_function(context, context.step.inputs, _SHIFTS[attributes_of(context)["direction"]])


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
    return _powers(context, x, exponent.reshape(()) if exponent.size == 1 else exponent)


@lowers(Island, lambda c: isinstance(c.step.function, Curve) and c.step.function.name in _UNARY, first=60)
def lower_function(context: Context) -> Operation:
    """Return the magnitude, the sign or the opposite of integers."""
    (x,) = context.step.inputs
    unused = Tensor("unused", x.dtype, (), np.zeros((), x.dtype))
    return integer_function(context, (x, unused), _UNARY[context.step.function.name])


@lowers(Island, is_evaluation_of("Pow"), first=60)
def lower_powers(context: Context) -> Operation:
    """Return constant powers of integers."""
    x, exponent = context.step.inputs
    if context.out.format is not None or x.format is not None:
        raise NotExportable("it has more than one exponent of real numbers, and C has none: use Mul or Exp")
    if exponent.value is None:
        raise NotExportable("its exponents are computed during the run: use Mul")
    return _powers(context, x, exponent.value)


def _powers(context: Context, x: Tensor, exponents: Array) -> Operation:
    """Return powers of integers, exact as NumPy's unless both types together are real numbers."""
    is_whole = exponents.dtype.kind in "iu" and np.result_type(x.dtype, exponents.dtype).kind in "iu"
    if not is_whole or (exponents < 0).any():
        raise NotExportable(
            f"powers of {x.dtype} by {exponents.dtype} are real numbers, unless the exponents are of its type and not "
            "negative: use Mul"
        )
    given = exponents.astype(x.dtype)
    if (given != exponents).any():
        raise NotExportable(f"its exponents do not fit in {x.dtype}: cast its input to a wider type")
    return integer_function(context, (x, Tensor("exponent", x.dtype, given.shape, given)), _POWER)
