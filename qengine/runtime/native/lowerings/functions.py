"""Lowering of functions of one variable in plain order, and of tables of codes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.elements import ELEMENT_BYTES, lanes_of
from qengine.kernels.elementwise import IntegerFunction, Lookup
from qengine.kernels.isa import Isa
from qengine.model.steps import Evaluated, Island, Table, Tensor
from qengine.model.steps.forms import Curve
from qengine.runtime.native.function_kernels import cycles_of, kernel_of, label_of
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, constant_buffer

_CHUNK = 256  # elements of a part
_TRIGONOMETRIC = (*("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh", "Tan"),)
_ONE = {
    "x_batch": 0,
    "x_block": 0,
    "x_row": 0,
    "y_batch": 0,
    "y_block": 0,
    "y_row": 0,
    "batch": 1,
    "blocks": 1,
    "rows": 1,
}


@lowers_plain(Table)
def lower_table(context: PlainContext[Table]) -> Lowered:
    """Lower a function of one variable: of codes any, of real numbers those that kernels compute."""
    step, out = context.step, TensorBuffer.plain(context.out)
    if step.x.format is None and context.out.format is None:
        return _function(context, step.function, out)
    if step.x.format is None or context.out.format is None:
        raise NotLowered("a table between codes and real numbers")
    return lower_to_table(context, step.x, step.table(context.out, context.arithmetic)[0])


@lowers_plain(Island, Curve)
def lower_integer_function(context: PlainContext[Island]) -> Lowered:
    """Lower a function of integers; those without a sign are their own magnitude."""
    (x,), out, name = context.step.inputs, TensorBuffer.plain(context.out), context.function.name
    source, count = context.request(x), prod(x.shape)
    if out.stored[0] != "i":
        raise NotLowered(f"{name} of {x.dtype}")
    size = int(out.stored[1:]) // 8

    def arguments(part: Part) -> dict[str, Address]:
        start, end = part.first * _CHUNK, min(part.end * _CHUNK, count)
        return {"x": part.inputs[0] + start * size, "y": part.outputs[0] + start * size, "count": end - start}

    spec = IntegerFunction(name, out.stored)
    return Lowered.by(PlainOp(context.isa, (source,), out, spec, arguments, -(-count // _CHUNK), float(count)))


def lower_evaluated(context: PlainContext[Evaluated]) -> Lowered:
    """Lower a trigonometric function."""
    return _function(context, Curve(context.step.evaluation.node.operator, np.asarray), TensorBuffer.plain(context.out))


for _name in _TRIGONOMETRIC:
    lowers_plain(Evaluated, _name)(lower_evaluated)


def _function(context: PlainContext[Any], function: Any, out: TensorBuffer) -> Lowered:
    """Return the op of a function of real numbers."""
    (x,) = context.step.operands
    if out.stored not in ("f32", "f64"):
        raise NotLowered(f"a function of {x.dtype}")
    return Lowered.by(function_op(context.isa, function, context.request(x), out, prod(x.shape)))


def function_op(isa: Isa, function: Any, x: TensorBuffer, out: TensorBuffer, count: int) -> PlainOp:
    """Return the op of a function of one variable.

    Parameters
    ----------
    isa
        Instruction set.
    function
        The function: a `Curve`, or a composition of such functions.
    x, out, count
        Input, output, and their number of elements.

    Raises
    ------
    NotLowered
        If no kernel computes the function.
    """
    element: Any = out.stored
    spec, numbers = kernel_of(function, element)
    table = constant_buffer(numbers, "numbers")
    size, lanes = ELEMENT_BYTES[element], lanes_of(element)

    def arguments(part: Part) -> dict[str, Address]:
        source, own = part.inputs
        start, items = part.first * _CHUNK, min(part.end * _CHUNK, count) - part.first * _CHUNK
        addresses = {"x": source + start * size, "y": part.outputs[0] + start * size, "numbers": own}
        return {**_ONE, **addresses, "vectors": items // lanes, "rest": items % lanes}

    parts, work = -(-count // _CHUNK), cycles_of(function) * (1.0 if element == "f32" else 2.0) * count
    return PlainOp(isa, (x, table), out, spec, arguments, parts, work, label=label_of(function))


def lower_to_table(context: PlainContext[Any], given: Tensor, entries: NDArray[Any]) -> Lowered:
    """Return the op of a table of codes, which are bytes or 16 bits in the order of their bits.

    Parameters
    ----------
    context, given
        Context of the step, and its input.
    entries
        Code of the output for every code of the input, in ascending order of the latter.
    """
    x, word, out = context.request(given), given.one_format.word(), TensorBuffer.plain(context.out)
    size = int(x.stored[1:]) // 8
    values = 1 << (8 * size)
    full = np.zeros(values, entries.dtype)
    # A lookup takes bytes without a sign, and 16 bits from -32768 on.
    first = 0 if size == 1 else values // 2
    full[(np.arange(word.least, word.most + 1) + first) % values] = entries
    table = constant_buffer(full, "table")
    count = prod(context.out.shape)

    def arguments(part: Part) -> dict[str, Address]:
        source, own = part.inputs
        start, items = part.first * _CHUNK, min(part.end * _CHUNK, count) - part.first * _CHUNK
        addresses = {"x": source + start * size, "y": part.outputs[0] + start * full.itemsize, "table": own}
        return {**_ONE, **addresses, "items": items}

    spec = Lookup("u8" if size == 1 else "i16", "u8" if full.itemsize == 1 else "i16")
    op = PlainOp(context.isa, (x, table), out, spec, arguments, -(-count // _CHUNK), float(count), label="table")
    return Lowered.by(op)
