"""Ops of a product of two stacks of matrices in plain buffers.

An operand is a `Stack`: a buffer, the distance of each of its matrices, and the distances from row to row and from
column to column. A broadcast stack repeats distances, and a transposed matrix exchanges the two others, so neither is
copied. Only a right matrix whose columns are not next to each other is packed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from qengine.kernels.dot import FactorType
from qengine.kernels.elements import lanes_of
from qengine.kernels.isa import Isa
from qengine.kernels.matmul import Matmul, PackPanels, PackTransposed, packed_panels, panel_vectors, tile_rows
from qengine.model.steps.moves import Strided
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, constant_buffer

_GROUP_BYTES = 1 << 18  # of rows of the left matrix, which stay in the L2 cache while panels pass
_UNITS = 8  # parts that threads can share


@dataclass(frozen=True)
class Stack:
    """Operand or result of a product: matrices of one size in a plain buffer; distances are in elements.

    Attributes
    ----------
    buffer : buffer.
    offsets : distance of each matrix from the first element.
    row, column : distance from row to row, and from column to column.
    """

    buffer: TensorBuffer
    offsets: tuple[int, ...]
    row: int
    column: int

    @property
    def size(self) -> int:
        """The bytes of an element."""
        return ITEMSIZE[self.buffer.stored]


@dataclass(frozen=True)
class Added:
    """Addend of a product.

    Attributes
    ----------
    buffer : buffer of a row, or of whole matrices.
    row : distance in elements from row to row: 0 for one row.
    factor : factor of it.
    offsets : distance in elements of the addend of each matrix of the stack; () for the same one for all.
    masks : see `Matmul`.
    """

    buffer: TensorBuffer
    row: int = 0
    factor: float = 1.0
    offsets: tuple[int, ...] = ()
    masks: bool = False


@dataclass(eq=False)
class ProductOp(PlainOp):
    """A product of two stacks of matrices.

    Attributes
    ----------
    products : number of multiply-accumulates.
    """

    products: int = 0

    @property
    def kind(self) -> FactorType | None:
        """The type of the factors of the op's multiply-accumulates; None for float64."""
        return "f32" if self.out.stored == "f32" else None

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the operator."""
        return self.products


def stack_offsets(shape: Sequence[int], stack: Sequence[int]) -> tuple[int, ...]:
    """Return the distance of each matrix of a contiguous tensor that is broadcast to a stack.

    Parameters
    ----------
    shape
        Shape of the tensor, the last two axes those of a matrix.
    stack
        Shape of the stack.
    """
    own = tuple(shape[:-2])
    numbers = np.arange(int(np.prod(own, dtype=np.int64)), dtype=np.int64).reshape(own) * (shape[-2] * shape[-1])
    return tuple(np.broadcast_to(numbers, tuple(stack)).ravel().tolist())


def stack_of(buffer: TensorBuffer, view: Strided, axes: tuple[int, int]) -> Stack | None:
    """Return a view as a stack of matrices; None where no one distance leads from row to row, or column to column.

    Parameters
    ----------
    buffer
        Buffer that the view is of.
    view
        View whose axes are first those of the stack, then those of the rows, then those of the columns.
    axes
        Number of axes of the stack, and of the rows.
    """
    first, second = axes[0], axes[0] + axes[1]
    row = _one_step(view.shape[first:second], view.strides[first:second])
    column = _one_step(view.shape[second:], view.strides[second:])
    if row is None or column is None:
        return None
    offsets = np.zeros((), np.int64) + view.offset
    for n, stride in zip(view.shape[:first], view.strides[:first], strict=True):
        offsets = offsets[..., None] + np.arange(n) * stride
    return Stack(buffer, tuple(offsets.ravel().tolist()), row, column)


def _one_step(shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """Return the distance from place to place of axes that are like one axis; None where they are not."""
    long = [(n, s) for n, s in zip(shape, strides, strict=True) if n > 1]
    if any(s != m * t for (_, s), (m, t) in pairwise(long)):
        return None
    return long[-1][1] if long else 1


def product_ops(
    isa: Isa,
    x: Stack,
    w: Stack,
    out: TensorBuffer | Stack,
    size: tuple[int, int, int],
    *,
    factor: float = 1.0,
    added: Added | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
) -> tuple[Op, ...]:
    """Return the ops that compute out = bounds(factor x w + added), a stack of matrices.

    Parameters
    ----------
    isa
        Instruction set.
    x, w
        Left and right matrices, as many as there are of the result.
    out
        Result; a buffer is a contiguous stack. Columns are next to each other.
    size
        Rows of the result, length of the inner axis, columns of the result.
    factor, added, bounds
        Factor of the product, what is added to it, and bounds of the sum.
    """
    rows, inner, columns = size
    if isinstance(out, TensorBuffer):
        out = Stack(out, tuple(i * rows * columns for i in range(len(x.offsets))), columns, 1)
    element: Any = out.buffer.stored
    vectors = panel_vectors(element, isa, columns)
    width = vectors * lanes_of(element)
    panels, itemsize = -(-columns // width), x.size
    before: tuple[Op, ...] = ()
    different = sorted(set(w.offsets))
    index = {offset: i for i, offset in enumerate(different)}
    is_packed = w.buffer.elements is not None or w.column != 1
    distances = [index[o] * panels * inner * width for o in w.offsets] if is_packed else w.offsets
    weights = w.buffer
    if w.buffer.elements is not None:
        weights = _packed_constant(w, different, (inner, columns), width)
    elif is_packed:
        weights = TensorBuffer.flat(f"{out.buffer.name} (panels)", len(different) * panels * inner * width, element)
        before = (_pack_op(isa, w, weights, different, (inner, columns, width)),)
    w_row, w_panel = (width, inner * width) if is_packed else (w.row, width)
    third = added or Added(constant_buffer(np.zeros(columns, _dtype(element)), "zeros"))
    limits = [-np.inf if bounds[0] is None else bounds[0], np.inf if bounds[1] is None else bounds[1]]
    scalars = np.array([factor, third.factor, *limits], _dtype(element))
    addends = third.offsets or (0,) * len(x.offsets)
    offsets = np.array([x.offsets, distances, out.offsets, addends], np.int64).T.copy() * itemsize
    group_rows = _group_rows(isa, rows, inner * itemsize, len(x.offsets) * panels)
    groups = -(-rows // group_rows)
    numbers = {
        **{"x_row": x.row * itemsize, "x_step": x.column * itemsize, "c_row": third.row * itemsize},
        "y_row": out.row * itemsize,
        **{"w_row": w_row * itemsize, "w_panel": w_panel * itemsize, "panels": panels, "groups": groups},
        **{"group_rows": group_rows, "rows": rows, "inner": inner, "columns": columns},
    }

    def arguments(part: Part) -> dict[str, Address]:
        left, right, c = part.inputs
        tables = {"scalars": int(scalars.ctypes.data), "offsets": int(offsets.ctypes.data)}
        ends = {"first": part.first, "end": part.end}
        return {"x": left, "w": right, "c": c, "y": part.outputs[0], **tables, **ends, **numbers}

    products = len(x.offsets) * rows * inner * columns
    work = products / (8 * isa.registers / 7 if isa.parts == 1 else 8)
    units = len(x.offsets) * groups * panels
    inputs = (x.buffer, weights, third.buffer)
    spec = Matmul(element, is_packed, vectors, third.masks)
    return *before, ProductOp(isa, inputs, out.buffer, spec, arguments, units, work, products=products)


def _dtype(element: str) -> Any:
    return np.float32 if element == "f32" else np.float64


def _group_rows(isa: Isa, rows: int, row_bytes: int, others: int) -> int:
    """Return the rows of a group: as many as stay in a cache, and so few that there is work for threads."""
    tile = tile_rows(isa)[0]
    most = max(_GROUP_BYTES // max(row_bytes, 1), 4 * tile)
    if others < _UNITS:
        most = min(most, -(-rows * others // _UNITS))
    return min(rows, max(1, most // tile) * tile)


def _packed_constant(w: Stack, offsets: Iterable[int], size: tuple[int, int], width: int) -> TensorBuffer:
    """Return constant matrices in panels of a width."""
    assert w.buffer.elements is not None
    flat = w.buffer.elements.reshape(-1)
    itemsize = flat.itemsize
    strides = (w.row * itemsize, w.column * itemsize)
    matrices = [np.lib.stride_tricks.as_strided(flat[o:], size, strides, writeable=False) for o in offsets]
    packed = packed_panels(np.stack(matrices), width)
    return constant_buffer(packed, w.buffer.name)


def _pack_op(isa: Isa, w: Stack, out: TensorBuffer, offsets: Sequence[int], size: tuple[int, int, int]) -> Op:
    """Return the op that packs matrices, of `inner` rows and some columns, into panels of a width."""
    inner, columns, width = size
    element: Any = out.stored
    panels = -(-columns // width)
    table = np.array(offsets, np.int64) * w.size
    is_whole = w.row == 1

    def arguments(part: Part) -> dict[str, Address]:
        numbers = {"panels": panels, "inner": inner, "columns": columns, "w_column": w.column}
        numbers |= {} if is_whole else {"w_row": w.row}
        ends = {"first": part.first, "end": part.end, "offsets": int(table.ctypes.data)}
        return {"w": part.inputs[0], "y": part.outputs[0], **numbers, **ends}

    parts = len(offsets) * panels
    work = (0.4 if is_whole else 1.5) * len(offsets) * inner * panels * width
    spec = PackTransposed(element, width // lanes_of(element)) if is_whole else PackPanels(element, width)
    return PlainOp(isa, (w.buffer,), out, spec, arguments, parts, work)
