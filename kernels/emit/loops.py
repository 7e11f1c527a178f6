"""The loops that kernels share, and a kernel's arguments by name.

Nearly every kernel goes over the images of a batch, the planes of an image (blocks of channels), the rows of a plane
and then along a row: `each_plane` and `each_row` are these loops. They take the names of tensors and find the
distances between images, planes and rows in the arguments that are named after them: "x_batch", "x_block", "x_row".
Along a row a kernel takes whole vectors and then the rest of a vector (`each_vector`), or tiles of pixels of which the
last is moved back to end at the edge (`each_tile`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from llvmlite import ir

from ..spec import Spec
from .vector import I64, Value


class Storable(Protocol):
    """Vector, or several that are written together."""

    def store(self, address: Value, align: int = 1) -> None:
        """Write all lanes to an address."""

    def store_first(self, address: Value, count: Value) -> None:
        """Write the first `count` lanes only."""


class Arguments:
    """Arguments of a kernel: `a.x_row`, or `a["x_row"]`, is the 64-bit integer of that name in `spec.arguments`."""

    def __init__(self, b: ir.IRBuilder, spec: Spec, base: ir.Value) -> None:
        self.b = b
        self._values = {
            name: Value(b, b.load(b.gep(base, [ir.Constant(I64, i)]))) for i, name in enumerate(spec.arguments)
        }

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __getattr__(self, name: str) -> Value:
        values: dict[str, Value] = self.__dict__["_values"]
        if name not in values:
            raise AttributeError(name)
        return values[name]


@contextmanager
def counted(count: Value, start: Value | None = None) -> Iterator[Value]:
    """Build a loop over start, start + 1, ... below `count`; yields the counter."""
    b, first = count.b, ir.Constant(count.v.type, 0) if start is None else start.v
    before, header = b.basic_block, b.append_basic_block("loop")
    body, end = b.append_basic_block("body"), b.append_basic_block("end")
    b.branch(header)
    b.position_at_end(header)
    index = b.phi(count.v.type)
    b.cbranch(b.icmp_signed("<", index, count.v), body, end)
    b.position_at_end(body)
    yield Value(b, index)
    index.add_incoming(first, before)
    index.add_incoming(b.add(index, ir.Constant(index.type, 1), flags=["nsw"]), b.basic_block)
    b.branch(header)
    b.position_at_end(end)


@contextmanager
def each_plane(a: Arguments, *tensors: str) -> Iterator[tuple[Value, list[Value]]]:
    """Build the loops over images and planes; yields the plane's number and its address in each of the tensors."""
    with counted(a.batch) as n, counted(a.blocks) as k:
        yield k, [a[t] + n * a[f"{t}_batch"] + k * a[f"{t}_block"] for t in tensors]


@contextmanager
def each_row(a: Arguments, *tensors: str) -> Iterator[list[Value]]:
    """Build the loops over images, planes and rows; yields the address of the row in each of the tensors."""
    with each_plane(a, *tensors) as (_, planes), counted(a.rows) as r:
        yield [plane + r * a[f"{t}_row"] for plane, t in zip(planes, tensors, strict=True)]


@contextmanager
def each_channel_row(a: Arguments) -> Iterator[tuple[Value, Value, Value]]:
    """Build the loops over images, channels and rows; yields the three numbers."""
    with counted(a.batch) as n, counted(a.channels) as c, counted(a.rows) as r:
        yield n, c, r


def in_blocks(channel: Value, block: Value, plane: Value, itemsize: int) -> Value:
    """Return the distance of a channel from the first one: planes of `block` channels, side by side within a pixel."""
    return channel.divided_by(block) * plane + channel.modulo(block) * itemsize


def each_vector(
    vectors: Value, rest: Value, compute: Callable[[Value], Storable], address: Callable[[Value], Value]
) -> None:
    """Build the loop over the vectors of a row, and what comes after it for the `rest` lanes that are left.

    `compute(v)` builds vector v, and reads all of it even at the end of a row; `address(v)` is the address where it is
    stored.
    """
    with counted(vectors) as v:
        compute(v).store(address(v))
    with vectors.b.if_then((rest > 0).v):
        compute(vectors).store_first(address(vectors), rest)


def tile_count(size: Value, tile: int) -> Value:
    """Return the number of tiles that cover a size."""
    return (size + (tile - 1)).divided_by(tile)


@contextmanager
def each_tile(size: Value, tile: int) -> Iterator[tuple[Value, Value]]:
    """Build a loop over the tiles that cover a size; yields the number of the tile and its first index.

    The last tile ends at the edge, so it may repeat a part of the tile before it.
    """
    with counted(tile_count(size, tile)) as i:
        yield i, (i * tile).at_most(size - tile)
