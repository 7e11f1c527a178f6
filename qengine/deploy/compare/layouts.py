"""Layouts: the orders in which a device may store the elements of a tensor.

A layout is not a fault. Each is a function from the numbers of a dump to an array in the model's order, with a name for
the report. Layouts of one size are tried one after the other, the simplest first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError

Array = NDArray[Any]
_BLOCKS = (4, 8, 16, 32, 64)
_MOST_PAD = 4
_MOST_PITCH = 8
REVERSED = "reversed channels"
PLAIN_CHANNELS = "auto, channels in order"
_CHANNELS_LAST = ("NWC", "NHWC", "NDHWC")
_OTHER_NAME = re.compile(r"NC(D?H)?W\d+c|.* .*")


@dataclass(frozen=True)
class Layout:
    """An order of elements.

    Attributes
    ----------
    name : name in reports; "" for the model's own order.
    elements : number of elements of a tensor in a dump.
    read : function of a flat array that returns the tensor in the model's order.
    is_exact : whether few other sizes of a tensor would fit it too.
    """

    name: str
    elements: int
    read: Callable[[Array], Array]
    is_exact: bool = False


def layouts_of(shape: tuple[int, ...], elements: int) -> Iterator[Layout]:
    """Yield the layouts in which a tensor of a shape has a number of elements in a dump, the likeliest first."""
    size = prod(shape)
    if elements == size:
        yield Layout("", size, lambda flat: flat.reshape(shape), is_exact=True)
        yield from _orders(shape)
        yield from _reversed_channels(shape)
    elif elements > size > 0:
        yield from _padded(shape, elements)
    if len(shape) >= 3:
        yield from _blocked(shape, elements)
    if elements > size > 0 and elements - size < 64:
        yield Layout(f"{elements - size} elements after its end", elements, lambda flat: flat[:size].reshape(shape))


def named_layout(layout: str) -> str:
    """Return the name of a layout in the spelling of reports, or "auto".

    Raises
    ------
    OptionError
        If the name is none: neither a permutation of the axes, nor blocks of channels, nor as reports name others.
    """
    orders = {"".join(order) for rank in range(2, 6) for order in permutations(letters(rank))}
    if layout.upper() in orders:
        return layout.upper()
    if layout == "auto" or _OTHER_NAME.fullmatch(layout) is not None:
        return layout
    raise OptionError(f"no element order is named '{layout}'; give auto, or one such as NCHW, NHWC or NCHW16c")


def in_layout(found: Iterator[Layout], rank: int, layout: str) -> list[Layout]:
    """Return those of some layouts of a tensor that are meant by a name.

    Channels are last in a tensor of any rank that has places; where a tensor has no order of that name it is plain.
    """
    every = list(found)
    if layout == "auto":
        return every
    if layout == PLAIN_CHANNELS:
        return [one for one in every if not one.name.endswith(REVERSED)]
    if layout in _CHANNELS_LAST and rank > 2:
        layout = letters(rank)[0] + letters(rank)[2:] + "C"
    return [one for one in every if (one.name or letters(rank)) == layout] or [one for one in every if not one.name]


def letters(rank: int) -> str:
    """Return a letter for each axis."""
    return {1: "N", 2: "NC", 3: "NCW", 4: "NCHW", 5: "NCDHW"}.get(rank, "ABCDEFGH"[:rank])


def _orders(shape: tuple[int, ...]) -> Iterator[Layout]:
    """Yield all orders of the axes that differ, channels last first."""
    rank = len(shape)
    if not 2 <= rank <= 5:
        return
    names, own = letters(rank), tuple(range(rank))
    seen = {_moving(shape, own)}
    last = (0, *range(2, rank), 1)
    for order in (last, *permutations(own)):
        key = _moving(shape, order)
        if key in seen:
            continue
        seen.add(key)
        yield Layout("".join(names[axis] for axis in order), prod(shape), _reader(shape, order))


def _moving(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    """Return an order without the axes of length 1, which have no place of their own."""
    return tuple(axis for axis in order if shape[axis] != 1)


def _reader(shape: tuple[int, ...], order: tuple[int, ...]) -> Callable[[Array], Array]:
    stored, back = [shape[axis] for axis in order], np.argsort(order)
    return lambda flat: flat.reshape(stored).transpose(back)


def _reversed_channels(shape: tuple[int, ...]) -> Iterator[Layout]:
    if len(shape) >= 3 and shape[1] > 1:
        yield Layout(REVERSED, prod(shape), lambda flat: flat.reshape(shape)[:, ::-1])
        last = _reader(shape, (0, *range(2, len(shape)), 1))
        name = f"{letters(len(shape))[0]}{letters(len(shape))[2:]}C with {REVERSED}"
        yield Layout(name, prod(shape), lambda flat: last(flat)[:, ::-1])


def _blocked(shape: tuple[int, ...], elements: int) -> Iterator[Layout]:
    """Yield blocks of channels, as vector units and matrix engines store them."""
    n, c, *spatial = shape
    for block in _BLOCKS:
        blocks = -(-c // block)
        if elements != n * blocks * block * prod(spatial) or (blocks == 1 and c == block):
            continue

        def read(flat: Array, block: int = block, blocks: int = blocks) -> Array:
            stored = np.moveaxis(flat.reshape(n, blocks, *spatial, block), -1, 2)
            return stored.reshape(n, blocks * block, *spatial)[:, :c]

        yield Layout(f"{letters(len(shape))}{block}c", elements, read, is_exact=True)


def _padded(shape: tuple[int, ...], elements: int) -> Iterator[Layout]:
    """Yield rows with a pitch, channels with a pitch, and images with a border."""
    size = prod(shape)
    width = shape[-1]
    if elements % (size // width) == 0 and size > width and elements <= _MOST_PITCH * size:
        pitch = elements // (size // width)
        rows = (*shape[:-1], pitch)
        yield Layout(f"rows of {pitch} elements", elements, lambda flat: flat.reshape(rows)[..., :width])
    if len(shape) < 3:
        return
    channels = shape[1]
    if elements % (size // channels) == 0 and size > channels and elements <= _MOST_PITCH * size:
        wide = elements // (size // channels)
        last, first = (shape[0], *shape[2:], wide), (shape[0], wide, *shape[2:])
        yield Layout(
            f"channels last, {wide} of them",
            elements,
            lambda flat: np.moveaxis(flat.reshape(last)[..., :channels], -1, 1),
        )
        yield Layout(f"{wide} channels", elements, lambda flat: flat.reshape(first)[:, :channels])
    if len(shape) == 4:
        yield from _bordered(shape, elements)


def _bordered(shape: tuple[int, ...], elements: int) -> Iterator[Layout]:
    n, c, h, w = shape
    for before in range(_MOST_PAD + 1):
        for after in range(_MOST_PAD + 1):
            high, wide = h + before + after, w + before + after
            if (not before and not after) or n * c * high * wide != elements:
                continue
            rows, columns = slice(before, before + h), slice(before, before + w)
            name = f"a border of {before} before and {after} after"

            def read(flat: Array, size: tuple[int, ...] = (high, wide), at: Any = (rows, columns)) -> Array:
                return flat.reshape(n, c, *size)[:, :, *at]

            def read_last(flat: Array, size: tuple[int, ...] = (high, wide), at: Any = (rows, columns)) -> Array:
                return np.moveaxis(flat.reshape(n, *size, c)[:, *at], -1, 1)

            yield Layout(name, elements, read, is_exact=True)
            yield Layout(f"NHWC, {name}", elements, read_last)
