"""Memory of the tensors between steps."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.layout import Halo, Layout
from qengine.memory import require
from qengine.runtime.native.tensor_buffer import STORED_DTYPE, TensorBuffer

_LARGE_BYTES = 1 << 20
"""Fewest bytes of a piece that is kept: smaller ones come from pages that the process has."""


class Allocation(NamedTuple):
    """Memory of one tensor.

    Attributes
    ----------
    address : address of the first byte.
    size : number of bytes.
    pool : key of the pool that the memory returns to.
    """

    address: int
    size: int
    pool: Any


class SpareMemory:
    """Large pieces of memory of the last plan that is not used any more, for the next one.

    The sessions of a sweep run the same network in one format after the other. A system that gives a process new memory
    clears every page of it, which takes as long as some layers.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, NDArray[np.uint8]] = {}

    def keep(self, pieces: list[NDArray[np.uint8]]) -> None:
        """Keep pieces in the place of those that are kept."""
        self._pieces = {i: piece for i, piece in enumerate(pieces) if piece.nbytes >= _LARGE_BYTES}

    def take(self, size: int) -> NDArray[np.uint8] | None:
        """Return the smallest piece of at least a size and at most twice as large, with any content; None for none.

        Another thread may take a piece meanwhile, and the end of a plan, which no lock can hold up, may keep others.
        """
        pieces = self._pieces
        fitting = [(piece.nbytes, key) for key, piece in tuple(pieces.items()) if size <= piece.nbytes <= 2 * size]
        for _, key in sorted(fitting):
            piece = pieces.pop(key, None)
            if piece is not None:
                return piece
        return None


class Memory:
    """Aligned memory that tensors use one after the other, each as long as it has readers.

    A tensor with a halo gets memory that only tensors of its own layout get: the halo is filled once.

    Parameters
    ----------
    spare
        Memory that an earlier plan left, and that gets this memory at its end; None for none.

    Attributes
    ----------
    bytes : total size of the memory.
    """

    def __init__(self, spare: SpareMemory | None = None) -> None:
        self.bytes = 0
        self._arrays: list[NDArray[np.uint8]] = []
        self._free: dict[Any, list[tuple[int, int]]] = {}
        self._spare = spare
        if spare is not None:
            weakref.finalize(self, spare.keep, self._arrays)

    def allocate(self, size: int) -> int:
        """Return the address of new memory at a multiple of 64 bytes."""
        require(self.bytes + size, "a run on native kernels with inputs of these shapes")
        array = None if self._spare is None else self._spare.take(size + 64)
        array = np.zeros(size + 64, np.uint8) if array is None else array
        self._arrays.append(array)
        self.bytes += size
        return int(array.ctypes.data) + -array.ctypes.data % 64

    def acquire(self, buffer: TensorBuffer) -> Allocation:
        """Return memory for a whole tensor: the smallest free piece that fits, or a new one."""
        layout = buffer.layout
        pool = (layout, buffer.zero) if layout.halo != Halo() else None
        free = self._free.setdefault(pool, [])
        fitting = sorted(item for item in free if item[0] >= layout.size)
        if fitting:
            free.remove(fitting[0])
            size, address = fitting[0]
            return Allocation(address, size, pool)
        address = self.allocate(layout.size)
        if pool is not None:
            self.fill_halo(address, layout, buffer)
        return Allocation(address, layout.size, pool)

    def fill_halo(self, address: int, layout: Layout, buffer: TensorBuffer) -> None:
        """Write a buffer's stored code of 0 to what lies around the planes of a layout."""
        halo, row = layout.halo, layout.row // layout.itemsize
        array = next(a for a in self._arrays if a.ctypes.data <= address < a.ctypes.data + a.nbytes)
        start = address - array.ctypes.data
        items = array[start : start + layout.size // 4 * 4].view(STORED_DTYPE[buffer.stored])
        first = halo.gap * layout.block
        end = first + layout.planes * (layout.plane // layout.itemsize)
        rows = items[first:end].reshape(layout.planes, halo.top + layout.height + halo.bottom, row)
        items[:first] = items[end:] = buffer.zero
        rows[:, : halo.top] = rows[:, halo.top + layout.height :] = buffer.zero
        rows[:, :, layout.row_items :] = buffer.zero

    def release(self, allocation: Allocation) -> None:
        """Return memory to its pool, for the next tensor."""
        self._free[allocation.pool].append((allocation.size, allocation.address))
