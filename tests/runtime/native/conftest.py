"""Guards around all memory that native kernels write: a code may be right where something else was overwritten."""

from __future__ import annotations

import numpy as np
import pytest

from qengine.runtime.native.executor import NativePart
from qengine.runtime.native.memory import Memory

GUARD, MARK = 1 << 16, 0xA5


class Guards:
    """Marked bytes on both sides of memory, and what they are around."""

    def __init__(self):
        self.rooms = []

    def around(self, size, what, alignment=64):
        room = np.full(size + 2 * GUARD + alignment, MARK, np.uint8)
        start = GUARD + -(room.ctypes.data + GUARD) % alignment
        room[start : start + size] = 0
        self.rooms.append((room, start, size, what))
        return room, start

    def check(self):
        for room, start, size, what in self.rooms:
            for side, bytes_ in (("before", room[:start]), ("after", room[start + size :])):
                written = np.flatnonzero(bytes_ != MARK)
                assert not written.size, f"{written.size} bytes {side} {what} of {size} bytes were written"


@pytest.fixture(autouse=True)
def guards(monkeypatch):
    found = Guards()

    def new(self, size):
        room, start = found.around(size, "memory of a plan")
        self._alive.append(room)
        self.bytes += size
        return int(room.ctypes.data) + start

    def outputs(self):
        arrays = {}
        for made in self.made:
            size = int(np.prod(made.shape)) * made.dtype.itemsize
            room, start = found.around(size, f"array {made.key!r}")
            arrays[made.key] = room[start : start + size].view(made.dtype).reshape(made.shape)
        return arrays

    monkeypatch.setattr(Memory, "new", new)
    monkeypatch.setattr(NativePart, "outputs", outputs)
    yield found
    found.check()
