"""Linear operators of every form as one nest of loops: the numbers of `struct net_nest`.

An output of a linear operator is found by loops over outputs (images, groups, filters, positions; stacks, rows,
columns). A step of a loop moves by some elements in each array: input, weights, output, bias and table of shifts, so
that any order of tensors in memory is only other numbers. Each output sums over *terms* (channels of an input, or the
inner axis of matrices) and over *windows*: the taps of a kernel along an axis, of which those outside of the input are
left out.

One loop is the *lane*: its outputs are computed side by side, best where they are neighbours in memory. C has six
loops, three of them with a window; what a nest has beyond that is unrolled into several calls, each with its first
elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Parameters

Array = NDArray[Any]
Shape = tuple[int, ...]

WINDOWS = 3
"""Windows that a kernel has."""

MOST_LANES = 64
"""Sums that a kernel keeps side by side."""

_LOOPS = 5  # of a kernel, the lane apart


@dataclass(frozen=True)
class Loop:
    """A loop over outputs.

    Attributes
    ----------
    count : number of steps.
    x, y, bias, shift : elements from one step to the next in the input, the output, the bias and the table of shifts.
    w : axis of the weights that it moves along; None for none.
    """

    count: int
    x: int = 0
    y: int = 0
    bias: int = 0
    shift: int = 0
    w: int | None = None

    def follows(self, outer: Loop) -> bool:
        """Whether this loop continues at the end of each step of an outer one, so that both are one loop."""
        mine, others = (self.x, self.y, self.bias, self.shift), (outer.x, outer.y, outer.bias, outer.shift)
        return (
            self.w is None and outer.w is None and all(b == a * self.count for a, b in zip(mine, others, strict=True))
        )


@dataclass(frozen=True)
class Window:
    """The taps along an axis, with the loop over its outputs.

    Attributes
    ----------
    loop : loop over outputs; its step in the input is that of the window.
    taps, dilation, step, pad, size : see `struct net_window`.
    x : elements from one position of the input to the next.
    w : axis of the weights that counts the taps.
    """

    loop: Loop
    taps: int
    dilation: int
    step: int
    pad: int
    size: int
    x: int
    w: int

    @property
    def plain(self) -> Loop | None:
        """The loop over outputs of a window of one tap that is always inside of the input."""
        reach = (self.loop.count - 1) * self.step
        if self.taps == 1 and self.pad <= 0 and self.loop.count and reach - self.pad < self.size:
            return replace(self.loop, x=self.step * self.x)
        return None


@dataclass(frozen=True)
class Factor:
    """Weights as a nest reads them.

    Attributes
    ----------
    shape : lengths of the axes.
    array : elements that are known, whose order in memory is free; None for computed ones.
    strides : elements along each axis of computed ones, from one place to the next.
    offset : first element.
    """

    shape: Shape
    array: Array | None
    strides: Shape = ()
    offset: int = 0

    def ordered(self, order: Sequence[int]) -> tuple[Array | None, Shape]:
        """Return known elements with the axes in an order, the outermost first; and the strides of each axis."""
        if self.array is None:
            return None, self.strides
        strides, step = [0] * len(self.shape), 1
        for axis in reversed(order):
            strides[axis] = step
            step *= self.shape[axis]
        return np.ascontiguousarray(self.array.transpose(order)).reshape(-1), tuple(strides)


@dataclass(frozen=True)
class Nest:
    """Loops of a linear operator or of a part of it.

    Attributes
    ----------
    loops : loops over outputs without a window.
    windows : loops over outputs with one.
    terms, term_x : number of terms, and elements from one to the next in the input.
    term_w : axis of the weights that counts the terms.
    w : the weights.
    x, y : first element of the input and of the output.
    """

    loops: tuple[Loop, ...]
    windows: tuple[Window, ...]
    terms: int
    term_x: int
    term_w: int | None
    w: Factor
    x: int = 0
    y: int = 0

    @property
    def macs(self) -> int:
        """The number of products, those of the padding included."""
        return prod(one.count for one in self.loops) * prod(w.loop.count * w.taps for w in self.windows) * self.terms

    def simplified(self) -> Nest:
        """Return the same loops in the order of the output, without those of one step, and some merged to one."""
        given = [w.plain for w in self.windows]
        windows = tuple(w for w, loop in zip(self.windows, given, strict=True) if loop is None)
        x = self.x - sum(w.pad * w.x for w, loop in zip(self.windows, given, strict=True) if loop is not None)
        loops = [one for one in (*self.loops, *(g for g in given if g is not None)) if one.count != 1]
        loops.sort(key=lambda one: -one.y)
        merged: list[Loop] = []
        for one in loops:
            if merged and one.follows(merged[-1]):
                merged[-1] = replace(one, count=one.count * merged[-1].count)
            else:
                merged.append(one)
        return replace(self, loops=tuple(merged), windows=windows, x=x)

    @property
    def lane(self) -> tuple[int | None, int]:
        """The place of the loop that is best computed side by side, None where there is none; and how many it gains."""
        found, best = None, 1
        for i, loop in enumerate(self.loops):
            free = loop.w is None or self.w.array is not None or self.w.strides[loop.w] in (0, 1)
            score = min(loop.count, MOST_LANES) if free and loop.x in (0, 1) else 1
            if score > best or (found is not None and score == best and loop.y == 1):
                found, best = i, score
        return found, best

    @property
    def dot(self) -> int:
        """The number of terms that are neighbours in input and weights."""
        free = self.term_w is None or self.w.array is not None or self.w.strides[self.term_w] == 1
        return min(self.terms, MOST_LANES) if free and self.term_x == 1 else 1

    @property
    def is_side_by_side(self) -> bool:
        """Whether sums of a lane are better than a sum after the other."""
        return 2 * self.lane[1] > self.dot

    def weights_order(self, side_by_side: bool) -> list[int]:
        """Return the order of the axes of the weights in which they are read, the outermost first."""
        lane = self.loops[place].w if (place := self.lane[0]) is not None and side_by_side else None
        taps = [w.w for w in self.windows]
        read = [*taps] if self.term_w is None else [*taps, self.term_w]
        last = [] if lane is None else [lane]
        first = [axis for axis in range(len(self.w.shape)) if axis not in read and axis not in last]
        return [*first, *read, *last]


@dataclass(frozen=True)
class PlacedNest:
    """A nest whose weights have a place in memory.

    Attributes
    ----------
    nest : the loops, simplified.
    strides : elements along each axis of the weights, from one place to the next.
    side_by_side : whether the kernel computes the lane side by side; else any loop may be the lane.
    """

    nest: Nest
    strides: Shape
    side_by_side: bool = True
    _lane: Loop = field(init=False)

    def __post_init__(self) -> None:
        nest = self.nest
        place = nest.lane[0] if self.side_by_side else None
        if place is None and nest.loops:
            place = max(range(len(nest.loops)), key=lambda i: nest.loops[i].y == min(one.y for one in nest.loops))
        lane = Loop(1) if place is None else nest.loops[place]
        object.__setattr__(self, "_lane", lane)

    @property
    def lane(self) -> Loop:
        """The innermost loop."""
        return self._lane

    def calls(self) -> Iterator[tuple[dict[str, Any], tuple[int, int, int, int, int]]]:
        """Yield the numbers of each call, and the first elements of input, weights, output, bias and shifts."""
        nest = self.nest
        others = [one for one in nest.loops if one is not self._lane]
        room = _LOOPS - len(nest.windows)
        apart = sorted(others, key=lambda one: one.count)[: max(0, len(others) - room)]
        inside = [one for one in others if all(one is not a for a in apart)]
        slots: list[tuple[Loop, Window | None]] = [(Loop(1), None)] * (room - len(inside))
        slots += [(one, None) for one in inside] + [(w.loop, w) for w in nest.windows]
        names = ("stack0", "stack1", "out0", "out1", "out2")
        numbers: dict[str, Any] = {name: self._loop(loop) for name, (loop, _) in zip(names, slots, strict=True)}
        numbers["lane"] = self._loop(self._lane)
        for i, (_, window) in enumerate(slots[_LOOPS - WINDOWS :]):
            numbers[f"window{i}"] = self._window(window)
        numbers |= {"terms": nest.terms, "term_x": nest.term_x, "term_w": self._w(nest.term_w)}
        for steps in product(*(range(one.count) for one in apart)):
            pairs = list(zip(steps, apart, strict=True))
            yield (
                numbers,
                (
                    nest.x + sum(i * one.x for i, one in pairs),
                    nest.w.offset + sum(i * self._w(one.w) for i, one in pairs),
                    nest.y + sum(i * one.y for i, one in pairs),
                    sum(i * one.bias for i, one in pairs),
                    sum(i * one.shift for i, one in pairs),
                ),
            )

    def _w(self, axis: int | None) -> int:
        return 0 if axis is None else self.strides[axis]

    def _loop(self, loop: Loop) -> Parameters:
        moves = {"x": loop.x, "w": self._w(loop.w), "y": loop.y, "bias": loop.bias, "shift": loop.shift}
        return {"count": loop.count} | (moves if loop.count != 1 else dict.fromkeys(moves, 0))

    def _window(self, window: Window | None) -> Parameters:
        if window is None:
            return {"taps": 1, "dilation": 1, "step": 0, "pad": 0, "size": 1, "x": 0, "w": 0}
        names = ("taps", "dilation", "step", "pad", "size", "x")
        return {name: getattr(window, name) for name in names} | {"w": self._w(window.w)}
