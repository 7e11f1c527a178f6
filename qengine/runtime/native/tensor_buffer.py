"""Tensors in memory as native kernels read and write them: `TensorBuffer`, and `View`, the rows that a call touches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.address import address
from qengine.kernels.elements import ELEMENT_BYTES
from qengine.kernels.elementwise import Stored
from qengine.kernels.epilogue import stored_zero
from qengine.kernels.layout import Halo, Layout, natural_block
from qengine.kernels.program import Slot
from qengine.model.steps import Tensor
from qengine.qformat import QFormat

Address = int | Slot

ITEMSIZE = ELEMENT_BYTES
"""The bytes of an element by its type, as kernels name it."""

STORED_DTYPE: dict[str, Any] = {"u8": np.uint8, "i16": np.int16, "f32": np.float32, "i32": np.int32}
"""The element type of an array that holds stored elements."""


def images(shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Return a shape of 2 to 4 axes as (batch, channels, height, width) in the same memory order; else None."""
    if not 2 <= len(shape) <= 4:
        return None
    if len(shape) == 3:
        return shape[0], shape[1], 1, shape[2]
    return (*shape, *(1,) * (4 - len(shape)))  # type: ignore[return-value]


def stored_as(t: Tensor) -> Stored | None:
    """Return the storage type of a tensor's elements; None for types that native kernels do not read."""
    if isinstance(t.format, QFormat):
        return "u8" if t.format.dtype.itemsize == 1 else "i16"
    if t.format is not None:  # no kernel computes with a tensor in parts
        return None
    return "f32" if t.dtype == np.float32 else None


def element_type(t: Tensor) -> str | None:
    """Return the type of a tensor's elements in plain order, as kernels name it; None for one that they do not know.

    It is a kind and a number of bits: "f32", "i64", "b8" for booleans, "bf16". Codes have the integers of their word.
    """
    if t.format is not None and not isinstance(t.format, QFormat):
        return None
    dtype = t.dtype if t.format is None else t.one_format.word().dtype
    name = "bf16" if dtype.name == "bfloat16" else f"{dtype.kind}{8 * dtype.itemsize}"
    return name if name in ITEMSIZE else None


@dataclass(eq=False)
class TensorBuffer:
    """A tensor in memory, in blocks of channels (see `qengine.kernels.layout`) or in plain order.

    A *plain* buffer has all elements one after the other, in ONNX's order, as arrays have, with any number of axes and
    any type: it is one row of one channel, and `stored` is its `element_type`.

    Halos grow while steps are lowered: each op adds the halo that it reads.

    Attributes
    ----------
    name : name of the tensor, or a made-up one for an intermediate result of a step.
    shape : (batch, channels, height, width).
    stored : storage type of an element; "i32" for intermediate sums.
    block : channels in a pixel.
    zero : stored code of the number 0.
    low, high : smallest and largest code that the tensor can hold.
    halo : margin that readers need around each plane.
    array : name of the caller's array that is used as memory; None for memory of the plan.
    view_of : buffer whose memory this one uses with another shape.
    elements : elements of a constant, which are its memory; None for a tensor that is computed.
    flagged : whether the flags of the codes are stored after them.
    """

    name: str
    shape: tuple[int, int, int, int]
    stored: str
    block: int
    zero: int = 0
    low: int = 0
    high: int = 0
    halo: Halo = field(default_factory=Halo)
    array: str | None = None
    view_of: TensorBuffer | None = None
    elements: NDArray[Any] | None = None
    flagged: bool = False

    @classmethod
    def flat(cls, name: str, count: int, stored: str) -> TensorBuffer:
        """Return a plain buffer for some elements between two ops."""
        return cls(name, (1, 1, 1, count), stored, 1)

    @classmethod
    def plain(cls, t: Tensor) -> TensorBuffer:
        """Return a plain buffer for a tensor whose type kernels know."""
        stored = element_type(t)
        assert stored is not None
        return cls.flat(t.name, prod(t.shape), stored)

    @classmethod
    def of(
        cls,
        t: Tensor,
        block: int | None = None,
        low: int | None = None,
        high: int | None = None,
        *,
        flagged: bool = False,
    ) -> TensorBuffer:
        """Return a buffer for a tensor of a type that native kernels read, with codes between bounds."""
        shape, stored = images(t.shape), stored_as(t)
        assert shape is not None
        assert stored is not None
        buffer = cls(t.name, shape, stored, natural_block(shape[1]) if block is None else block)
        if t.format is not None:
            word = t.one_format.word()
            buffer.zero = stored_zero(word.signed, word.dtype.itemsize)
            buffer.low = word.least if low is None else min(max(low, word.least), word.most)
            buffer.high = word.most if high is None else min(max(high, word.least), word.most)
            buffer.flagged = flagged
        return buffer

    def like(self, name: str, **changes: Any) -> TensorBuffer:
        """Return another buffer with the same properties but for some changes, and without a halo or flags."""
        changes = {"halo": Halo(), "array": None, "view_of": None, "elements": None, "flagged": False, **changes}
        return replace(self, name=name, **changes)

    @property
    def storage(self) -> TensorBuffer:
        """The buffer that owns the memory."""
        return self if self.view_of is None else self.view_of.storage

    @property
    def layout(self) -> Layout:
        """The layout of the whole tensor in memory."""
        return _layout(self.shape, ITEMSIZE[self.stored], self.block, self.halo, self.flagged)

    @property
    def bytes(self) -> int:
        """The size of the elements in bytes, with their flags, without padding and halo."""
        return prod(self.shape) * ITEMSIZE[self.stored] * (2 if self.flagged else 1)

    @property
    def max_magnitude(self) -> int:
        """The largest magnitude of a code, at least 1."""
        return max(abs(self.low), abs(self.high), 1)


