"""Matrices of integers as the dot kernel reads them: packed constant weights, and rows of unsigned bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot
from qengine.kernels.epilogue import LANES
from qengine.kernels.integer_product import PackRows
from qengine.kernels.isa import Isa
from qengine.runtime.native.exact_sums import split_taps
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.row_product import tap_offsets
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, constant_buffer

TAP = 4
"""Bytes of a tap."""

_BYTES = TensorBuffer("bytes", (1, 1, 1, 1), "u8", 1, low=0, high=255)


@dataclass(frozen=True)
class ByteWeights:
    """Packed matrices.

    Attributes
    ----------
    packed, sums : packed columns, and the sum of each column (int32, whole vectors), of one matrix after the other.
    offsets : distance of each tap in a row.
    """

    packed: TensorBuffer
    sums: TensorBuffer
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, stack: NDArray[Any], isa: Isa) -> ByteWeights:
        """Return packed matrices (count, length, columns) of integers; beyond signed bytes they take more taps."""
        count, length, columns = stack.shape
        taps = -(-length // TAP)
        weights = np.zeros((count, -(-columns // LANES) * LANES, taps * TAP), np.int32)
        weights[:, :columns, :length] = stack.swapaxes(1, 2)
        sums = constant_buffer(weights.sum(axis=2, dtype=np.int32).ravel())
        parts: list[NDArray[np.int8]] = []
        while not parts or weights.any():
            parts.append(weights.clip(-128, 127).astype(np.int8).reshape(-1, taps, TAP))
            weights -= parts[-1].reshape(weights.shape)
        lanes, offsets = np.concatenate(parts, axis=1), np.tile(tap_offsets(taps), len(parts))
        if dot.is_paired("s8", isa):
            order, kept = split_taps(lanes, _BYTES, paired=True)
            lanes, offsets = np.where(kept, lanes[:, order], 0).astype(np.int8), offsets[order]
        return cls(constant_buffer(dot.packed_weights(lanes, "s8", isa)), sums, offsets)


def packed_rows(isa: Isa, x: TensorBuffer, size: tuple[int, int], *, is_signed: bool) -> tuple[TensorBuffer, PlainOp]:
    """Return a buffer of rows of whole taps of unsigned bytes, and the op that fills it.

    Parameters
    ----------
    isa
        Instruction set that the kernel is compiled for.
    x, size
        Buffer of the bytes, and the number of rows and of bytes of a row.
    is_signed
        Whether the bytes are signed.
    """
    rows, length = size
    row = -(-length // TAP) * TAP
    out = TensorBuffer.flat(f"{x.name} packed", rows * row, "u8")

    def arguments(part: Part) -> dict[str, Address]:
        numbers = {"first": part.first, "end": part.end, "length": length, "y_row": row}
        return {"x": part.inputs[0], "y": part.outputs[0], **numbers}

    return out, PlainOp(isa, (x,), out, PackRows(is_signed), arguments, rows, rows * row / 8)
