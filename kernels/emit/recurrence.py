"""The code of `kernels.recurrent.Recurrence`."""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from ..isa import Isa
from ..recurrent import GATES, Recurrence
from .gates import Gates
from .loops import Arguments, counted
from .mathematics import Mathematics
from .memory import Variable
from .products import Products
from .vector import F32, I32, I64, LANES, Value, load, load_scalar, zeros

_VECTOR = 4 * LANES
_MIN_SUMS = 8
"""Sums that must be under way at once, as each product waits some cycles for the one before it."""


def emit(spec: Recurrence, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    with counted(a.end, a.first) as i:
        _Tile(spec, isa, a, (i * spec.rows).at_most(a.batch - spec.rows)).emit()


@dataclass(frozen=True)
class _Room:
    """Scratch memory: states of a tile of rows, each of whole blocks.

    Attributes
    ----------
    h : two states, one that a step reads and one that it writes.
    c : cell of an LSTM, which a step changes in place.
    reset : state of a GRU times its reset gate.
    row, state : distances between rows and between the two states.
    """

    h: Value
    c: Value
    reset: Value
    row: Value
    state: Value


class _Tile:
    """The sequences of a tile of rows, from the first step to the last."""

    def __init__(self, spec: Recurrence, isa: Isa, a: Arguments, first: Value) -> None:
        self.spec, self.a, self.b, self.first = spec, a, a.b, first
        self.products = Products(a.b, "f32", isa)
        self.compute = Gates(Mathematics(isa))
        self.rows = range(spec.rows)
        self.gates = GATES[spec.cell]
        row = a.blocks * _VECTOR
        state = row * spec.rows
        self.room = _Room(a.scratch, a.scratch + state * 2, a.scratch + state * 3, row, state)
        self.bound = load_scalar(a.numbers, F32).splat()
        self.functions = [self._function(name, i) for i, name in enumerate(spec.functions)]
        self.lengths = [self._length(r) for r in self.rows]

    def _function(self, name: str, i: int) -> Callable[[Value], Value]:
        alpha, beta = (load_scalar(self.a.numbers + 4 * (1 + 2 * i + j), F32).splat() for j in range(2))
        # The last function of an LSTM is of the cell, which is not bounded.
        clips = self.spec.clips and not (self.spec.cell == "lstm" and i == 2)

        def compute(x: Value) -> Value:
            bounded = x.at_least(self.bound * -1.0).at_most(self.bound) if clips else x
            return self.compute(name, bounded, alpha, beta)

        return compute

    def _length(self, r: int) -> Value:
        """Return the length of a row's sequence."""
        if not self.spec.ragged:
            return self.a.time
        length = load_scalar(self.a.lengths + (self.first + r) * 4, I32).widened(I64)
        with self.b.if_then((length < 0).v):
            self._report(length)
        with self.b.if_then((length > self.a.time).v):
            self._report(length)
        return length.at_least(0).at_most(self.a.time)

    def _report(self, length: Value) -> None:
        length.store(self.a.fault)

    def emit(self) -> None:
        """Build the steps, the rows of zeros after the end of the longest sequence, and the last states."""
        a, room = self.a, self.room
        for r in self.rows:
            self._begin(a.h + (self.first + r) * a.h_row, room.h + room.row * r, room.state)
            if self.spec.cell == "lstm":
                self._begin(a.c + (self.first + r) * a.c_row, room.c + room.row * r, None)
        longest = self.lengths[0]
        for length in self.lengths[1:]:
            longest = longest.at_least(length)
        with counted(longest) as i:
            t = (longest - 1 - i).where(a.reverse.differs(0), i)
            before, after = (room.h + ((i + n) & 1) * room.state for n in range(2))
            self._step(t, before, after)
        with counted(a.time, longest) as t, counted(a.blocks) as j:
            for r in self.rows:
                self._store(zeros(self.b, F32), self._output(t, r), j)
        last = room.h + (longest & 1) * room.state
        with counted(a.blocks) as j:
            for r in self.rows:
                self._finish(last + room.row * r, a.last_h + (self.first + r) * a.last_h_row, r, j)
                if self.spec.cell == "lstm":
                    self._finish(room.c + room.row * r, a.last_c + (self.first + r) * a.last_c_row, r, j)

    def _begin(self, source: Value, target: Value, other: Value | None) -> None:
        """Copy a first state, and clear the rest of its last block."""
        with counted(self.a.hidden) as k:
            load_scalar(source + k * 4, F32).store(target + k * 4)
        nothing = Value(self.b, ir.Constant(F32, 0.0))
        with counted(self.a.blocks * LANES, self.a.hidden) as k:
            nothing.store(target + k * 4)
            if other is not None:
                nothing.store(target + other + k * 4)

    def _finish(self, source: Value, target: Value, r: int, j: Value) -> None:
        """Store a last state: zeros for a sequence of length 0."""
        state = load(source + j * _VECTOR, F32)
        if self.spec.ragged:
            state = state.where((self.lengths[r] > 0).widened(I32).splat().differs(0), 0.0)
        self._store(state, target, j)

    def _output(self, t: Value, r: int) -> Value:
        return self.a.y + t * self.a.y_step + (self.first + r) * self.a.y_row

    def _store(self, value: Value, row: Value, j: Value) -> None:
        value.store_first(row + j * _VECTOR, self.a.hidden - j * LANES)

    def _step(self, t: Value, before: Value, after: Value) -> None:
        """Build a step of time: `before` holds the states h of the rows, and `after` gets them."""
        runs = [(t < length).widened(I32).splat().differs(0) for length in self.lengths]
        if self.spec.cell == "gru" and not self.spec.resets_after:
            with counted(self.a.blocks) as j:
                self._reset(t, j, before, after)
        with counted(self.a.blocks) as j:
            inside = self._inside(j)
            compute = {"lstm": self._lstm, "gru": self._gru, "rnn": self._rnn}[self.spec.cell]
            for r, (h, old) in enumerate(compute(t, j, before, after, runs)):
                output, state = h, h
                if self.spec.ragged:
                    output, state = h.where(runs[r], 0.0), h.where(runs[r], old)
                state.where(inside, 0.0).store(after + self.room.row * r + j * _VECTOR)
                self._store(output, self._output(t, r), j)

    def _inside(self, j: Value) -> Value:
        """Return a mask of the units of a block: the others meet weights of 0, so they must be finite."""
        lanes = Value(self.b, ir.Constant(ir.VectorType(I32, LANES), list(range(LANES))))
        return lanes < (self.a.hidden - j * LANES).truncated(I32).splat()

    def _inputs(self, t: Value, j: Value, gates: range) -> list[list[Value]]:
        """Return the part of the input of some gates of a block, by row."""
        a = self.a
        rows = [a.x + t * a.x_step + (self.first + r) * a.x_row + j * _VECTOR for r in self.rows]
        return [[load(row + self.room.row * g, F32) for g in gates] for row in rows]

    def _sums(self, start: list[list[Value]], j: Value, states: Value, gates: range) -> list[list[Value]]:
        """Return `start` plus the products of rows of states with the weights of some gates of a block."""
        if self.spec.has_products:
            rows = [self.a.r + (self.first + r) * self.room.row * self.gates + j * _VECTOR for r in self.rows]
            return [
                [v + load(row + self.room.row * g, F32) for v, g in zip(values, gates, strict=True)]
                for values, row in zip(start, rows, strict=True)
            ]
        count = len(self.rows) * len(gates)
        unrolled = next(n for n in (1, 2, 4, 8) if n * count >= _MIN_SUMS)
        cells = [[[Variable(v if u == 0 else v.like(0.0)) for v in row] for row in start] for u in range(unrolled)]
        item = self.gates * _VECTOR
        weights = self.a.r + j * self.a.blocks * (LANES * item) + gates.start * _VECTOR
        with counted(self.a.blocks * (LANES // unrolled)) as i:
            for u in range(unrolled):
                k = i * unrolled + u
                vectors = [load(weights + k * item + n * _VECTOR, F32, align=4) for n in range(len(gates))]
                for r, row in enumerate(cells[u]):
                    h = load_scalar(states + self.room.row * r + k * 4, F32).splat()
                    for cell, w in zip(row, vectors, strict=True):
                        cell.put(self.products.add(cell.get(), [h], [w]))
        sums = [[cell.get() for cell in row] for row in cells[0]]
        for part in cells[1:]:
            sums = [[a + c.get() for a, c in zip(*rows, strict=True)] for rows in zip(sums, part, strict=True)]
        return sums

    def _state(self, place: Value, r: int, j: Value) -> Value:
        return load(place + self.room.row * r + j * _VECTOR, F32)

    def _rnn(self, t: Value, j: Value, before: Value, _: Value, _runs: list[Value]) -> list[tuple[Value, Value]]:
        (f,) = self.functions
        sums = self._sums(self._inputs(t, j, range(1)), j, before, range(1))
        return [(f(total), self._state(before, r, j)) for r, (total,) in enumerate(sums)]

    def _lstm(self, t: Value, j: Value, before: Value, _: Value, runs: list[Value]) -> list[tuple[Value, Value]]:
        f, g, last = self.functions
        states = []
        for r, (i, o, forget, new) in enumerate(self._sums(self._inputs(t, j, range(4)), j, before, range(4))):
            place = self.room.c + self.room.row * r + j * _VECTOR
            old = load(place, F32)
            enter = f(self._peeped(i, old, 0, j))
            keep = enter * -1.0 + 1.0 if self.spec.coupled else f(self._peeped(forget, old, 2, j))
            c = keep * old + enter * g(new)
            (c.where(runs[r], old) if self.spec.ragged else c).store(place)
            states.append((f(self._peeped(o, c, 1, j)) * last(c), self._state(before, r, j)))
        return states

    def _peeped(self, gate: Value, c: Value, place: int, j: Value) -> Value:
        """Return a gate plus its part of the cell."""
        if not self.spec.peepholes:
            return gate
        return gate + load(self.a.peephole + self.room.row * place + j * _VECTOR, F32) * c

    def _reset(self, t: Value, j: Value, before: Value, after: Value) -> None:
        """Build the gates z and r of a block: z goes to the place of the new state, r h to a place of its own."""
        f, _ = self.functions
        for r, (z, reset) in enumerate(self._sums(self._inputs(t, j, range(2)), j, before, range(2))):
            place = self.room.row * r + j * _VECTOR
            f(z).store(after + place)
            (f(reset) * self._state(before, r, j)).where(self._inside(j), 0.0).store(self.room.reset + place)

    def _gru(self, t: Value, j: Value, before: Value, after: Value, _: list[Value]) -> list[tuple[Value, Value]]:
        f, g = self.functions
        states = []
        if self.spec.resets_after:
            own = load(self.a.own_bias + j * _VECTOR, F32)
            inputs = self._inputs(t, j, range(3))
            sums = self._sums([[*row[:2], own] for row in inputs], j, before, range(3))
            gates = [(f(z), row[2] + f(r) * h) for (z, r, h), row in zip(sums, inputs, strict=True)]
        else:
            sums = self._sums(self._inputs(t, j, range(2, 3)), j, self.room.reset, range(2, 3))
            gates = [(self._state(after, r, j), h) for r, (h,) in enumerate(sums)]
        for r, (z, hidden) in enumerate(gates):
            old = self._state(before, r, j)
            states.append(((z * -1.0 + 1.0) * g(hidden) + z * old, old))
        return states
