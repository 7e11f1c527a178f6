"""Errors of many formats for many numbers in one pass, with the bits of `reference.format_errors`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .isa import Isa
from .locks import Lock
from .program import Call, Program
from .reference import format_errors as reference
from .reference.format_errors import CHUNK, LANES, NUMBERS

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class FormatErrors:
    """Specification of the sums of errors of rows of numbers, or of cells of histograms, for some candidates.

    A row has `vectors` vectors of 16 numbers. Each row has candidates of its own, `table_row` bytes apart, and a
    result of (candidates, 2) float64. The four arrays of cells lie `array` bytes apart.

    Attributes
    ----------
    source : float32 or float64 numbers, or float64 cells.
    """

    source: Literal["f32", "f64", "cells"]

    emitter = "format_errors"
    arguments = (
        "x", "x_row", "array", "rows", "vectors", "table", "table_row", "candidates", "errors", "errors_row",
    )  # fmt: skip


class _ErrorTables:
    """A table of candidates in memory, and a program that sums their errors.

    Parameters
    ----------
    rows, candidates
        Number of rows that have candidates of their own, and of candidates of each.
    """

    def __init__(self, rows: int, candidates: int) -> None:
        self._lock = Lock()
        self._table = np.zeros((rows, candidates, NUMBERS))
        self._errors: list[Reals] = []  # (chunks, ..., candidates, 2) of each array or side
        self._program: Program | None = None

    def _run(self, candidates: Reals) -> list[Reals]:
        """Return the errors of the candidates of each array or side, added up over its chunks."""
        with self._lock.guard:
            self._table[:] = candidates
            if self._program is not None:
                self._program.run({})
            return [_total(errors) for errors in self._errors]


class RowErrors(_ErrorTables):
    """Errors of formats for arrays of rows of finite numbers, for one table of candidates after the other.

    Parameters
    ----------
    arrays
        (rows, columns) float32 or float64 each.
    candidates
        Number of candidates of a row.
    isa
        Instruction set; None for the reference.
    threads
        Number of threads.

    Attributes
    ----------
    rows : number of rows of all arrays together.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], candidates: int, isa: Isa | None, threads: int = 1) -> None:
        self.rows = sum(len(array) for array in arrays)
        super().__init__(self.rows, candidates)
        self._arrays, self._isa = arrays, isa
        self._padded: list[NDArray[Any]] = []
        if isa is not None:
            work, first = [], 0
            for array in arrays:
                work += self._calls(array, self._table[first : first + len(array)])
                first += len(array)
            shares = min(threads, len(work))
            if work:
                self._program = Program(isa, [work[t::shares] for t in range(shares)])

    def _calls(self, array: NDArray[Any], table: Reals) -> list[Call]:
        """Return the calls that sum the errors of an array, and keep the memory that they use."""
        rows, columns = array.shape
        x = np.zeros((rows, -(-columns // LANES) * LANES), array.dtype)
        x[:, :columns] = array
        errors = np.zeros((-(-x.shape[1] // CHUNK), rows, table.shape[1], 2))
        self._padded.append(x)
        self._errors.append(errors)
        spec, calls = FormatErrors("f32" if x.dtype == np.float32 else "f64"), []
        for c in range(len(errors)):
            width = min(CHUNK, x.shape[1] - c * CHUNK)
            each = max(1, 4 * CHUNK // width)
            for first in range(0, rows, each):
                arguments = {
                    **{"x": x.ctypes.data + first * x.strides[0] + c * CHUNK * x.itemsize, "x_row": x.strides[0]},
                    **{"array": 0, "rows": min(each, rows - first), "vectors": width // LANES},
                    **{"table": table.ctypes.data + first * table.strides[0], "table_row": table.strides[0]},
                    **{"candidates": table.shape[1], "errors": errors[c, first:].ctypes.data},
                    **{"errors_row": errors.strides[1]},
                }
                calls.append(Call(spec, arguments))
        return calls

    def errors(self, candidates: Reals) -> Reals:
        """Return the errors of the candidates (rows, candidates, 6), (rows, candidates, 2); see the reference."""
        if self._isa is None:
            ends = np.cumsum([len(array) for array in self._arrays], dtype=np.int64).tolist()
            parts = zip(self._arrays, ends, strict=True)
            found = [reference.value_errors(array, candidates[end - len(array) : end]) for array, end in parts]
        else:
            found = self._run(candidates)
        return np.concatenate(found) if found else np.zeros((0, self._table.shape[1], 2))


class CellErrors(_ErrorTables):
    """Errors of formats for the cells of many histograms, for one table of candidates after the other.

    Parameters
    ----------
    sides
        Cells (4, cells) of one side of a histogram each, as `padded_cells` returns them.
    candidates
        Number of candidates of a side.
    isa
        Instruction set; None for the reference.
    """

    def __init__(self, sides: Sequence[Reals], candidates: int, isa: Isa | None) -> None:
        super().__init__(len(sides), candidates)
        self._sides, self._isa = sides, isa
        calls = []
        for cells, table in zip(sides, self._table, strict=True):
            errors = np.zeros((-(-cells.shape[1] // CHUNK), candidates, 2))
            self._errors.append(errors)
            for c in range(len(errors)):
                width = min(CHUNK, cells.shape[1] - c * CHUNK)
                arguments = {
                    **{"x": cells.ctypes.data + c * CHUNK * 8, "x_row": 0, "array": cells.strides[0], "rows": 1},
                    **{"vectors": width // LANES, "table": table.ctypes.data, "table_row": 0},
                    **{"candidates": candidates, "errors": errors[c].ctypes.data, "errors_row": 0},
                }
                calls.append(Call(FormatErrors("cells"), arguments))
        if isa is not None and calls:
            self._program = Program(isa, [calls])

    def errors(self, candidates: Reals) -> Reals:
        """Return the errors of the candidates (sides, candidates, 6), (sides, candidates, 2); see the reference."""
        if self._isa is None:
            parts = zip(self._sides, candidates, strict=True)
            found = [reference.cell_errors(cells, own) for cells, own in parts]
        else:
            found = self._run(candidates)
        return np.stack(found) if found else np.zeros((*self._table.shape[:2], 2))


def _total(errors: Reals) -> Reals:
    """Return the sum of the errors of chunks (chunks, ...), one after the other, as a new array."""
    total = errors[0].copy() if len(errors) else np.zeros(errors.shape[1:])
    for one in errors[1:]:
        total += one
    return total


def padded_cells(low: Reals, width: Reals, count: Reals) -> Reals:
    """Return cells as `cell_errors` takes them: (4, a multiple of 16), with cells that hold nothing at the end."""
    cells = np.zeros((4, -(-len(low) // LANES) * LANES))
    cells[:, : len(low)] = low, width, width**2 / 12, count
    return cells


__all__ = ["NUMBERS", "CellErrors", "FormatErrors", "RowErrors", "padded_cells"]
