"""Loops of machine code: addresses that take turns and move on, the byte that ends a loop, faults, threads."""

from __future__ import annotations

import numpy as np
import pytest

from qengine.kernels.isa import available
from qengine.kernels.loop import LoopProgram, Moving
from qengine.kernels.packing import Fill, Move
from qengine.kernels.program import BARRIER, Call, Slot

ISA = available()[0]
ON = np.ones(1, np.uint8)
GO = Moving(ON.ctypes.data, ON.ctypes.data)


def fill(y, code, items=1):
    return Call(Fill(1), {"y": y, "y_plane": 0, "planes": 1, "items": items, "code": code})


def copy(x, y, size=1):
    return Call(Move(), {"x": x, "y": y, "plane": 0, "planes": 1, "size": size})


def rows(array, width):
    """Row i of an array in iteration i."""
    return Moving(array.ctypes.data, array.ctypes.data, width)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_states_take_turns_and_rows_move_on(threads):
    x, y = np.arange(1, 11, dtype=np.uint8).reshape(5, 2), np.zeros((5, 2), np.uint8)
    states = np.array([[50], [0]], np.uint8)
    even, odd = states[0].ctypes.data, states[1].ctypes.data
    work = [copy(Slot("x", 1), Slot("new")), copy(Slot("x"), Slot("y")), copy(Slot("old"), Slot("y", 1))]
    calls = [[call] if t == 0 else [] for t in range(threads) for call in [work[0]]]
    calls[0] += work[1:]
    program = LoopProgram(ISA, [[*one, BARRIER] for one in calls] if threads > 1 else calls)
    moving = {"x": rows(x, 2), "y": rows(y, 2), "old": Moving(even, odd), "new": Moving(odd, even)}
    assert program.iterate({}, moving, GO, None, 0, 3) == 3
    assert y.tolist() == [[1, 50], [3, 2], [5, 4], [0, 0], [0, 0]]
    assert program.iterate({}, moving, GO, None, 3, 5) == 5
    assert y.tolist() == [[1, 50], [3, 2], [5, 4], [7, 6], [9, 8]]


@pytest.mark.parametrize("stops", [0, 1, 3])
def test_the_byte_that_ends_a_loop(stops):
    conditions = np.ones(5, np.uint8)
    conditions[stops] = 0
    turns = np.zeros(2, np.uint8)
    first, second = (int(turns[i:].ctypes.data) for i in range(2))
    program = LoopProgram(ISA, [[copy(Slot("c"), Slot("go"))]])
    moving = {"c": rows(conditions, 1), "go": Moving(first, second)}
    assert program.iterate({}, moving, moving["go"], None, 0, 5) == stops + 1


def test_a_fault_ends_a_loop():
    marks, faults = np.array([0, 0, 7, 0], np.uint8), np.zeros(2, np.int64)
    program = LoopProgram(ISA, [[copy(Slot("m"), Slot("faults", 8))]])
    assert program.iterate({"faults": faults}, {"m": rows(marks, 1)}, GO, faults, 0, 4) == 3
    assert faults.tolist() == [0, 7]


def test_no_iterations_and_missing_arrays():
    program = LoopProgram(ISA, [[fill(Slot("y"), 1)]])
    y = np.zeros(1, np.uint8)
    assert program.iterate({"y": y}, {}, GO, None, 4, 4) == 4
    assert y.tolist() == [0]
    with pytest.raises(KeyError, match="y"):
        program.iterate({}, {}, GO, None, 0, 1)
