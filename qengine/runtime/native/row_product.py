"""Products of the rows of a plain matrix with packed weights, by the dot kernel.

The dot kernel reads a window of an image through a table of distances. A row of a matrix is a pixel whose taps lie side
by side, so that the table is 0, 4, 8, ... for every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot
from qengine.kernels.dot import Dot, FactorType
from qengine.kernels.epilogue import LANES, Epilogue, Sums
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.runtime.native.op import float_bounds
from qengine.runtime.native.tensor_buffer import Address

_VECTOR = 4 * LANES
_OUTER_BYTES = 1 << 15  # more weights than the L1 cache holds
_PART_ROWS, _PART_VECTORS = 16, 4  # rows or vectors of a part: whole tiles
_TILE = dot.Tile(1, 4, 4)
_UNBOUNDED = float_bounds(None, None)


@dataclass(frozen=True)
class Places:
    """Addresses of a product, and distances in bytes.

    Attributes
    ----------
    x, x_row : first row of the left matrix, and distance between rows.
    w, numbers : packed weights, and the numbers of the epilogue: float32 biases where there is none.
    y, y_row : first row of the result, and distance between rows.
    """

    x: Address
    x_row: int
    w: Address
    numbers: Address
    y: Address
    y_row: int

    def at(self, row: int) -> Places:
        """Return the places of a later row."""
        x, y = self.x + row * self.x_row, self.y + row * self.y_row
        return Places(x, self.x_row, self.w, self.numbers, y, self.y_row)


@dataclass(frozen=True)
class Grid:
    """Parts of several products of the same size: rows, or vectors of columns where there are few rows.

    Attributes
    ----------
    count : number of products.
    rows, vectors : size of a result.
    by_rows : whether parts are rows.
    """

    count: int
    rows: int
    vectors: int
    by_rows: bool

    @property
    def _step(self) -> int:
        return _PART_ROWS if self.by_rows else _PART_VECTORS

    @property
    def _each(self) -> int:
        return -(-(self.rows if self.by_rows else self.vectors) // self._step)

    @property
    def parts(self) -> int:
        """The number of parts."""
        return self.count * self._each

    def within(self, first: int, end: int) -> Iterator[tuple[int, range, range]]:
        """Yield what some parts are of each product: its number, rows and vectors."""
        each, size = self._each, self.rows if self.by_rows else self.vectors
        for i in range(first // each, -(-end // each)):
            begin, stop = (min(max(n - i * each, 0), each) * self._step for n in (first, end))
            some = range(begin, min(stop, size))
            yield (i, some, range(self.vectors)) if self.by_rows else (i, range(self.rows), some)


@dataclass(frozen=True)
class RowProduct:
    """A product of rows with packed weights.

    Attributes
    ----------
    isa : instruction set.
    kind : type of the factors.
    offsets : address of the distance of each tap in bytes, int64.
    taps : number of taps of a row.
    columns : number of columns of the result.
    epilogue : end of sums of integers; None for float32.
    scalars : address of the numbers that all columns share.
    """

    isa: Isa
    kind: FactorType
    offsets: int
    taps: int
    columns: int
    epilogue: Sums | Epilogue | None = None
    scalars: int = int(_UNBOUNDED.ctypes.data)

    @property
    def vectors(self) -> int:
        """The number of vectors of a row of the result."""
        return -(-self.columns // LANES)

    @property
    def vector_bytes(self) -> int:
        """The bytes of packed weights of a vector."""
        return self.taps * dot.weight_bytes(self.kind, self.isa)

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles of a row."""
        return self.taps * self.vectors * (0.6 if self.kind == "f32" or self.isa.has_vnni else 3.0)

    def grid(self, rows: int, count: int = 1) -> Grid:
        """Return how threads share several products of some rows."""
        return Grid(count, rows, self.vectors, by_rows=rows >= 2 * _PART_ROWS or self.vectors <= 2 * _PART_VECTORS)

    def calls(self, places: Places, rows: int, first: int = 0, end: int | None = None) -> list[Call]:
        """Return the calls that compute vectors `first` to `end` of some rows."""
        stop = self.vectors if end is None else end
        calls, done = [], first
        while done < stop:
            left = stop - done
            tile = self._tile(rows, left)
            for even in (2, 4):  # one odd vector must not force a slow tile on the others
                if left > even and left % even:
                    other = self._tile(rows, left - left % even)
                    if other.vectors >= even and tile.vectors < even:
                        tile, left = other, left - left % even
            calls.append(self._call(places, rows, tile, done, left))
            done += left
        return calls

    def grid_calls(self, grid: Grid, places: Places, number_bytes: int, first: int, end: int) -> list[Call]:
        """Return the calls that compute some parts of the products of the same rows with several right matrices.

        Parameters
        ----------
        grid
            Parts of all products.
        places
            Places of the first product; weights, numbers and results of the others follow.
        number_bytes
            Bytes of the numbers of a product.
        first, end
            Parts that are computed.
        """
        calls, w_bytes, y_bytes = [], self.vectors * self.vector_bytes, grid.rows * places.y_row
        for i, rows, vectors in grid.within(first, end):
            one = replace(
                places,
                w=places.w + i * w_bytes,
                numbers=places.numbers + i * number_bytes,
                y=places.y + i * y_bytes,
            )
            calls += self.calls(one.at(rows.start), len(rows), vectors.start, vectors.stop)
        return calls

    def _tile(self, rows: int, vectors: int) -> dot.Tile:
        # Rows lie at distances that only the arguments tell, of which few have addresses in registers.
        if self.isa.has_vnni and rows >= _TILE.pixels and vectors % _TILE.vectors == 0:
            return _TILE
        return dot.best_tile(self.kind, self.isa, 1, rows, vectors, self.taps, 0)

    def _call(self, places: Places, rows: int, tile: dot.Tile, first: int, vectors: int) -> Call:
        last = min(self.columns - (first + vectors - 1) * LANES, LANES)
        is_outer = self.vector_bytes * vectors > _OUTER_BYTES and rows * self.taps * 4 < 1 << 20
        y_vector = LANES * (4 if self.epilogue is None else self.epilogue.itemsize)
        number_bytes = _VECTOR if self.epilogue is None else self.epilogue.number_bytes
        spec = Dot(
            self.kind,
            tile.rows,
            tile.pixels,
            tile.vectors,
            0,
            self.epilogue,
            masked=last != LANES,
            outer=is_outer,
            partial=self.kind == "f32" and self.taps > dot.PARTIAL_TAPS,
        )
        arguments: dict[str, Address] = {
            **{"x": places.x, "x_batch": 0, "x_row": 0, "x_step": places.x_row},
            **{"offsets": self.offsets, "taps": self.taps, "chunks": 0, "chunk_count": 0},
            **{"w": places.w + first * self.vector_bytes, "w_vector": self.vector_bytes},
            **{"numbers": places.numbers + first * number_bytes, "scalars": self.scalars},
            **{"y": places.y + first * y_vector, "y_batch": 0, "y_vector": y_vector, "y_row": 0},
            **{"y_pixel": places.y_row},
            **{"batch": 1, "rows": 1, "width": rows, "vectors": vectors, "last": last},
        }
        return Call(spec, arguments)


def tap_offsets(taps: int) -> NDArray[np.int64]:
    """Return the distances of the taps of a row: they lie side by side."""
    return np.arange(taps, dtype=np.int64) * dot.LANE_BYTES
