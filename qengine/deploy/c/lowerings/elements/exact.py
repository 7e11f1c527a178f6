"""Nodes that an evaluator computes, and what their lowerings share.

An evaluator gets real numbers. Where it only moves or compares them, or sums few enough, real numbers give the same as
integers do, and C computes the codes. `check_exact` refuses what does not hold for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Argument, Array, Call, Constant, CTensor, Operation, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator
from qengine.deploy.c.lowerings.calls import copy_calls
from qengine.deploy.c.lowerings.elements.convert import convert_call, enough
from qengine.deploy.c.lowerings.nests import Nest, in_memory
from qengine.deploy.c.ranges.ends import word_ends
from qengine.kernels.reference.requantize import quantize
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Evaluated, Evaluation, Tensor
from qengine.model.steps.moves import Strided
from qengine.qformat import QFormat

_SIGNIFICANDS = {"float32": 24, "float64": 53}
_FAR = 100  # fraction bits up to which real numbers hold every code exactly
_ALIGNMENT = 8
OUT_OF_RANGE = "an index outside of the axis is brought to its nearest end"
BY_ZERO = "a division by 0, which the runtime refuses, gives 0"


def is_evaluation_of(*names: str) -> Callable[[Context], bool]:
    """Return the test of a step of an evaluation of one of some operators of ONNX."""

    def applies(context: Context) -> bool:
        node = context.bound_step.node
        return isinstance(context.step, Evaluated) and not node.domain and node.operator in names

    return applies


def attributes_of(context: Context) -> Mapping[str, Any]:
    """Return the attributes of the node, of which the planner has checked the types."""
    return context.bound_step.node.attributes


def check_exact(evaluation: Evaluation) -> int:
    """Return the largest code that the real numbers of an evaluation hold exactly, or the largest integer.

    Constants without a format are real numbers, which lowerings encode.

    Raises
    ------
    NotExportable
        If they do not hold all codes of 16 bits.
    """
    if evaluation.node.activation not in (None, NO_ACTIVATION):
        raise NotExportable("a Relu or Clip became a part of it: leave that as an operator of its own")
    tensors = [t for t in (*evaluation.inputs, *evaluation.outputs) if t is not None and t.name]
    floats = [t for t in tensors if t.is_float and (t.value is None or t.format is not None)]
    for t in floats:
        if not isinstance(t.format, QFormat):
            raise NotExportable(f"'{t.name}' is real numbers, and C has none: give it a format")
        if t.dtype.name not in _SIGNIFICANDS or abs(t.fraction_bits) > _FAR:
            raise NotExportable(f"'{t.name}' is {t.dtype}, which rounds codes of {t.format}: cast it to float32")
    return min((1 << _SIGNIFICANDS[t.dtype.name] for t in floats), default=(1 << 63) - 1)


@dataclass
class Memory:
    """Scratch of an operation, given out piece by piece, and the calls that fill it.

    Attributes
    ----------
    context : the step.
    calls : calls that run before the operation.
    end : bytes given out.
    """

    context: Context
    calls: list[Call]
    end: int = 0

    @classmethod
    def of(cls, context: Context) -> Memory:
        """Return the memory of a step, with nothing in it."""
        return cls(context, [])

    def scratch(self, dtype: np.dtype[Any], size: int) -> Scratch:
        """Return a piece."""
        found = Scratch(dtype, size, self.end)
        self.end = -(-found.end // _ALIGNMENT) * _ALIGNMENT
        return found

    def plain(self, t: Tensor, role: str) -> CTensor | Constant | Scratch:
        """Return an operand with its elements in ONNX's order, copied where they lie in another."""
        if t.value is not None:
            array = t.elements.astype(np.uint8) if t.elements.dtype.kind == "b" else t.elements
            return self.context.constant(role, array if array.size else np.zeros(1, array.dtype), f"'{t.name}'")
        x = self.context.tensors[t.name]
        strides = plain_strides(x.shape)
        if all(n == 1 or a == b for n, a, b in zip(x.shape, x.strides, strides, strict=True)):
            return x
        copy = self.scratch(x.dtype, x.size)
        self.calls += copy_calls(
            x, copy, Nest.of(in_memory(x, x.shape), [in_memory(x, x.strides), in_memory(x, strides)])
        )
        return copy


def plain_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a tensor in ONNX's order."""
    return Strided.whole(tuple(shape)).strides


def encoded(context: Context, t: Tensor) -> Tensor:
    """Return a constant of real numbers with the codes that the step writes for them; any other tensor unchanged."""
    if t.value is None or t.format is not None or not t.is_float:
        return t
    found = replace(t, format=context.out.format)
    found.keep_codes(reals_as_codes(context, t.value))
    return found


def reals_as_codes(context: Context, reals: Array) -> Array:
    """Return real numbers that a step writes as codes of its output; integers and truth values remain."""
    out = context.out
    if out.format is None:
        return reals.astype(out.dtype)
    return quantize(reals.astype(np.float64), out.fraction_bits, context.arithmetic.word(out.one_format))


def rounded(context: Context, memory: Memory, x: Argument, fraction_bits: int, bound: int, *calls: Call) -> Operation:
    """Return the operation of calls that leave codes in scratch, in ONNX's order, and of their rounding to the output.

    Parameters
    ----------
    context, memory
        The step, and its scratch.
    x
        The codes.
    fraction_bits
        Fraction bits of the codes.
    bound
        Largest magnitude of the codes.
    calls
        The calls.
    """
    y, shift = context.y, enough(fraction_bits - context.out.fraction_bits, bound)
    numbers = epilogue(context.arithmetic.word(context.out.one_format).unshifted, shift)
    nest = Nest.of(in_memory(y, y.shape), [in_memory(y, plain_strides(y.shape)), in_memory(y, y.strides)])
    last = convert_call(x, y, nest, numbers, accumulator(bound, shift))
    return context.operation(*memory.calls, *calls, last, comments=(f"|code| <= {bound} before it is rounded",))


def raised(context: Context, operation: Operation, *sources: Tensor) -> Operation:
    """Return the operation that moves codes, without the one that a symmetric overflow does not leave.

    Parameters
    ----------
    context, operation
        Step, and its operation that gives the codes unchanged.
    sources
        Tensors that the codes come from, in the format of the output.
    """
    y, out = context.y, context.out
    if out.format is None or not y.size:
        return operation
    low = context.arithmetic.word(out.one_format).lowest
    if all(low <= (word_ends(t) if t.value is not None else context.tensors[t.name].ends)[0] for t in sources):
        return operation
    calls = operation.calls
    if operation.view is not None:
        view = operation.view
        calls = (Call("copy", {"x": y.dtype}, (view.tensor, y), {"size": y.size}, (view.offset, 0)),)
    calls = (*calls, Call("raised", {"y": y.dtype}, (y,), {"size": y.size, "low": low}))
    return replace(operation, calls=calls, view=None)
