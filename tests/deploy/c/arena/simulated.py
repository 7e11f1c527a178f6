"""Random networks in C, and a run of them byte by byte that notices every byte that is overwritten too early.

Each byte of a tensor has a mark: the tensor that it was computed in, and its place there. Copies and views carry marks
along. An operation runs in steps; a step reads some bytes and then writes some, so that an output may be written onto
an input as far as the steps allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from qengine.deploy.c.arena import Arena
from qengine.deploy.c.ir import Call, CNetwork, CTensor, Operation, Part, Scratch, View
from qengine.model.graph import Node

Step = tuple[range, range]
"""Bytes of each input that overlaps that a step reads, and bytes of the output that it writes."""

WIDTHS = (np.int8, np.int8, np.int8, np.uint8, np.int16, np.int16, np.int32, np.int64)


def tensor(name, size, dtype=np.int8, place="arena"):
    return CTensor(name, name, np.dtype(dtype), (size,), (0,), None, place, (-128, 127))


def operation(outputs, reads=(), overlap=None, scratch=(), view=None, calls=None, parts=()):
    node = Node("Op", tuple(t.name for t in reads), tuple(t.name for t in outputs), name=outputs[0].name)
    calls = (Call("op", {}, (*reads, *outputs, *scratch)),) if calls is None else calls
    overlap = (None,) * len(reads) if overlap is None else overlap
    return Operation(
        node, "op", tuple(outputs), tuple(reads), () if view else tuple(calls), view, tuple(overlap), parts
    )


def most_overlap(steps: list[Step]) -> int:
    """The largest difference with which no byte is overwritten before its last read, by trying all pairs of bytes."""
    found = [m - j for i, (_, w) in enumerate(steps) for r, _ in steps[i + 1 :] for m in r for j in w]
    return min(found) - 1 if found else 1 << 20


def row_steps(rows: int, kernel: int, stride: int, in_row: int, out_row: int) -> list[Step]:
    """A convolution of some rows of output: each reads `kernel` rows, as far as there are, from the first on."""
    read = (rows - 1) * stride + kernel
    return [
        (range(r * stride * in_row, min(read, r * stride + kernel) * in_row), range(r * out_row, (r + 1) * out_row))
        for r in range(rows)
    ]


@dataclass
class Grown:
    """A random network, with the steps of operations that may be written onto their inputs."""

    random: Random
    steps: dict[str, list[Step]] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    tensors: list[CTensor] = field(default_factory=list)

    def network(self, count: int) -> CNetwork:
        source = tensor("in", self.random.randint(1, 40), place="input")
        self.tensors.append(source)
        for i in range(count):
            make = self.random.choice([self.plain, self.plain, self.rows, self.rows, self.view, self.join, self.split])
            make(f"t{i}")
        last = tensor("out", 8, place="output")
        self.operations.append(operation([last], self.some(2)))
        self._to_caller()
        outputs = tuple(t for one in self.operations for t in one.outputs if t.place == "output")
        return CNetwork((source,), outputs, tuple(self.operations))

    def _to_caller(self):
        """Put a tensor that is no view into the memory of the caller."""
        number = self.random.randrange(len(self.operations))
        old = self.operations[number]
        if self.random.random() < 0.5 or old.view is not None or old.output.place == "output":
            return
        moved = {old.output: replace(old.output, place="output")}
        self.operations = [_with(one, moved) for one in self.operations]

    def some(self, most):
        return self.random.sample(self.tensors[-6:], min(self.random.randint(1, most), len(self.tensors[-6:])))

    def scratch(self):
        if self.random.random() < 0.6:
            return []
        found, offset = [], 0
        for _ in range(self.random.randint(1, 3)):
            dtype = np.dtype(self.random.choice(WIDTHS))
            offset = -(-offset // dtype.itemsize) * dtype.itemsize
            found.append(Scratch(dtype, self.random.randint(1, 8), offset))
            offset = self.random.choice([offset, found[-1].end])
        return found

    def plain(self, name):
        count = self.random.choice([1, 1, 1, 2])
        outputs = [tensor(f"{name}_{k}", self.random.randint(1, 30), self.random.choice(WIDTHS)) for k in range(count)]
        self.add(operation(outputs, self.some(3), scratch=self.scratch()))

    def rows(self, name):
        x = self.random.choice(self.tensors[-4:])
        size, rows = x.bytes, self.random.randint(1, 6)
        kernel, stride = self.random.randint(1, 3), self.random.randint(1, 2)
        in_row = size // ((rows - 1) * stride + kernel)
        dtype = self.random.choice([np.int8, x.dtype])
        out_row = self.random.randint(1, 6) * np.dtype(dtype).itemsize
        y = tensor(name, rows * out_row // np.dtype(dtype).itemsize, dtype)
        steps = row_steps(rows, kernel, stride, in_row, out_row)
        self.steps[name] = steps
        others = [t for t in self.some(1) if t is not x]
        overlap = [most_overlap(steps), *(None for _ in others)]
        self.add(operation([y], [x, *others], overlap, self.scratch()))

    def view(self, name):
        x = self.random.choice(self.tensors)
        size = self.random.choice([x.size, self.random.randint(1, x.size)])
        start = self.random.randint(0, x.size - size)
        y = tensor(name, size, x.dtype)
        self.add(operation([y], [x], view=View(x, start)))

    def split(self, name):
        x = self.random.choice(self.tensors)
        if x.size > 1:
            at = self.random.randint(1, x.size - 1)
            for k, (start, size) in enumerate([(0, at), (at, x.size - at)]):
                self.add(operation([tensor(f"{name}_{k}", size, x.dtype)], [x], view=View(x, start)))

    def join(self, name):
        x = self.random.choice(self.tensors)
        parts = [x, *(t for t in self.some(3) if t.dtype == x.dtype)]
        gap = self.random.choice([0, 0, 3])
        y = tensor(name, sum(t.size for t in parts) + gap, x.dtype)
        copies, calls, at = [], [], gap
        for t in parts:
            calls.append(Call("copy", {}, (t, y), offsets=(0, at)))
            copies.append(Part(t, at, calls[-1]))
            at += t.size
        if gap:
            calls.insert(0, Call("fill", {}, (y,)))
        self.add(operation([y], list(dict.fromkeys(parts)), calls=calls, parts=tuple(copies)))

    def add(self, one):
        self.operations.append(one)
        self.tensors += one.outputs


def _with(one: Operation, moved: dict[CTensor, CTensor]) -> Operation:
    def new(a):
        return moved.get(a, a) if isinstance(a, CTensor) else a

    calls = {call: replace(call, arguments=tuple(map(new, call.arguments))) for call in one.calls}
    return replace(
        one,
        outputs=tuple(map(new, one.outputs)),
        reads=tuple(map(new, one.reads)),
        calls=tuple(calls.values()),
        view=replace(one.view, tensor=new(one.view.tensor)) if one.view else None,
        parts=tuple(Part(new(p.tensor), p.offset, calls[p.call]) for p in one.parts),
    )


class Run:
    """A run of a network in an arena."""

    def __init__(self, original: CNetwork, arena: Arena, steps: dict[str, list[Step]]) -> None:
        self.original, self.arena, self.steps = original, arena, steps
        self.memory: dict[object, np.ndarray] = {None: self._empty(arena.bytes)}
        self.marks: dict[CTensor, np.ndarray] = {}
        for i, t in enumerate(original.tensors):
            self.marks[t] = i * 1_000_000 + np.arange(t.bytes)
        for one in original.operations:
            if one.view is not None:
                start = one.view.offset * one.view.tensor.dtype.itemsize
                self.marks[one.output] = self.marks[one.view.tensor][start : start + one.output.bytes]
            for p in one.parts:
                start = p.offset * one.output.dtype.itemsize
                self.marks[one.output][start : start + p.tensor.bytes] = self.marks[p.tensor]

    @staticmethod
    def _empty(size):
        return np.full(size, -1, dtype=np.int64)

    def bytes_of(self, t: CTensor) -> np.ndarray:
        """The memory of a tensor, as a view."""
        holder, before = self.arena.holder(t)
        if holder.place == "arena":
            start = self.arena.offsets[t]
            found = self.memory[None][start : start + t.bytes]
        else:
            whole = self.memory.setdefault(holder, self._empty(holder.bytes))
            found = whole[before : before + t.bytes]
        assert found.size == t.bytes, "beyond the end"
        return found

    def check(self, t: CTensor, moment: str) -> None:
        assert (self.bytes_of(t) == self.marks[t]).all(), f"{t.name} is overwritten {moment}"

    def run(self) -> None:
        for t in self.original.inputs:
            self.bytes_of(t)[:] = self.marks[t]
        for one in self.arena.network.operations:
            if one.view is None:
                self._operation(one)
            for t in one.outputs:
                self.check(t, "after it is computed")
        for t in self.original.outputs:
            self.check(t, "at the end")

    def _operation(self, one: Operation) -> None:
        self._use_scratch(one)
        for t in one.reads:
            self.check(t, f"before {one.output.name}")
        if one.parts or any(call.kernel in ("copy", "fill") for call in one.calls) or not one.calls:
            for call in one.calls:
                self._call(call)
        elif one.output.name in self.steps:
            self._stepped(one, self.steps[one.output.name])
        else:
            for t in one.outputs:
                self.bytes_of(t)[:] = self.marks[t]
            for t in one.reads:
                self.check(t, f"by {one.output.name}")
        self._use_scratch(one)

    def _stepped(self, one: Operation, steps: list[Step]) -> None:
        x, y = one.reads[0], one.output
        for read, write in steps:
            found = self.bytes_of(x)
            for m in read:
                assert found[m] == self.marks[x][m], f"{x.name} is overwritten while {y.name} is computed"
            self.bytes_of(y)[write.start : write.stop] = self.marks[y][write.start : write.stop]
        for t in one.reads[1:]:
            self.check(t, f"by {y.name}")

    def _call(self, call: Call) -> None:
        y = call.arguments[-1]
        if call.kernel == "fill":
            size = 3 * y.dtype.itemsize
            self.bytes_of(y)[:size] = self.marks[y][:size]
            return
        x, at = call.arguments[0], call.offsets[1] * y.dtype.itemsize
        self.check(x, f"before it is copied to {y.name}")
        self.bytes_of(y)[at : at + x.bytes] = self.bytes_of(x)

    def _use_scratch(self, one: Operation) -> None:
        for call in one.calls:
            for a in call.arguments:
                if isinstance(a, Scratch):
                    start = self.arena.scratch[one, a]
                    assert start % a.dtype.itemsize == 0
                    assert start + a.end - a.offset <= self.arena.bytes
                    self.memory[None][start : start + a.end - a.offset] = -2
