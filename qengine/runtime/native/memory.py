"""Memory of the tensors between steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.layout import Halo
from qengine.memory import require
from qengine.runtime.native.tensor_buffer import STORED_DTYPE, TensorBuffer


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


class Memory:
    """Aligned memory that tensors use one after the other, each as long as it has readers.

    A tensor with a halo gets memory that only tensors of its own layout get: the halo is filled once.

    Attributes
    ----------
    bytes : total size of the memory.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._arrays: list[NDArray[np.uint8]] = []
        self._free: dict[Any, list[tuple[int, int]]] = {}

    def allocate(self, size: int) -> int:
        """Return the address of new memory at a multiple of 64 bytes."""
        require(self.bytes + size, "a run on native kernels with inputs of these shapes")
        array = np.zeros(size + 64, np.uint8)
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
            self.fill(address, layout.size, buffer)
        return Allocation(address, layout.size, pool)

    def release(self, allocation: Allocation) -> None:
        """Return memory to its pool, for the next tensor."""
        self._free[allocation.pool].append((allocation.size, allocation.address))

    def fill(self, address: int, size: int, buffer: TensorBuffer) -> None:
        """Write a buffer's stored code of 0 to all of some memory."""
        array = next(a for a in self._arrays if a.ctypes.data <= address < a.ctypes.data + a.nbytes)
        start = address - array.ctypes.data
        array[start : start + size // 4 * 4].view(STORED_DTYPE[buffer.stored])[:] = buffer.zero
