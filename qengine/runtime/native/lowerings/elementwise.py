"""Op of operations element by element: sums, products, PRelu, and requantization with bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.elementwise import Elementwise
from qengine.kernels.epilogue import LANES, EpilogueData, choose_epilogue
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.runtime.native.lowering_table import NotLowered
from qengine.runtime.native.op import Op, Rows, float_bounds
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, View

Operation = Literal["add", "multiply", "prelu", "round"]


@dataclass(frozen=True)
class Constant:
    """A constant operand in the layout of the output, broadcast along rows.

    Attributes
    ----------
    buffer : storage of its elements; the shape is that of one element.
    rows : (1 or batch, blocks, 1 or height, width x block) stored elements.
    is_first : whether it is the first operand of the operation.
    """

    buffer: TensorBuffer
    rows: NDArray[Any]
    is_first: bool

    def view(self, base: int) -> View:
        """Return the constant as a view of the output's shape: what is broadcast has strides of 0."""
        batch, blocks, height, items = self.rows.shape
        size = self.rows.itemsize
        row = items * size if height > 1 else 0
        plane = height * items * size
        return View(base, blocks * plane if batch > 1 else 0, plane, row, 0)


@dataclass(eq=False)
class ElementwiseOp(Op):
    """(a << shift) + (b << shift), or minus, or a * b, or a PRelu; for one operand, a << shift.

    Attributes
    ----------
    operation : operation of the kernel.
    shifts : left shift of the codes of each operand of a sum; for a PRelu see `Elementwise`.
    requantize : requantization of the result; None for float32.
    bounds : float32 (2,), lower and upper bound of float32 results.
    constant : constant operand in addition to the inputs.
    signs : sign of each operand of a sum; the first is +1.
    skip : first channel of the output that the op writes: an input may be a part of the output.
    """

    operation: Operation
    shifts: tuple[int, ...]
    requantize: EpilogueData | None
    bounds: NDArray[np.float32]
    constant: Constant | None = None
    signs: tuple[int, ...] = (1, 1)
    skip: int = 0

    def __post_init__(self) -> None:
        data = self.requantize
        order = np.zeros((1, LANES), np.intp)
        self._numbers = self.aligned_copy(np.zeros(64, np.uint8) if data is None else data.packed(order))
        self._scalars = self.address_of(self.bounds if data is None else data.scalars)
        self._constant = self.aligned_copy(self.constant.rows) if self.constant is not None else 0
        self.kernel = (
            self.operation if len(self._operands()) > 1 else "round" if self.operation == "round" else "requantize"
        )

    def _operands(self) -> list[TensorBuffer]:
        """Return the buffers of the operands in order."""
        operands = list(self.inputs)
        if self.constant is not None:
            operands.insert(0 if self.constant.is_first else len(operands), self.constant.buffer)
        return operands

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:
        """Return the rows of an input that rows first..end of the output read: one of a single row is broadcast."""
        return (0, 1) if buffer.shape[2] == 1 else (first, end)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        buffers, operand_views = self._operands(), list(views)
        if self.constant is not None:
            position = 0 if self.constant.is_first else len(operand_views)
            operand_views.insert(position, self.constant.view(self._constant))
        epilogue = None if self.requantize is None else self.requantize.epilogue
        shape = self.inputs[0].shape if self.skip or len(buffers) == 1 else self.out.shape
        items, block = shape[3] * self.out.block, self.out.block
        stored: Any = tuple(b.stored for b in buffers)
        spec = Elementwise(self.operation, stored, epilogue, self.signs[: len(buffers)])
        arguments: dict[str, Address] = {
            **{"numbers": self._numbers, "scalars": self._scalars, "batch": shape[0], "blocks": -(-shape[1] // block)},
            **{"rows": rows.count, "vectors": items // LANES, "rest": items % LANES},
            **out.arguments("y", rows.first),
            **{"y": out.at(rows.first) + self.skip // block * out.plane, "y_step": LANES * ITEMSIZE[self.out.stored]},
            **out.flag_arguments,
        }
        for i, (buffer, view, shift) in enumerate(zip(buffers, operand_views, self.shifts, strict=True)):
            # A single pixel is broadcast: every channel has one number, block by block.
            is_constant = self.constant is not None and buffer is self.constant.buffer
            single = not is_constant and buffer.shape[2] == buffer.shape[3] == 1 and prod(self.out.shape[2:]) > 1
            arguments |= view.arguments(f"x{i}", 0 if view.row == 0 or single else rows.first)
            step = 0 if single else LANES * ITEMSIZE[buffer.stored]
            arguments |= {f"x{i}_step": step, f"x{i}_shift": shift, f"x{i}_zero": buffer.zero}
            if single:
                arguments[f"x{i}_row"] = 0
        return [Call(spec, arguments)]


def requantize_op(
    isa: Isa,
    x: TensorBuffer,
    out: TensorBuffer,
    word: Word,
    shift: int,
    bounds: tuple[int | None, int | None] = (None, None),
    skip: int = 0,
) -> ElementwiseOp:
    """Return the op that brings codes to another format and between bounds, with flags where the output has some.

    Raises
    ------
    NotLowered
        If 64 bits do not hold the shifted codes.
    """
    low, high = bounds
    requantization = choose_epilogue(
        np.array([-x.zero]), x.max_magnitude, shift, word, low=low, high=high, counts=out.flagged
    )
    if requantization is None:
        raise NotLowered("shifted codes of more than 64 bits")
    return ElementwiseOp(isa, (x,), out, "add", (0,), requantization, float_bounds(None, None), skip=skip)


def round_op(isa: Isa, x: TensorBuffer, out: TensorBuffer) -> ElementwiseOp:
    """Return the op that rounds float32 numbers to numbers of float16."""
    return ElementwiseOp(isa, (x,), out, "round", (0,), None, float_bounds(None, None))


def copy_op(
    isa: Isa,
    x: TensorBuffer,
    out: TensorBuffer,
    bounds: tuple[float | None, float | None] = (None, None),
    skip: int = 0,
) -> ElementwiseOp:
    """Return the op that copies float32 numbers between bounds."""
    return ElementwiseOp(isa, (x,), out, "add", (0,), None, float_bounds(*bounds), skip=skip)
