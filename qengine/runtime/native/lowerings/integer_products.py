"""Lowering of MatMulInteger and QLinearMatMul, exact products of 8-bit integers; see `kernels.integer_product`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot
from qengine.kernels.epilogue import LANES, Sums
from qengine.kernels.integer_product import CentreSums, PackColumns, StartSums, packed_form
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.model.steps import Evaluated, Tensor
from qengine.runtime.native.byte_weights import TAP, ByteWeights, packed_rows
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.quantize import known, rescale_op
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainCalls, PlainOp
from qengine.runtime.native.row_product import Places, RowProduct, tap_offsets
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, constant_buffer


@dataclass(frozen=True)
class _Shape:
    """Shapes of a product of stacks of matrices: (count, rows, length) times (count, length, columns).

    Attributes
    ----------
    rows, length, columns : sizes of a matrix.
    pairs : number of the left and of the right matrix of each product, in order.
    """

    rows: int
    length: int
    columns: int
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, a: tuple[int, ...], b: tuple[int, ...]) -> _Shape:
        """Return the shapes of np.matmul of two shapes; a right matrix alone is multiplied by all rows at once."""
        rows, length = (1, *a)[-2:]
        columns = b[-1] if len(b) > 1 else 1
        stack_a, stack_b = a[:-2], b[:-2]
        if prod(stack_b) == 1:
            return cls(rows * prod(stack_a), length, columns, ((0, 0),))
        stack = np.broadcast_shapes(stack_a, stack_b)
        numbers = [np.broadcast_to(np.arange(prod(s)).reshape(s), stack).ravel().tolist() for s in (stack_a, stack_b)]
        return cls(rows, length, columns, tuple(zip(*numbers, strict=True)))

    @property
    def taps(self) -> int:
        """The number of taps of a row."""
        return -(-self.length // TAP)

    @property
    def vectors(self) -> int:
        """The number of vectors of a row of the result."""
        return -(-self.columns // LANES)


@lowers_plain(Evaluated, "MatMulInteger")
def lower_matmul_integer(context: PlainContext[Evaluated]) -> Lowered:
    """Lower MatMulInteger of any 8-bit types."""
    a, b, a_zero, b_zero = (*context.step.evaluation.inputs, None, None)[:4]
    assert a is not None
    assert b is not None
    out = TensorBuffer.plain(context.out)
    return Lowered(_sums(context, (a, a_zero), (b, b_zero), out), (out,))


@lowers_plain(Evaluated, "QLinearMatMul")
def lower_qlinear_matmul(context: PlainContext[Evaluated]) -> Lowered:
    """Lower QLinearMatMul with constant scales, one of the left matrix and one or one for each column of the right."""
    inputs: Sequence[Any] = context.step.evaluation.inputs
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
    rows, columns = known(a_scale, "a_scale"), known(b_scale, "b_scale")
    if rows.size > 1 or columns.size not in (1, b.shape[-1]) or (columns.size > 1 and b.ndim == 1):
        raise NotLowered("scales of rows or of several matrices")
    sums = TensorBuffer.flat(f"sums of {context.out.name}", prod(context.out.shape), "i32")
    ops = _sums(context, (a, a_zero), (b, b_zero), sums)
    factors = np.float32(rows.reshape(())) * columns.ravel() / np.float32(known(y_scale, "y_scale").reshape(()))
    spread = (*(1,) * (len(context.out.shape) - 1), -1) if factors.size > 1 else ()
    out = TensorBuffer.plain(context.out)
    numbers = np.array(factors, np.float32), known(y_zero).ravel()
    return Lowered((*ops, rescale_op(context.isa, sums, numbers, out, context.out.shape, spread)), (out,))


def product_sums(
    context: PlainContext[Any],
    left: tuple[Tensor, NDArray[Any]],
    matrix: NDArray[np.int32],
    bias: NDArray[np.int32] | None,
    out: TensorBuffer,
) -> tuple[Op, ...]:
    """Return the ops that write the sums of products of rows with a constant matrix to a plain buffer.

    Parameters
    ----------
    context
        Context of the step.
    left
        The rows, and their zero point.
    matrix
        (length, columns) integers of signed bytes.
    bias
        Integer of each column, which is added to the sums.
    out
        Buffer of the sums.
    """
    a, zero = left
    shape = _Shape.of(a.shape, matrix.shape)
    rows = _Left(context, a, None, shape)
    weights = ByteWeights.of(matrix[None], context.isa)
    point = int(zero.reshape(())) + (128 if rows.is_signed else 0)
    assert weights.sums.elements is not None
    start = -point * weights.sums.elements.astype(np.int64)
    if bias is not None:
        start[: shape.columns] += bias
    numbers = constant_buffer(start.astype(np.int32))
    packed = _Weights(weights.packed, weights.sums, weights.offsets, True, None, 1)
    return (*rows.ops, _product(context.isa, shape, rows, packed, numbers, out))


_Matrix = tuple[Tensor, Tensor | None]
"""Integers and their zero points."""


def _sums(context: PlainContext[Evaluated], left: _Matrix, right: _Matrix, out: TensorBuffer) -> tuple[Op, ...]:
    """Return the ops that write the sums of products to a plain buffer."""
    (a, a_zero), (b, b_zero) = left, right
    if a.dtype.itemsize != 1 or b.dtype.itemsize != 1:
        raise NotLowered(f"a product of {a.dtype} and {b.dtype}")
    shape = _Shape.of(a.shape, b.shape)
    rows = _Left(context, a, a_zero, shape)
    weights = _weights(context, b, b_zero, shape)
    starts = weights.right_zero is None and rows.zeros == 1
    numbers = _start_sums(context.isa, rows, weights) if starts else None
    ops = [*rows.ops, *weights.ops, *([] if numbers is None else [numbers])]
    ops.append(_product(context.isa, shape, rows, weights, None if numbers is None else numbers.out, out))
    if not starts:
        ops.append(_centred(context.isa, shape, rows, weights, out))
    return tuple(ops)


class _Left:
    """The left matrices as the dot kernel reads them: unsigned rows of whole taps.

    Attributes
    ----------
    buffer, row : the rows, and the bytes from one to the next.
    is_signed : whether the elements are signed.
    zero, zeros : buffer of the zero points, and their number.
    ops : ops that pack the rows.
    """

    def __init__(self, context: PlainContext[Any], a: Tensor, zero: Tensor | None, shape: _Shape) -> None:
        self.is_signed = a.dtype == np.int8
        source = context.request(a)
        self.ops: list[Op] = []
        self.row = shape.taps * TAP
        self.zero = constant_buffer(np.zeros(1, a.dtype)) if zero is None else context.request(zero)
        self.zeros = 1 if zero is None else prod(zero.shape)
        self.buffer = source
        if self.is_signed or shape.length % TAP:
            size = prod(a.shape) // shape.length, shape.length
            self.buffer, packing = packed_rows(context.isa, source, size, is_signed=self.is_signed)
            self.ops.append(packing)


@dataclass(frozen=True)
class _Weights:
    """The right matrices as the dot kernel reads them.

    Attributes
    ----------
    packed, sums : packed columns, and the sum of each column, of one matrix after the other.
    offsets : distance of each tap in a row.
    is_signed : whether the zero points are of signed elements.
    right_zero, right_zeros : buffer of the zero points, and their number; None where the columns include them.
    ops : ops that pack the columns.
    """

    packed: TensorBuffer
    sums: TensorBuffer
    offsets: NDArray[np.int64]
    is_signed: bool
    right_zero: TensorBuffer | None
    right_zeros: int
    ops: tuple[Op, ...] = ()


def _weights(context: PlainContext[Evaluated], b: Tensor, zero: Tensor | None, shape: _Shape) -> _Weights:
    if b.value is not None and (zero is None or zero.value is not None):
        return _constant_weights(context.isa, b.value, None if zero is None else zero.value, shape)
    form, is_signed = packed_form(context.isa), b.dtype == np.int8
    count = prod(b.shape[:-2])
    taps = np.repeat(tap_offsets(shape.taps), 2) if form == "halves" else tap_offsets(shape.taps)
    vector = len(taps) * dot.weight_bytes("s8", context.isa)
    packed = TensorBuffer.flat(f"{b.name} packed", count * shape.vectors * vector, "u8")
    sums = TensorBuffer.flat(f"sums of {b.name}", count * shape.vectors * LANES, "i32")

    def make(part: Part) -> list[Call]:
        calls = []
        for i in range(count):
            first, end = (min(max(n - i * shape.vectors, 0), shape.vectors) for n in (part.first, part.end))
            if first < end:
                places = {
                    "x": part.inputs[0] + i * shape.length * shape.columns,
                    "y": part.outputs[0] + i * shape.vectors * vector,
                    "sums": part.outputs[1] + i * shape.vectors * LANES * 4,
                }
                numbers = {"first": first, "end": end, "length": shape.length, "columns": shape.columns}
                calls.append(Call(PackColumns(form, is_signed), {**places, **numbers, "y_vector": vector}))
        return calls

    parts, work = count * shape.vectors, 8.0 * count * shape.vectors * shape.taps
    op = PlainCalls(context.isa, (context.request(b),), packed, "pack_columns", make, parts, work, (sums,))
    if zero is not None:
        return _Weights(packed, sums, taps, is_signed, context.request(zero), prod(zero.shape), (op,))
    nothing = None if is_signed else constant_buffer(np.zeros(1, np.uint8))
    return _Weights(packed, sums, taps, is_signed, nothing, 1, (op,))


def _constant_weights(isa: Isa, b: NDArray[Any], zero: NDArray[Any] | None, shape: _Shape) -> _Weights:
    """Return packed weights, less their zero points where these fit a byte."""
    stack = b.reshape(-1, shape.length, shape.columns).astype(np.int32)
    right_zero, right_zeros = None, 1
    points = np.zeros(1, b.dtype) if zero is None else zero
    by_matrix = points.size > shape.columns
    centred = stack - points.astype(np.int32).reshape((-1, 1, points.shape[-1]) if points.ndim else ())
    if centred.min() >= -128 and centred.max() <= 127:
        stack = centred
    elif by_matrix:
        raise NotLowered("zero points of every matrix that leave the range of a byte")
    else:
        stack = stack if b.dtype == np.int8 else stack - 128
        right_zero, right_zeros = constant_buffer(points.ravel()), points.size
    weights = ByteWeights.of(stack, isa)
    return _Weights(weights.packed, weights.sums, weights.offsets, b.dtype == np.int8, right_zero, right_zeros)


def _start_sums(isa: Isa, left: _Left, weights: _Weights) -> Op:
    """Return the op that makes the numbers that columns begin with."""
    count = prod(weights.sums.shape)
    out = TensorBuffer.flat("start of sums", count, "i32")

    def arguments(part: Part) -> dict[str, Address]:
        zero, sums = part.inputs
        return {"zero": zero, "sums": sums, "y": part.outputs[0], "count": count}

    return PlainOp(isa, (left.zero, weights.sums), out, StartSums(left.is_signed), arguments, 1, count / 8)


def _product(
    isa: Isa, shape: _Shape, left: _Left, weights: _Weights, numbers: TensorBuffer | None, out: TensorBuffer
) -> Op:
    """Return the op of the sums of products."""
    offsets = weights.offsets
    product = RowProduct(isa, "s8", int(offsets.ctypes.data), len(offsets), shape.columns, Sums())
    start = constant_buffer(np.zeros(shape.vectors * LANES, np.int32)) if numbers is None else numbers
    grid = product.grid(shape.rows, len(shape.pairs))
    matrix = shape.rows * left.row

    def make(part: Part) -> list[Call]:
        x, w, n = part.inputs
        calls = []
        for i, rows, vectors in grid.within(part.first, part.end):
            one, other = shape.pairs[i]
            places = Places(
                x=x + one * matrix,
                x_row=left.row,
                w=w + other * shape.vectors * product.vector_bytes,
                numbers=n + (0 if numbers is None else other * shape.vectors * LANES * 4),
                y=part.outputs[0] + i * shape.rows * shape.columns * 4,
                y_row=shape.columns * 4,
            )
            calls += product.calls(places.at(rows.start), len(rows), vectors.start, vectors.stop)
        return calls

    work = product.cycles * shape.rows * len(shape.pairs)
    op = PlainCalls(isa, (left.buffer, weights.packed, start), out, "dot", make, grid.parts, work)
    op.address_of(offsets)
    return op


def _centred(isa: Isa, shape: _Shape, left: _Left, weights: _Weights, out: TensorBuffer) -> Op:
    """Return the op that subtracts, in place, what zero points add."""
    signed = weights.right_zero is None or weights.is_signed
    right = constant_buffer(np.zeros(1, np.int8)) if weights.right_zero is None else weights.right_zero
    per_matrix = left.zeros > shape.rows

    def make(part: Part) -> list[Call]:
        x, zero, right_zero, sums, _ = part.inputs
        calls = []
        for i, (one, other) in enumerate(shape.pairs):
            first, end = (min(max(n - i * shape.rows, 0), shape.rows) for n in (part.first, part.end))
            if first >= end:
                continue
            places: dict[str, Address] = {
                "y": part.outputs[0] + i * shape.rows * shape.columns * 4,
                "x": x + one * shape.rows * left.row,
                "zero": zero + (one * shape.rows if per_matrix else 0),
                "right_zero": right_zero + (other * shape.columns if weights.right_zeros > shape.columns else 0),
                "sums": sums + other * shape.vectors * LANES * 4,
            }
            numbers = {
                "x_row": left.row,
                "zeros": min(left.zeros, shape.rows),
                "right_zeros": min(weights.right_zeros, shape.columns),
                "length": shape.length,
                "columns": shape.columns,
            }
            calls.append(Call(CentreSums(left.is_signed, signed), {**places, **numbers, "first": first, "end": end}))
        return calls

    rows = shape.rows * len(shape.pairs)
    work = rows * (shape.length / 8 + shape.columns / 4)
    inputs = (left.buffer, left.zero, right, weights.sums, out)
    return PlainCalls(isa, inputs, out, "centre_sums", make, rows, work)
