"""Where a tensor lies while native kernels work on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from qengine.kernels.elementwise import Stored
from qengine.kernels.epilogue import stored_zero
from qengine.kernels.layout import Halo, Layout, natural_block
from qengine.kernels.program import Slot
from qengine.model.steps import Tensor

Address = int | Slot

ITEMSIZE = {"u8": 1, "i16": 2, "f32": 4, "i32": 4}


def images(shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Return a shape as batch, channels, height and width, which it keeps in memory; None where it has more axes."""
    if not 2 <= len(shape) <= 4:
        return None
    if len(shape) == 3:
        return shape[0], shape[1], 1, shape[2]
    return (*shape, *(1,) * (4 - len(shape)))  # type: ignore[return-value]


def stored_as(t: Tensor) -> Stored | None:
    """Return how a tensor's elements are stored; None where native kernels do not know them."""
    if t.format is not None:
        return "u8" if t.one_format.word().dtype.itemsize == 1 else "i16"
    return "f32" if t.dtype == np.float32 else None


@dataclass(eq=False)
class Place:
    """A tensor in memory. Halos grow while it is found out who reads it.

    Attributes
    ----------
    name : the tensor's, or one of its own where it is only on the way to one.
    shape : batch, channels, height, width.
    stored : how an element is stored; "i32" for sums on their way.
    block : channels of a pixel.
    zero : the stored code of 0.
    low, high : between which codes it lies.
    halo : what readers need around it.
    plain : the name of an array of the user's, instead of memory of the plan's own.
    same_as : the place whose memory this is, seen in another shape.
    """

    name: str
    shape: tuple[int, int, int, int]
    stored: str
    block: int
    zero: int = 0
    low: int = 0
    high: int = 0
    halo: Halo = field(default_factory=Halo)
    plain: str | None = None
    same_as: Place | None = None

    @classmethod
    def of(cls, t: Tensor, block: int | None = None, low: int | None = None, high: int | None = None) -> Place:
        """Return a place for a tensor that native kernels know, with codes between bounds."""
        shape, stored = images(t.shape), stored_as(t)
        assert shape is not None
        assert stored is not None
        place = cls(t.name, shape, stored, natural_block(shape[1]) if block is None else block)
        if t.format is not None:
            word = t.one_format.word()
            place.zero = stored_zero(word.signed, word.dtype.itemsize)
            place.low = word.least if low is None else min(max(low, word.least), word.most)
            place.high = word.most if high is None else min(max(high, word.least), word.most)
        return place

    def like(self, name: str, **changes: Any) -> Place:
        """Return another place for what is nearly the same."""
        return replace(self, name=name, halo=Halo(), plain=None, same_as=None, **changes)

    @property
    def layout(self) -> Layout:
        """All of it."""
        return Layout(*self.shape, ITEMSIZE[self.stored], self.block, self.halo)

    @property
    def bytes(self) -> int:
        """Of the elements."""
        return prod(self.shape) * ITEMSIZE[self.stored]


@dataclass(frozen=True)
class View:
    """Some rows of a tensor in memory, by where its row 0 is, or would be.

    Attributes
    ----------
    origin : of pixel (0, 0) of the first block.
    image, plane, row, pixel : distances in bytes.
    """

    origin: Address
    image: int
    plane: int
    row: int
    pixel: int

    def at(self, row: int = 0, pixel: int = 0) -> Address:
        """Return the address of a pixel of the first block."""
        return self.origin + (row * self.row + pixel * self.pixel)

    @classmethod
    def whole(cls, base: Address, layout: Layout) -> View:
        """Return all of a tensor that begins at an address."""
        return cls(base + layout.origin, layout.image, layout.plane, layout.row, layout.pixel)

    def arguments(self, name: str, row: int = 0) -> dict[str, Address]:
        """Return what most kernels want to know, from a row on."""
        return {name: self.at(row), f"{name}_batch": self.image, f"{name}_block": self.plane, f"{name}_row": self.row}
