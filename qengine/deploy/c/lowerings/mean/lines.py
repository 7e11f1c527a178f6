"""Loops of means: outputs, windows and their taps, as the numbers of `struct net_mean_lines`.

A mean over windows and one over whole axes are the same loops. An axis that is summed whole is a window with one
output, whose taps are all of it. Axes that are next to each other in memory become one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Parameters
from qengine.deploy.c.lowering import NotExportable
from qengine.model.steps.forms import AxisSum, WindowSum

Shape = tuple[int, ...]

ANYWHERE = 1 << 31
"""Overlap of an output that is written after all has been read."""

LANES = 64
"""Outputs that a kernel computes side by side."""

WINDOWS = 3
"""Windows that a kernel has."""


@dataclass(frozen=True)
class Loop:
    """A loop over outputs without windows, or over the elements of a sum.

    Attributes
    ----------
    count : number of steps.
    x, y : elements from one step to the next in the input and in the output.
    """

    count: int
    x: int = 0
    y: int = 0


@dataclass(frozen=True)
class Window:
    """A loop over outputs, each of which sums taps; see `struct net_mean_window`."""

    count: int = 1
    y: int = 0
    step: int = 0
    before: int = 0
    taps: int = 1
    dilation: int = 1
    size: int = 1
    x: int = 0

    def first(self) -> NDArray[np.int64]:
        """Return the element of the first tap in the input, less that of the axis, for each output; 0 for none."""
        start = np.arange(self.count) * self.step - self.before
        position = start + np.maximum(-(start // self.dilation), 0) * self.dilation
        return np.where(position < self.size, position, 0) * self.x


@dataclass(frozen=True)
class MeanLines:
    """Loops of a mean.

    Attributes
    ----------
    loops : loops over outputs without windows.
    windows : loops over outputs with windows, at most three.
    """

    loops: tuple[Loop, ...]
    windows: tuple[Window, ...]

    @classmethod
    def of(cls, form: WindowSum | AxisSum, shape: Shape, x: Shape, out: Shape, y: Shape) -> MeanLines:
        """Return the loops of a form.

        Parameters
        ----------
        form
            Windows or axes.
        shape, x
            Shape of the input, and elements along each axis from one place to the next.
        out, y
            Shape of the output, and elements along each of its axes.

        Raises
        ------
        NotExportable
            If there are more windows, or groups of axes, than the kernels have.
        """
        if isinstance(form, WindowSum):
            loops = [Loop(shape[a], x[a], y[a]) for a in range(2)]
            fields = zip(form.strides, form.pads, form.kernel, form.dilations, strict=True)
            windows = [
                Window(out[a], y[a], stride, before, taps, dilation, shape[a] + min(after, 0), x[a])
                for a, (stride, (before, after), taps, dilation) in enumerate(fields, 2)
            ]
            return cls(merged(loops), _three(windows))
        axes = {axis % len(shape) for axis in form.axes}
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        # Without the axes that are kept as 1, those of the output are the others.
        rows = kept if form.keepdims else range(len(kept))
        loops = [Loop(shape[axis], x[axis], y[row]) for axis, row in zip(kept, rows, strict=True)]
        sums = merged([Loop(shape[axis], x[axis]) for axis in axes])
        return cls(merged(loops), _three([Window(taps=s.count, size=s.count, x=s.x) for s in sums]))

    def calls(self) -> Iterator[tuple[Parameters, int, int]]:
        """Yield the numbers of each call, and its first elements in the input and in the output."""
        lane, others = self._split()
        inside, apart = others[:2], others[2:]
        inside = [Loop(1)] * (2 - len(inside)) + inside
        numbers: dict[str, int | Parameters] = {
            "stack0": vars(inside[0]),
            "stack1": vars(inside[1]),
            "lane": vars(lane),
        }
        numbers |= {f"window{i}": vars(one) for i, one in enumerate(self.windows)}
        for steps in product(*(range(one.count) for one in apart)):
            pairs = list(zip(steps, apart, strict=True))
            yield numbers, sum(i * one.x for i, one in pairs), sum(i * one.y for i, one in pairs)

    def overlap(self, x_bytes: int, y_bytes: int, lanes: int = LANES) -> int | None:
        """Return the most bytes from the input to the output in memory with which no element is lost.

        A kernel reads all that some lanes need before it writes them. What it has written must end before all that it
        will read later.

        Parameters
        ----------
        x_bytes, y_bytes
            Bytes of an element of the input and of the output.
        lanes
            Outputs that are computed side by side.
        """
        calls = list(self.calls())
        if len(calls) > 1 or not all(loop.count for loop in self.loops):
            return None
        lane, others = self._split()
        axes: list[Loop | Window] = [*others, *self.windows]
        counts = [one.count for one in axes]
        reads, ends = np.zeros(counts, np.int64), np.zeros(counts, np.int64)
        for axis, one in enumerate(axes):
            at = np.arange(one.count)
            column = (-1, *(1,) * (len(counts) - axis - 1))
            reads = reads + (one.first() if isinstance(one, Window) else at * one.x).reshape(column)
            ends = ends + (at * one.y).reshape(column)
        blocks = np.arange(0, lane.count, lanes)
        last = np.minimum(blocks + lanes, lane.count) - 1
        read = (reads.reshape(-1, 1) + blocks * lane.x).reshape(-1) * x_bytes
        end = (ends.reshape(-1, 1) + last * lane.y + 1).reshape(-1) * y_bytes
        later = np.minimum.accumulate(read[::-1])[::-1]
        return int((later[1:] - end[:-1]).min()) if len(read) > 1 else ANYWHERE

    def _split(self) -> tuple[Loop, list[Loop]]:
        """Return the loop over the lanes, and the others in their order."""
        place = max(range(len(self.loops)), key=self._gain, default=None)
        others = [one for i, one in enumerate(self.loops) if i != place]
        return Loop(1) if place is None else self.loops[place], others

    def _gain(self, place: int) -> tuple[bool, int, int]:
        """Return how good a loop is as the innermost one: neighbours in the input, then in the output."""
        one = self.loops[place]
        return one.x == 1 and one.count > 1, -one.y, one.count


def merged(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """Return loops with as few steps, those of one step left out, the longest way in the input first."""
    found: list[Loop] = []
    for one in sorted((one for one in loops if one.count != 1), key=lambda one: (-one.x, -one.y)):
        if found and found[-1].x == one.x * one.count and found[-1].y == one.y * one.count:
            found[-1] = replace(one, count=one.count * found[-1].count)
        else:
            found.append(one)
    return tuple(found)


def _three(windows: Sequence[Window]) -> tuple[Window, ...]:
    if len(windows) > WINDOWS:
        raise NotExportable(f"it sums over {len(windows)} axes that are apart, and C over {WINDOWS}: use two operators")
    return (Window(),) * (WINDOWS - len(windows)) + tuple(windows)
