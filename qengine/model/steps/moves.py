"""Forms of moves: which element of the input is where in the output, as frozen data that kernels read too.

Most moves are a *strided view* of the input, copied: the element at place (i, j, ...) of the output is the one at
`offset + i * strides[0] + j * strides[1] + ...` of the input. `Strided` says which view.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError

Array = NDArray[Any]


@dataclass(frozen=True)
class Strided:
    """A view of a contiguous array.

    Attributes
    ----------
    shape : length of each axis.
    strides : elements from one place along each axis to the next.
    offset : element at place 0.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Strided:
        """Return the view of all elements in their order."""
        return cls(shape, tuple(prod(shape[i + 1 :]) for i in range(len(shape))))

    def transposed(self, order: tuple[int, ...]) -> Strided:
        """Return the view with its axes in another order."""
        return Strided(tuple(self.shape[a] for a in order), tuple(self.strides[a] for a in order), self.offset)

    def cut(self, where: tuple[slice, ...]) -> Strided:
        """Return the part of the view between limits, a slice for each axis."""
        ranges = [range(*s.indices(n)) for s, n in zip(where, self.shape, strict=True)]
        strides = tuple(s * r.step for s, r in zip(self.strides, ranges, strict=True))
        offset = self.offset + sum(s * r.start for s, r in zip(self.strides, ranges, strict=True))
        return Strided(tuple(map(len, ranges)), strides, offset)

    def broadcast(self, shape: tuple[int, ...]) -> Strided:
        """Return the view repeated to a shape by the rules of broadcasting."""
        lead = len(shape) - len(self.shape)
        strides = [0 if m == 1 else s for m, s in zip(self.shape, self.strides, strict=True)]
        return Strided(shape, (*(0,) * lead, *strides), self.offset)


class StridedMove(ABC):
    """A move that copies a strided view of its input."""

    @abstractmethod
    def view(self, shape: tuple[int, ...]) -> Strided:
        """Return the view of an input of a shape, whose elements in order are those of the output."""

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """Return the moved elements."""


@dataclass(frozen=True)
class Transposed(StridedMove):
    """The input with its axes in another order."""

    order: tuple[int, ...]

    def view(self, shape: tuple[int, ...]) -> Strided:
        """Return the view of the input."""
        return Strided.whole(shape).transposed(self.order)

    def __call__(self, x: Array) -> Array:
        """Return the moved elements."""
        return np.asarray(x.transpose(self.order), order="C")


@dataclass(frozen=True)
class Sliced(StridedMove):
    """A part of the input: a slice along each axis."""

    where: tuple[slice, ...]

    def view(self, shape: tuple[int, ...]) -> Strided:
        """Return the view of the input."""
        return Strided.whole(shape).cut(self.where)

    def __call__(self, x: Array) -> Array:
        """Return the moved elements."""
        return np.asarray(x[self.where], order="C")


@dataclass(frozen=True)
class Tiled(StridedMove):
    """The input repeated along its axes."""

    times: tuple[int, ...]

    def view(self, shape: tuple[int, ...]) -> Strided:
        """Return the view of the input, in which an axis of repetitions precedes each axis."""
        whole = Strided.whole(shape)
        lengths = tuple(n for pair in zip(self.times, shape, strict=True) for n in pair)
        return Strided(lengths, tuple(n for s in whole.strides for n in (0, s)))

    def __call__(self, x: Array) -> Array:
        """Return the moved elements."""
        return np.tile(x, self.times)


@dataclass(frozen=True)
class Expanded(StridedMove):
    """The input broadcast to a shape."""

    shape: tuple[int, ...]

    def view(self, shape: tuple[int, ...]) -> Strided:
        """Return the view of the input."""
        return Strided.whole(shape).broadcast(self.shape)

    def __call__(self, x: Array) -> Array:
        """Return the moved elements."""
        return np.array(np.broadcast_to(x, self.shape))


@dataclass(frozen=True)
class Rearranged(StridedMove):
    """The input with its axes split, put into another order, and merged again.

    Attributes
    ----------
    split : shape after the split.
    order : order of the axes of that shape.
    shape : shape of the output.
    """

    split: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]

    def view(self, shape: tuple[int, ...]) -> Strided:  # noqa: ARG002
        """Return the view of the input before the axes are merged."""
        return Strided.whole(self.split).transposed(self.order)

    def __call__(self, x: Array) -> Array:
        """Return the moved elements."""
        return x.reshape(self.split).transpose(self.order).reshape(self.shape)


@dataclass(frozen=True)
class Gathered:
    """Slices of the input along an axis, picked by indices.

    Attributes
    ----------
    axis : the axis.
    length : length of the axis.
    name : name of the indices, for messages.
    """

    axis: int
    length: int
    name: str

    @property
    def refusal(self) -> str:
        """The message for an index out of range."""
        return f"an index of '{self.name}' is outside of {-self.length}..{self.length - 1}"

    def __call__(self, x: Array, indices: Array) -> Array:
        """Return the moved elements."""
        if indices.size and not -self.length <= int(indices.min()) <= int(indices.max()) < self.length:
            raise ModelError(self.refusal)
        return np.take(x, indices, axis=self.axis)


@dataclass(frozen=True)
class Padded:
    """The input with new elements around it.

    Attributes
    ----------
    width : number of new elements before and after each axis.
    where : part of the input that remains.
    mode : "constant", "reflect", "edge" or "wrap".
    """

    width: tuple[tuple[int, int], ...]
    where: tuple[slice, ...]
    mode: str

    def __call__(self, x: Array, fill: Any) -> Array:
        """Return the elements; `fill` is the new element of the mode "constant"."""
        if not any(before or after for before, after in self.width):  # np.pad does not take a scalar
            return np.array(x[self.where])
        if self.mode == "constant":
            return np.pad(x[self.where], self.width, constant_values=x.dtype.type(fill))
        return np.pad(x[self.where], self.width, mode=self.mode)  # type: ignore[call-overload,no-any-return]
