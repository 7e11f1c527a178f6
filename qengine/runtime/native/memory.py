"""Memory for tensors between steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.layout import Halo
from qengine.runtime.native.place import ITEMSIZE, Place


class Memory:
    """Aligned memory, given to tensors for as long as somebody reads them.

    A tensor with a halo gets memory that only tensors of its own shape get: the halo is filled once.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._alive: list[NDArray[np.uint8]] = []
        self._free: dict[Any, list[tuple[int, int]]] = {}

    def new(self, size: int) -> int:
        """Return the address of fresh memory."""
        room = np.zeros(size + 64, np.uint8)
        self._alive.append(room)
        self.bytes += size
        return int(room.ctypes.data) + -room.ctypes.data % 64

    def take(self, place: Place) -> tuple[int, Any, int]:
        """Return an address for a whole tensor, and what gives it back."""
        layout = place.layout
        key = (layout, place.zero) if layout.halo != Halo() else None
        free = self._free.setdefault(key, [])
        fitting = sorted(item for item in free if item[0] >= layout.size)
        if fitting:
            free.remove(fitting[0])
            return fitting[0][1], key, fitting[0][0]
        address = self.new(layout.size)
        if key is not None:
            self.fill(address, layout.size, place)
        return address, key, layout.size

    def give(self, item: tuple[int, Any, int]) -> None:
        """Take memory back."""
        address, key, size = item
        self._free[key].append((size, address))

    def fill(self, address: int, size: int, place: Place) -> None:
        """Write the code 0 to all of some memory."""
        kind = {1: np.uint8, 2: np.int16, 4: np.int32}[ITEMSIZE[place.stored]]
        room = next(r for r in self._alive if r.ctypes.data <= address < r.ctypes.data + r.nbytes)
        start = address - room.ctypes.data
        room[start : start + size // 4 * 4].view(kind)[:] = place.zero
