"""Memory of tensors, and windows of rows in it."""

from __future__ import annotations

import numpy as np
import pytest

from qengine.kernels.layout import SLACK, Halo
from qengine.kernels.packing import Fill, Move
from qengine.runtime.native.memory import Memory
from qengine.runtime.native.tensor_buffer import TensorBuffer, View
from qengine.runtime.native.window import RowWindow, Span


def buffer(name, height=32, *, channels=16, width=4, stored="u8", zero=128, **more):
    return TensorBuffer(name, (1, channels, height, width), stored, min(channels, 16), zero, **more)


# Memory


def test_memory_is_aligned_and_used_again():
    memory = Memory()
    first = memory.acquire(buffer("a"))
    second = memory.acquire(buffer("b"))
    assert first.address % 64 == second.address % 64 == 0
    assert first.address != second.address
    assert memory.bytes == first.size + second.size == 2 * buffer("a").layout.size
    memory.release(first)
    assert memory.acquire(buffer("c")).address == first.address
    assert memory.bytes == first.size + second.size


@pytest.mark.parametrize("size", [1, 63, 64, 4096])
def test_new_memory_is_aligned_and_as_large_as_asked_for(size, monkeypatch):
    monkeypatch.undo()  # the guards
    memory = Memory()
    address = memory.allocate(size)
    (array,) = memory._arrays
    assert address % 64 == 0
    assert array.ctypes.data <= address < address + size <= array.ctypes.data + array.nbytes
    assert not array.any()


def test_the_smallest_memory_that_fits_is_used():
    memory = Memory()
    large, small = memory.acquire(buffer("large", 64)), memory.acquire(buffer("small", 32))
    memory.release(large)
    memory.release(small)
    assert memory.acquire(buffer("exact", 32)) == small
    assert memory.acquire(buffer("less", 33)) == large
    assert memory.acquire(buffer("more", 65)).size == buffer("more", 65).layout.size


def test_memory_with_a_halo_belongs_to_one_layout_and_zero():
    memory = Memory()
    halo = Halo(1, 1, 1)
    first = memory.acquire(buffer("a", halo=halo))
    memory.release(first)
    for other in (buffer("b"), buffer("c", 16, halo=halo), buffer("d", zero=0, halo=halo)):
        assert memory.acquire(other).address != first.address
    assert memory.acquire(buffer("e", halo=halo)).address == first.address


@pytest.mark.parametrize(("stored", "zero"), [("u8", 128), ("i16", -32768), ("i32", 0), ("f32", 0)])
def test_a_halo_is_filled_with_the_code_of_0(stored, zero, guards):
    b = buffer("a", stored=stored, zero=zero, halo=Halo(1, 2, 3))
    memory = Memory()
    allocation = memory.acquire(b)
    array, start, size, _ = guards.pieces[-1]
    assert allocation.address == array.ctypes.data + start
    assert size == b.layout.size >= SLACK
    dtype = {"u8": np.uint8, "i16": np.int16, "i32": np.int32, "f32": np.float32}[stored]
    whole = array[start : start + size // 4 * 4].view(dtype)
    layout = b.layout
    rows = [
        layout.origin + n * layout.image + k * layout.plane + r * layout.row
        for n in range(layout.batch)
        for k in range(layout.blocks)
        for r in range(layout.height)
    ]
    for first in rows:  # what kernels write
        whole[first // layout.itemsize : (first + layout.width * layout.pixel) // layout.itemsize] = zero
    assert (whole == zero).all()


# Windows


def window(height=8, base=0, tensor_height=32, **options):
    return RowWindow(buffer("t", tensor_height, **options), height, base, Memory())


def test_a_window_is_a_view_of_the_whole_tensor():
    w = window(base=5)
    layout = w.layout
    assert (layout.height, layout.halo) == (8, Halo())
    assert w.view() == View(w.address - 5 * layout.row, layout.image, layout.plane, layout.row, layout.pixel)


@pytest.mark.parametrize("gap", [0, 3])
def test_rows_move_to_the_top_when_the_window_is_full(gap):
    w = window(halo=Halo(1, 1, gap))
    assert w.make_room(Span(0, 8)) == []
    w.note_written(0, 8)
    w.check_read(0, 8)
    (call,) = w.make_room(Span(6, 12))
    row = w.layout.row
    assert call.spec == Move()
    size = 2 * row + gap * w.layout.pixel
    addresses = {"x": w.address + 6 * row, "y": w.address}
    assert call.arguments == {**addresses, "size": size, "plane": w.layout.plane, "planes": 1}
    assert (w.base, w.first, w.end) == (6, 6, 8)
    w.note_written(8, 12)
    w.check_read(6, 12)


def test_rows_stay_while_the_window_has_room():
    w = window()
    w.make_room(Span(0, 4))
    w.note_written(0, 4)
    assert w.make_room(Span(2, 8)) == []  # up to the last row
    assert w.base == 0
    assert w.make_room(Span(2, 9)) != []
    assert w.base == 2


def test_rows_that_were_not_written_do_not_move():
    w = window()
    w.make_room(Span(0, 4))
    w.note_written(0, 4)
    assert w.make_room(Span(4, 12)) == []
    assert (w.base, w.first) == (4, 4)


@pytest.mark.parametrize(("stored", "itemsize"), [("u8", 1), ("i16", 2), ("i32", 4)])
def test_rows_beyond_the_edges_become_zeros(stored, itemsize):
    w = window(16, -2, 10, stored=stored, zero=7, halo=Halo(1, 1, 1))
    above, below = w.make_room(Span(-2, 13))
    row = 16 * (4 + 1)  # elements of 4 pixels and of the gap
    assert w.layout.halo == Halo(0, 0, 1)
    assert above.spec == below.spec == Fill(itemsize)
    plane = w.layout.plane
    assert above.arguments == {"y": w.address, "y_plane": plane, "items": 2 * row + 16, "code": 7, "planes": 1}
    assert below.arguments == {**above.arguments, "y": w.address + 12 * row * itemsize, "items": 3 * row + 16}
    w.note_written(0, 10)
    w.check_read(-2, 13)


def test_a_window_refuses_rows_that_were_not_written():
    w = window()
    w.make_room(Span(0, 8))
    with pytest.raises(AssertionError):
        w.check_read(0, 1)
    w.note_written(0, 4)
    for first, end in ((0, 5), (4, 6), (-1, 2)):
        with pytest.raises(AssertionError):
            w.check_read(first, end)
    with pytest.raises(AssertionError):
        w.note_written(4, 9)
    w.make_room(Span(2, 4))
    with pytest.raises(AssertionError):
        w.check_read(1, 4)  # outside of the span


def test_a_window_needs_every_row_but_those_beyond_the_edges():
    w = window(base=-2)
    w.make_room(Span(-2, 6))
    w.check_read(-2, 0)  # zeros alone
    w.note_written(1, 4)
    w.check_read(1, 4)
    w.check_read(-2, 0)
    for first, end in ((0, 4), (-1, 1), (1, 5)):
        with pytest.raises(AssertionError):
            w.check_read(first, end)


def test_rows_before_a_gap_are_not_read_any_more():
    w = window()
    w.make_room(Span(0, 8))
    w.note_written(0, 2)
    w.note_written(4, 6)
    w.check_read(4, 6)
    with pytest.raises(AssertionError):
        w.check_read(0, 2)
    w.note_written(6, 7)  # goes on where the last ended
    w.check_read(4, 7)
