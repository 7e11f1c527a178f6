"""The memory that a network needs: blocks of bytes, and when each byte of them is in use.

A block is memory that gets one offset: a tensor with all its views and the tensors that are written straight into it,
or scratch of an operation. Its pieces are runs of bytes that are in use from one operation to another, both included.
Time counts operations. A byte is in use from the first operation that writes it to the last that reads it; a view
counts as a read of its bytes, as a trace looks at them then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from qengine.deploy.c.ir import CNetwork, CTensor, Operation, Scratch

Within = Mapping[CTensor, tuple[CTensor, int]]
"""For tensors that are a part of another one: that tensor, and the bytes before them in it."""

_WIDE = 4
"""Bytes of an element from which on memory is apart from that of smaller elements: objects of int16_t and of int32_t
may not share bytes in C, and those of int8_t may share with any."""


@dataclass(frozen=True)
class Piece:
    """A run of bytes of a block with one life.

    Attributes
    ----------
    start, end : bytes of the block before it, and up to its end.
    first, last : operations between which it is in use, both included.
    """

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Block:
    """Memory that gets one offset.

    Attributes
    ----------
    name : name of its tensor, or of the operation whose scratch it is.
    width : bytes of an element: 1, 2, 4 or 8.
    size : bytes.
    pieces : runs of bytes by their start; every byte is in one.
    tensor : tensor that it holds; None for scratch.
    scratch : parts of the scratch of an operation that it holds, with the bytes before them.
    """

    name: str
    width: int
    size: int
    pieces: tuple[Piece, ...]
    tensor: CTensor | None = None
    scratch: tuple[tuple[Operation, Scratch, int], ...] = ()

    @cached_property
    def first(self) -> int:
        """The first operation that uses it."""
        return min(p.first for p in self.pieces)

    @cached_property
    def last(self) -> int:
        """The last operation that uses it."""
        return max(p.last for p in self.pieces)

    def live(self, time: int) -> int:
        """Return the bytes in use at an operation."""
        return sum(p.end - p.start for p in self.pieces if p.first <= time <= p.last)


@dataclass(frozen=True)
class Sharing:
    """A read of an operation whose output may be written onto the input, or may not.

    Attributes
    ----------
    time : the operation.
    output, source : blocks that hold the output and the input.
    output_at, source_at : bytes of the blocks before the two tensors.
    output_size, source_size : bytes of the two tensors.
    most : the largest (address of the output - address of the input) that is permitted; None if the two must not meet.
    """

    time: int
    output: int
    source: int
    output_at: int
    source_at: int
    output_size: int
    source_size: int
    most: int | None


@dataclass(frozen=True)
class Memory:
    """The blocks of a network.

    Attributes
    ----------
    blocks : blocks in the order of their first use.
    sharings : reads of operations with one output in the arena from the arena, for blocks by their index.
    operations : number of operations.
    """

    blocks: tuple[Block, ...]
    sharings: tuple[Sharing, ...]
    operations: int


def root_of(within: Within, tensor: CTensor) -> tuple[CTensor, int]:
    """Return the tensor that holds the memory of another one, and the bytes before it there."""
    offset = 0
    while tensor in within:
        tensor, more = within[tensor]
        offset += more
    return tensor, offset


def memory_of(network: CNetwork, within: Within) -> Memory:
    """Return the blocks of a network whose tensors lie partly within others."""
    lives = _Lives(network, within)
    blocks = [*lives.blocks(), *_scratches(network)]
    blocks.sort(key=lambda b: (b.first, b.tensor is None))
    index: dict[CTensor | None, int] = {b.tensor: i for i, b in enumerate(blocks) if b.tensor is not None}
    return Memory(tuple(blocks), tuple(_sharings(network, within, index)), len(network.operations))


@dataclass
class _Lives:
    """Uses of the bytes of tensors that hold the memory of others or their own."""

    network: CNetwork
    within: Within
    _uses: dict[CTensor, list[tuple[int, int, int]]] = field(default_factory=dict)
    """For each root in the arena (start, end, time) of every use."""
    _width: dict[CTensor, int] = field(default_factory=dict)

    def blocks(self) -> Iterator[Block]:
        for time, one in enumerate(self.network.operations):
            for tensor in (*one.outputs, *one.reads, *(p.tensor for p in one.parts)):
                self._use(tensor, time)
        for root, uses in self._uses.items():
            yield Block(root.name, self._width[root], root.bytes, tuple(_pieces(root.bytes, uses)), tensor=root)

    def _use(self, tensor: CTensor, time: int) -> None:
        root, offset = root_of(self.within, tensor)
        if root.place == "arena" and tensor.bytes:
            self._uses.setdefault(root, []).append((offset, offset + tensor.bytes, time))
            self._width[root] = max(self._width.get(root, 1), tensor.dtype.itemsize)


def _pieces(size: int, uses: Sequence[tuple[int, int, int]]) -> Iterator[Piece]:
    cuts = sorted({0, size, *(u[0] for u in uses), *(u[1] for u in uses)})
    for start, end in pairwise(cuts):
        times = [time for a, b, time in uses if a <= start and end <= b]
        yield Piece(start, end, min(times), max(times))


def _scratches(network: CNetwork) -> Iterator[Block]:
    """Yield the scratch of operations: what overlaps within one together, elements of different classes apart."""
    for time, one in enumerate(network.operations):
        used = {a for call in one.calls for a in call.arguments if isinstance(a, Scratch) and a.size}
        group: list[Scratch] = []
        for a in sorted(used, key=lambda a: (class_of(a.dtype.itemsize), a.offset, a.end, a.dtype.name)):
            is_apart = group and class_of(group[0].dtype.itemsize) != class_of(a.dtype.itemsize)
            if group and (is_apart or a.offset >= max(g.end for g in group)):
                yield _scratch(one, time, group)
                group = []
            group.append(a)
        if group:
            yield _scratch(one, time, group)


def class_of(width: int) -> int:
    """Return the class of elements that may share memory: 2 for those of 1 and 2 bytes, else their bytes."""
    return width if width >= _WIDE else 2


def are_apart(a: Block, b: Block) -> bool:
    """Return whether two blocks may share no byte at any time, as C keeps elements of their widths apart."""
    return min(a.width, b.width) > 1 and class_of(a.width) != class_of(b.width)


def _scratch(one: Operation, time: int, group: list[Scratch]) -> Block:
    width = max(g.dtype.itemsize for g in group)
    start = group[0].offset // width * width
    size = max(g.end for g in group) - start
    places = tuple((one, g, g.offset - start) for g in group)
    return Block(f"scratch of {one.output.name}", width, size, (Piece(0, size, time, time),), scratch=places)


def _sharings(network: CNetwork, within: Within, index: Mapping[CTensor | None, int]) -> Iterator[Sharing]:
    for time, one in enumerate(network.operations):
        if one.view is not None or len(one.outputs) != 1:
            continue  # `overlap` is a difference to the one output
        output, output_at = root_of(within, one.output)
        for tensor, most in zip(one.reads, one.overlap or (None,) * len(one.reads), strict=True):
            source, source_at = root_of(within, tensor)
            if output not in index or source not in index or source is output:
                continue
            yield Sharing(
                time, index[output], index[source], output_at, source_at, one.output.bytes, tensor.bytes, most
            )
