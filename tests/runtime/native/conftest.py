"""Guards around all memory that native kernels write: results may be right although other memory was overwritten."""

from __future__ import annotations

import numpy as np
import pytest

from qengine.runtime.native.executor import NativeSegment
from qengine.runtime.native.memory import Memory

GUARD, MARK = 1 << 16, 0xA5


class Guards:
    """Marked bytes before and after each piece of memory."""

    def __init__(self):
        self.pieces = []

    def around(self, size, name, alignment=64):
        memory = np.full(size + 2 * GUARD + alignment, MARK, np.uint8)
        start = GUARD + -(memory.ctypes.data + GUARD) % alignment
        memory[start : start + size] = 0
        self.pieces.append((memory, start, size, name))
        return memory, start

    def check(self):
        for memory, start, size, name in self.pieces:
            for side, bytes_ in (("before", memory[:start]), ("after", memory[start + size :])):
                written = np.flatnonzero(bytes_ != MARK)
                assert not written.size, f"{written.size} bytes {side} {name} of {size} bytes were written"


@pytest.fixture(autouse=True)
def guards(monkeypatch):
    made = Guards()

    def allocate(self, size):
        memory, start = made.around(size, "memory of a plan")
        self._arrays.append(memory)
        self.bytes += size
        return int(memory.ctypes.data) + start

    def new_arrays(self):
        arrays = {}
        for output in self.outputs:
            size = int(np.prod(output.shape)) * output.dtype.itemsize
            memory, start = made.around(size, f"array {output.key!r}")
            arrays[output.key] = memory[start : start + size].view(output.dtype).reshape(output.shape)
        return arrays

    monkeypatch.setattr(Memory, "allocate", allocate)
    monkeypatch.setattr(NativeSegment, "new_arrays", new_arrays)
    yield made
    made.check()
