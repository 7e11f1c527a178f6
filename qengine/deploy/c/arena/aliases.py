"""Tensors that need no memory of their own: views, and tensors that are written straight into another one.

A view is a part of a tensor that is computed before it. The other way round, a tensor that is copied into a larger one,
such as an operand of Concat or Pad, can be computed there from the start, if it has memory of its own: then the copy is
left out. Both are one mapping from tensors to their place in another tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from qengine.deploy.c.arena.blocks import Within, root_of
from qengine.deploy.c.ir import CNetwork, CTensor, Operation, Part


@dataclass(frozen=True)
class Aliased:
    """A network in which some tensors are written straight into others.

    Attributes
    ----------
    network : the network without the copies that this saves.
    within : the holders of tensors that are views or parts.
    joined : parts that are written in place.
    """

    network: CNetwork
    within: Within
    joined: tuple[Part, ...]


def aliased(network: CNetwork, apart: Collection[Part] = ()) -> Aliased:
    """Return a network in which producers write into joined tensors, as far as memory allows.

    Parameters
    ----------
    network
        The network.
    apart
        Parts that remain copies.
    """
    within: dict[CTensor, tuple[CTensor, int]] = {}
    for one in network.operations:
        if one.view is not None:
            within[one.output] = one.view.tensor, one.view.offset * one.view.tensor.dtype.itemsize
    joined: list[Part] = []
    operations = []
    for one in network.operations:
        parts = list(_placed(one, within, apart))
        joined += parts
        operations.append(_without(one, parts) if parts else one)
    return Aliased(replace(network, operations=tuple(operations)), within, tuple(joined))


def _placed(one: Operation, within: dict[CTensor, tuple[CTensor, int]], apart: Collection[Part]) -> Iterator[Part]:
    """Yield the parts of an operation that can be written in place, and enter them."""
    for part in one.parts:
        start = part.offset * one.output.dtype.itemsize
        root, offset = root_of(within, part.tensor)
        is_whole = root.place == "arena" and offset == 0 and root.bytes == part.tensor.bytes
        is_free = root is not root_of(within, one.output)[0]
        if part in apart or not is_whole or not is_free or root.dtype.itemsize != one.output.dtype.itemsize:
            continue
        within[root] = one.output, start
        yield part


def _without(one: Operation, parts: Collection[Part]) -> Operation:
    """Return an operation without the calls that copy some parts, and without the reads that only they need."""
    copies = {part.call for part in parts}
    calls = tuple(call for call in one.calls if call not in copies)
    needed = {a for call in calls for a in call.arguments if isinstance(a, CTensor)}
    dropped = {part.tensor for part in parts} - needed
    kept = [i for i, t in enumerate(one.reads) if t not in dropped]
    overlap = tuple(one.overlap[i] for i in kept) if one.overlap else ()
    left = tuple(part for part in one.parts if part not in parts)
    return replace(one, calls=calls, reads=tuple(one.reads[i] for i in kept), overlap=overlap, parts=left)