@lru_cache(4096)
def _layout(shape: tuple[int, int, int, int], itemsize: int, block: int, halo: Halo, flagged: bool) -> Layout:
    return Layout(*shape, itemsize, block, halo, flagged)


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return the elements one after the other, at a multiple of 64 bytes and with room for a vector at the end."""
    elements = aligned_zeros((array.size,), array.dtype)
    elements[:] = array.ravel()
    return elements


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array of zeros at a multiple of 64 bytes and with room for a vector at the end."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 192, np.uint8)  # kernels may read one more vector beyond a row
    start = -address(memory) % 64
    elements: NDArray[Any] = memory[start : start + size].view(dtype)
    return elements.reshape(shape)


def constant_buffer(array: NDArray[Any], name: str = "constant") -> TensorBuffer:
    """Return a plain buffer of known elements."""
    elements = aligned_copy(array)
    stored = f"{array.dtype.kind}{8 * array.dtype.itemsize}"
    return TensorBuffer(name, (1, 1, 1, array.size), stored, 1, elements=elements)


@dataclass(frozen=True)
class View:
    """Rows of a tensor in memory, given by the address that row 0 has or would have.

    Attributes
    ----------
    origin : address of pixel (0, 0) of the first block.
    image, plane, row, pixel : strides in bytes.
    flags : distance in bytes from a code to its flags; 0 where there are none.
    """

    origin: Address
    image: int
    plane: int
    row: int
    pixel: int
    flags: int = 0

    def at(self, row: int = 0, pixel: int = 0) -> Address:
        """Return the address of a pixel of the first block."""
        return self.origin + (row * self.row + pixel * self.pixel)

    @classmethod
    def whole(cls, base: Address, layout: Layout) -> View:
        """Return the view of a whole tensor whose memory begins at an address."""
        return cls(base + layout.origin, layout.image, layout.plane, layout.row, layout.pixel, layout.flags)

    def arguments(self, name: str, row: int = 0) -> dict[str, Address]:
        """Return the arguments of a kernel for this operand: its address at a row, and its strides."""
        return {name: self.at(row), f"{name}_batch": self.image, f"{name}_block": self.plane, f"{name}_row": self.row}

    @property
    def flag_arguments(self) -> dict[str, Address]:
        """The arguments of a kernel that stores flags into this tensor; none where there are no flags."""
        return {"y_flags": self.flags} if self.flags else {}
