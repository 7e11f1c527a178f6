"""Loops of machine code: the body of a Loop or Scan that is one native segment, repeated without Python.

A body whose tensors have the same shapes in every iteration is one program. Between two iterations only addresses
change (`qengine.kernels.loop`): a state is read where the iteration before wrote it, so that two arrays take turns; a
scan input and a scan output move on by one row. Python is entered now and then, to let an interrupt through, to count
iterations, and to make room for more rows where nobody knows how many there will be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.kernels.loop import LoopProgram, Moving
from qengine.kernels.packing import Move
from qengine.kernels.program import BARRIER, Call, Slot
from qengine.runtime.native.executor import FAULTS, NAN_COUNTS, Arrays, Executor, NativeSegment, feed_key

_FIRST_ITERATIONS, _MAX_ITERATIONS_AT_ONCE = 16, 1 << 14
_SECONDS_AT_ONCE = 0.02
"""Seconds after which Python is entered again."""
_ROWS = 256
"""Rows of a scan output that there is room for first, where their number is not known."""
_KNOWN_BYTES = 1 << 26
"""Most bytes of a scan output that are taken at once."""


class Role(Enum):
    """A part that a tensor plays in a loop."""

    NUMBER = "number of the iteration"
    CONDITION = "condition"
    STATE = "loop-carried value"
    ROW = "row of a scan input or scan output"
    FIXED = "the same in every iteration"


@dataclass(frozen=True)
class Source:
    """An output of a body.

    Attributes
    ----------
    key : name of the array that the body writes; None where it computes nothing.
    place : place of the input that the output is; None where it is none.
    constant : array that the output is in every iteration.
    shape, dtype : shape and element type of the array.
    """

    key: str | None
    place: int | None
    constant: NDArray[Any] | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Body:
    """A graph that a loop repeats.

    Attributes
    ----------
    executor : the graph on native kernels.
    roles : role of each input.
    names : name of each input; those that the executor reads are names of its plan.
    outputs : the condition, if there is one, then the states, then the rows.
    """

    executor: Executor
    roles: tuple[Role, ...]
    names: tuple[str, ...]
    outputs: tuple[Source, ...]


@dataclass
class Progress:
    """The end of a loop, or of the part of it that ran.

    Attributes
    ----------
    count : number of the next iteration.
    continues : whether the condition holds.
    states : loop-carried values.
    rows : scan outputs of the iterations that ran, stacked along the first axis.
    """

    count: int
    continues: bool
    states: list[NDArray[Any]]
    rows: list[NDArray[Any]]


class NotRepeatable(Exception):  # noqa: N818 - not an error: Python repeats the body
    """A body that no native loop can repeat."""


@dataclass
class _Rows:
    """A scan output that grows."""

    source: Source
    array: NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.array = np.empty((0, *self.source.shape), self.source.dtype)

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return int(np.prod(self.source.shape, dtype=np.int64)) * self.source.dtype.itemsize

    def make_room(self, used: int, rows: int, what: str) -> None:
        """Make room for a number of rows; the first ones stay."""
        if rows > len(self.array):
            memory.hold(2 * self.row_bytes * (rows - len(self.array)), what)
            array = np.empty((rows, *self.source.shape), self.source.dtype)
            array[:used] = self.array[:used]
            self.array = array


class NativeLoop:
    """A loop of machine code, ready to run.

    Parameters
    ----------
    body
        The graph that is repeated.

    Raises
    ------
    NotRepeatable
        If the body is more than one native segment, or its condition never holds.
    """

    def __init__(self, body: Body) -> None:
        executor = body.executor
        if len(executor.parts) != 1 or not isinstance(executor.parts[0], NativeSegment) or executor.unread:
            raise NotRepeatable
        if any(t.format is not None and t.name not in executor.plan.encoded for t in executor.plan.inputs):
            raise NotRepeatable
        self.body, self.segment = body, executor.parts[0]
        has_condition = Role.CONDITION in body.roles
        self._state_places = [i for i, role in enumerate(body.roles) if role is Role.STATE]
        self._number_places = [i for i, role in enumerate(body.roles) if role is Role.NUMBER]
        go, others = (body.outputs[0], body.outputs[1:]) if has_condition else (None, body.outputs)
        self.states, self.rows = others[: len(self._state_places)], others[len(self._state_places) :]
        self._copies: list[tuple[str, str, int]] = []
        self._constants: Arrays = {}
        self._written: set[str] = set()  # arrays of the segment that are slots themselves
        self._go = self._go_slot(go)
        self._state_slots = [self._slot(s, f"\0state {k}", self._state_places[k]) for k, s in enumerate(self.states)]
        self._row_slots = [self._slot(s, f"\0row {k}", None) for k, s in enumerate(self.rows)]
        self.program = LoopProgram(executor.isa, self._calls())
        self._at_once = _FIRST_ITERATIONS

    def _go_slot(self, go: Source | None) -> str | None:
        """Return the name of the slot of the condition; None where it always holds."""
        if go is None:
            return None
        if go.constant is not None:
            if not go.constant.all():
                raise NotRepeatable
            return None
        if go.place is not None and self.body.roles[go.place] is Role.CONDITION:
            return None
        if go.dtype != np.bool_ or go.shape not in ((), (1,)):
            raise NotRepeatable
        return self._slot(go, "\0go", None)

    def _slot(self, source: Source, name: str, own_place: int | None) -> str | None:
        """Return the name of the slot that an output is written to, and note a copy where no kernel writes it there.

        None for a state that no iteration changes.
        """
        if source.place is not None and source.place == own_place:
            return None
        size = int(np.prod(source.shape, dtype=np.int64)) * source.dtype.itemsize
        if source.key is not None:
            if source.key not in self._written:
                self._written.add(source.key)
                return source.key
            self._copies.append((source.key, name, size))
        elif source.place is not None:
            self._copies.append((self._input_slot(source.place), name, size))
        else:
            assert source.constant is not None
            self._constants[f"{name} constant"] = np.ascontiguousarray(source.constant)
            self._copies.append((f"{name} constant", name, size))
        return name

    def _input_slot(self, place: int) -> str:
        return f"\0input {place}"

    def _calls(self) -> list[list[Call | None]]:
        """Return the calls of an iteration."""
        calls = [list(one) for one in self.segment.compiled.program.calls]
        if len(calls) > 1 and self._copies:
            for one in calls:
                one.append(BARRIER)
        for x, y, size in self._copies:
            given: dict[str, int | Slot] = {"x": Slot(x), "y": Slot(y), "plane": 0, "planes": 1, "size": size}
            calls[0].append(Call(Move(), given))
        if len(calls) > 1:
            for one in calls:
                one.append(BARRIER)
        if not calls[0]:
            raise NotRepeatable
        return calls

    def run(
        self,
        values: Sequence[NDArray[Any]],
        first: int,
        limit: int | None,
        count: Callable[[int], int],
        what: str,
    ) -> Progress:
        """Run iterations until the condition or the limit ends them.

        Parameters
        ----------
        values
            Array of each input, with the states at the beginning; the rows of scan inputs as one array. Elements of the
            number and the condition do not count.
        first, limit
            Number of the first iteration, and number before which the last one ends; None for no limit.
        count
            Function that is called with a number of iterations that are to run, counts as many as are allowed, and
            returns their number; it raises an error where it is none.
        what
            The node, for the messages of errors.
        """
        executor = self.body.executor
        with executor.lock.guard:
            return self._run([np.asarray(v, order="C") for v in values], first, limit, count, what)

    def _run(
        self,
        values: list[NDArray[Any]],
        first: int,
        limit: int | None,
        count: Callable[[int], int],
        what: str,
    ) -> Progress:
        executor = self.body.executor
        own = [output for output in self.segment.outputs if output.key not in self._written]
        arrays: Arrays = {output.key: np.empty(output.shape, output.dtype) for output in own} | self._constants
        arrays[NAN_COUNTS] = np.zeros(max(len(executor.plan.inputs), 1), np.int64)
        arrays[FAULTS] = faults = np.zeros(max(len(executor.faults), 1), np.int64)
        always, go_array = np.ones(1, np.bool_), np.ones(2, np.bool_)
        moving = self._moving_inputs(values, always)
        states = self._moving_states(values, first, moving)
        go = _fixed(always)
        if self._go is not None:
            go = moving[self._go] = Moving(_address(go_array), _address(go_array) + 1)
        rows = [_Rows(source) for source in self.rows]
        at, continues = first, True
        while continues and (limit is None or at < limit):
            wanted = self._at_once if limit is None else min(self._at_once, limit - at)
            end = at + count(wanted)
            self._move_rows(rows, (first, at, end, limit), moving, what)
            numbers = np.arange(at, end)
            number = Moving(_address(numbers) - 8 * at, _address(numbers) - 8 * at, 8)
            for place in self._number_places:
                moving.update(dict.fromkeys(self._keys(place), number))
            began = time.perf_counter()
            before, at = at, self.program.iterate(arrays, moving, go, faults if executor.faults else None, at, end)
            executor.check_faults(arrays)
            self._adapt(time.perf_counter() - began, wanted)
            count(at - end)  # those that did not run
            if at > before:
                continues = bool(go_array[(at - 1) % 2]) if self._go is not None else True
        return Progress(at, continues, [pair[at % 2] for pair in states], [row.array[: at - first] for row in rows])

    def _keys(self, place: int) -> tuple[str, str, str]:
        """Return the names of the slots of an input."""
        name = self.body.names[place]
        return name, feed_key(name), self._input_slot(place)

    def _moving_inputs(self, values: Sequence[NDArray[Any]], always: NDArray[np.bool_]) -> dict[str, Moving]:
        """Return the addresses of all inputs but the number: states as if no iteration changed them."""
        moving: dict[str, Moving] = {}
        for place, (value, role) in enumerate(zip(values, self.body.roles, strict=True)):
            one = _fixed(always if role is Role.CONDITION else value)
            if role is Role.ROW:
                one = Moving(_address(value), _address(value), value.nbytes // max(len(value), 1))
            if role is not Role.NUMBER:
                moving |= dict.fromkeys(self._keys(place), one)
        return moving

    def _moving_states(
        self, values: Sequence[NDArray[Any]], first: int, moving: dict[str, Moving]
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Add the addresses of the states that change, and return the array of each before even and odd iterations."""
        pairs = []
        for place, slot in zip(self._state_places, self._state_slots, strict=True):
            if slot is None:
                pairs.append((values[place], values[place]))
                continue
            old, new = values[place].copy(), np.empty_like(values[place])
            even, odd = (old, new) if first % 2 == 0 else (new, old)
            pairs.append((even, odd))
            moving |= dict.fromkeys(self._keys(place), Moving(_address(even), _address(odd)))
            moving[slot] = Moving(_address(odd), _address(even))
        return pairs

    def _move_rows(
        self, rows: Sequence[_Rows], span: tuple[int, int, int, int | None], moving: dict[str, Moving], what: str
    ) -> None:
        """Make room for the scan outputs of the next iterations, and set their addresses.

        Parameters
        ----------
        rows
            The scan outputs.
        span
            Numbers of the first iteration, of the next one and of that after the next ones, and the limit.
        moving
            Addresses by slot.
        what
            The node, for the messages of errors.
        """
        first, at, end, limit = span
        for row, slot in zip(rows, self._row_slots, strict=True):
            if end - first > len(row.array):
                room = self._room(row, end - first, None if limit is None else limit - first)
                row.make_room(at - first, room, what)
            base = _address(row.array) - first * row.row_bytes
            assert slot is not None
            moving[slot] = Moving(base, base, row.row_bytes)

    def _adapt(self, seconds: float, count: int) -> None:
        """Set the number of iterations after which Python is entered again, from the time that some took."""
        if seconds > _SECONDS_AT_ONCE:
            self._at_once = max(self._at_once // 2, 1)
        elif count == self._at_once and seconds < _SECONDS_AT_ONCE / 4:
            self._at_once = min(4 * self._at_once, _MAX_ITERATIONS_AT_ONCE)

    def _room(self, row: _Rows, needed: int, limit: int | None) -> int:
        """Return the number of rows to make room for."""
        if limit is not None and limit * row.row_bytes <= _KNOWN_BYTES:
            return limit
        more = max(needed, 2 * len(row.array), _ROWS)
        return more if limit is None else min(more, max(limit, needed))


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _fixed(array: NDArray[Any]) -> Moving:
    return Moving(_address(array), _address(array))
