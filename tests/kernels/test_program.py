"""Programs of kernel calls: order, slots, threads and barriers, errors, interrupts and forks."""

from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pytest

from qengine.kernels import program
from qengine.kernels.isa import available
from qengine.kernels.locks import Lock
from qengine.kernels.packing import Fill, Move
from qengine.kernels.program import BARRIER, Call, Program, Slot

ISA = available()[0]


def fill(y, code, items=4):
    return Call(Fill(1), {"y": y, "y_plane": 0, "planes": 1, "items": items, "code": code})


def copy(x, y, size=4):
    return Call(Move(), {"x": x, "y": y, "plane": 0, "planes": 1, "size": size})


def test_calls_run_in_order():
    y = np.zeros(8, np.uint8)
    base = y.ctypes.data
    Program(ISA, [[fill(base, 1, 8), fill(base + 2, 2, 4), copy(base + 4, base, 2), fill(base + 7, 3, 1)]]).run({})
    assert y.tolist() == [2, 2, 2, 2, 2, 2, 1, 3]


def test_a_program_without_calls_and_a_lone_barrier():
    Program(ISA, [[]]).run({})
    Program(ISA, [[BARRIER]]).run({})
    Program(ISA, [[], []]).run({})


def test_slots_are_addresses_of_the_arrays_of_each_run():
    whole = Slot("y")
    assert (whole + 3, whole + 3 + 2) == (Slot("y", 3), Slot("y", 5))
    run = Program(ISA, [[copy(Slot("x", 1), whole + 2, 3), fill(whole, 9, 1)]]).run
    x = np.arange(6, dtype=np.uint8)
    for first in (0, 50):
        for _ in range(2):
            y = np.zeros(6, np.uint8)
            run({"x": x + first, "y": y})
            assert y.tolist() == [9, 0, first + 1, first + 2, first + 3, 0]


def test_slots_of_several_arrays_on_several_threads():
    calls = [[copy(Slot("x", 4 * t + i), Slot("y", 4 * t + 3 - i), 1) for i in range(4)] for t in range(2)]
    run = Program(ISA, [[BARRIER, *calls[0]], [*calls[1], BARRIER]]).run
    for first in (1, 9):
        x, y = np.arange(first, first + 8, dtype=np.uint8), np.zeros(8, np.uint8)
        run({"x": x, "y": y})
        assert y.tolist() == [*x[3::-1], *x[:3:-1]]


def test_an_array_that_no_slot_is_given_for():
    made = Program(ISA, [[fill(Slot("y"), 1)]])
    with pytest.raises(KeyError, match="y"):
        made.run({"x": np.zeros(4, np.uint8)})
    y = np.zeros(4, np.uint8)
    made.run({"y": y})
    assert y.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": None}, r"\['size'\] are missing, \[\] are unknown"),
        ({"extent": 1}, r"\[\] are missing, \['extent'\] are unknown"),
        ({"size": None, "extent": 1, "a": 2}, r"\['size'\] are missing, \['a', 'extent'\] are unknown"),
    ],
    ids=["missing", "unknown", "both"],
)
def test_arguments_are_those_of_the_kernel(change, message):
    arguments = {"x": 0, "y": 0, "plane": 0, "planes": 1, "size": 1} | change
    with pytest.raises(ValueError, match=message):
        Call(Move(), {name: value for name, value in arguments.items() if value is not None})


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_after_a_barrier_every_thread_sees_what_the_others_wrote(threads):
    """In each round a thread copies what its neighbour wrote in the round before."""
    rounds, size = 40, 64
    y = np.zeros((rounds + 1, threads, size), np.uint8)
    y[0] = np.arange(1, threads + 1)[:, None]

    def calls(thread):
        found = []
        for r in range(rounds):
            source, target = Slot("y", (r * threads + (thread + 1) % threads) * size), Slot("y", 0)
            found += [copy(source, target + ((r + 1) * threads + thread) * size, size), BARRIER]
        return found

    made = Program(ISA, [calls(thread) for thread in range(threads)])
    for _ in range(5):
        y[1:] = 0
        made.run({"y": y})
        for r in range(rounds + 1):
            assert (y[r] == np.roll(np.arange(1, threads + 1), -r)[:, None]).all()


def test_lists_of_different_lengths():
    y = np.zeros(6, np.uint8)
    base = y.ctypes.data
    Program(ISA, [[BARRIER, copy(base, base + 3, 3)], [fill(base, 1, 1), fill(base + 1, 2, 2), BARRIER]]).run({})
    assert y.tolist() == [1, 2, 2, 1, 2, 2]


@pytest.mark.parametrize("threads", [2, 4])
def test_a_thread_takes_the_parts_that_others_do_not(threads, monkeypatch):
    """As where the system never gives them a core."""
    monkeypatch.setattr(program, "team", lambda count, *kernels: Alone())
    y = np.zeros(2 * threads, np.uint8)
    calls = [
        [fill(Slot("y", i), i + 1, 1), BARRIER, copy(Slot("y", threads - 1 - i), Slot("y", threads + i), 1)]
        for i in range(threads)
    ]
    made = Program(ISA, calls)
    for _ in range(3):
        y[:] = 0
        made.run({"y": y})
        assert y.tolist() == [*range(1, threads + 1), *range(threads, 0, -1)]


class Alone:
    """A team in which the last follower does everything."""

    def __init__(self):
        self.turn = Lock()

    def hand_over(self, runner, parts, state):
        state[:] = 0
        return runner, int(parts[-1])


def test_programs_of_several_callers_take_turns():
    arrays = [np.zeros(2, np.uint8) for _ in range(4)]
    made = [
        Program(ISA, [[fill(y.ctypes.data, i + 1, 1)], [fill(y.ctypes.data + 1, i + 1, 1)]])
        for i, y in enumerate(arrays)
    ]
    threads = [threading.Thread(target=lambda run=one.run: [run({}) for _ in range(50)]) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [y.tolist() for y in arrays] == [[i, i] for i in (1, 2, 3, 4)]


def _run_in_child(made, send):
    y = np.zeros(2, np.uint8)
    made.run({"y": y})
    send.send(y.tolist())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_with_threads_of_its_own():
    made = Program(ISA, [[fill(Slot("y"), 7, 1), BARRIER], [fill(Slot("y", 1), 8, 1), BARRIER]])
    made.run({"y": np.zeros(2, np.uint8)})
    made._state[:] = 1  # as if threads of the parent computed when it was forked
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_run_in_child, args=(made, send))
    child.start()
    assert receive.poll(30)
    assert receive.recv() == [7, 8]
    child.join()
    assert child.exitcode == 0
