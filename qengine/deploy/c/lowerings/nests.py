"""Nests of loops over the axes of a tensor in memory, in which each operand takes its own steps.

An operation on elements goes through its output in the order of memory. Along every axis, an operand moves by a number
of elements: its stride, or 0 along an axis that it repeats. Two neighbouring axes along which all operands move as if
they were one become one loop, so that tensors of equal orders are a single loop over all elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import CTensor, Parameters

Steps = tuple[int, ...]
AXES = 4
"""The loops of the kernels that work element by element."""
COPY_AXES = 6
"""The loops of the kernel that copies."""


@dataclass(frozen=True)
class Nest:
    """Loops.

    Attributes
    ----------
    lengths : length of each axis, the outermost first; none for a single element.
    steps : elements from one place along each axis to the next, of each operand.
    """

    lengths: Steps
    steps: tuple[Steps, ...]

    @classmethod
    def of(cls, lengths: Sequence[int], steps: Sequence[Sequence[int]]) -> Nest:
        """Return the nest with as few axes as possible."""
        axes: list[tuple[int, list[int]]] = []
        for n, *own in zip(lengths, *steps, strict=True):
            if n == 1:
                continue
            if axes and all(outer == inner * n for outer, inner in zip(axes[-1][1], own, strict=True)):
                axes[-1] = (axes[-1][0] * n, own)
            else:
                axes.append((n, own))
        return cls(tuple(n for n, _ in axes), tuple(tuple(own[k] for _, own in axes) for k in range(len(steps))))

    def numbers(self, *names: str) -> Mapping[str, int | Parameters]:
        """Return the fields of a struct with the `lengths` n, and `steps` for each operand by name."""
        missing = (AXES - len(self.lengths),)
        fields: dict[str, int | Parameters] = {
            "n": {f"n{i}": n for i, n in enumerate((1,) * missing[0] + self.lengths)}
        }
        for name, own in zip(names, self.steps, strict=True):
            fields[name] = {f"s{i}": s for i, s in enumerate((0,) * missing[0] + own)}
        return fields


def in_memory(tensor: CTensor, of: Sequence[int]) -> Steps:
    """Return numbers of the axes of a tensor in the order in which they lie in memory."""
    return tuple(of[axis] for axis in tensor.order)


def broadcast_strides(shape: Sequence[int], strides: Sequence[int], wide: Sequence[int]) -> Steps:
    """Return the steps of an operand along the axes of a shape that it broadcasts to."""
    lead = len(wide) - len(shape)
    return (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def progressions(columns: NDArray[np.int64], most: int) -> Nest | None:
    """Return the nest whose steps give columns of elements, one row an element; None if it has more axes than `most`.

    Parameters
    ----------
    columns
        Shape (elements, operands): the place of each element in each operand, less that of the first.
    most
        The most axes.
    """
    rows, lengths, steps = columns, list[int](), list[NDArray[np.int64]]()
    while len(rows) > 1:
        step = rows[1] - rows[0]
        differs = (np.diff(rows, axis=0) != step).any(axis=1)
        run = int(differs.argmax()) + 1 if differs.any() else len(rows)
        n = next((n for n in range(run, 1, -1) if len(rows) % n == 0 and _repeats(rows, n, step)), None)
        if n is None or len(lengths) == most:
            return None
        lengths.append(n)
        steps.append(step)
        rows = rows[::n]
    by_axis = [tuple(int(s[k]) for s in reversed(steps)) for k in range(columns.shape[1])]
    return Nest(tuple(reversed(lengths)), tuple(by_axis))


def _repeats(rows: NDArray[np.int64], n: int, step: NDArray[np.int64]) -> bool:
    """Whether every n rows are a progression by a step."""
    parts = rows.reshape(-1, n, rows.shape[1])
    return bool((parts == parts[:, :1] + np.arange(n)[:, None] * step).all())
