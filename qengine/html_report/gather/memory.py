"""Facts on memory and cost: the network in C, as `qengine export c` would write it."""

from __future__ import annotations

import numpy as np

from qengine.deploy.c.arena import plan_arena
from qengine.deploy.c.arena.plan import Arena
from qengine.deploy.c.network import network_of
from qengine.deploy.c.shapes import feeds_of_shapes
from qengine.deploy.c.sizes import flash_of, instructions_of
from qengine.errors import UnsupportedError
from qengine.html_report.facts import LifeFacts, MemoryFacts, OperationFacts
from qengine.html_report.gather.subject import Subject

MAX_PLANNED = 600
"""Operators of a network whose arena is planned: the search for places takes long for more."""


def memory_facts(subject: Subject) -> MemoryFacts:
    """Return the facts on the network in C.

    Raises
    ------
    QEngineError
        If C cannot compute the model.
    """
    session = subject.fixed
    if session is None:
        raise UnsupportedError("C computes codes, and there are no formats: give a --qformat, --formats or --data")
    count = len(session.optimized.nodes)
    if count > MAX_PLANNED:
        raise UnsupportedError(
            f"the model has {count:,} operators, and a report plans the memory of {MAX_PLANNED} at most: use "
            "qengine export c"
        )
    with session.limited(), np.errstate(all="ignore"):
        arrays, notes = feeds_of_shapes(session, None, subject.feeds_of_one or None)
        arena = plan_arena(network_of(session, arrays))
    network = arena.network
    operations = tuple(_operations(arena))
    inputs, outputs = sum(t.bytes for t in network.inputs), sum(t.bytes for t in network.outputs)
    return MemoryFacts(
        arena=arena.bytes,
        bound=arena.bound,
        is_least=arena.is_least,
        flash=flash_of(c for one in network.operations for c in one.constants),
        inputs=inputs,
        outputs=outputs,
        macs=sum(one.macs for one in operations),
        instructions=sum(one.instructions for one in operations),
        peak=None if arena.peak is None else network.operations.index(arena.peak),
        operations=operations,
        lives=tuple(LifeFacts(one.name, one.offset, one.bytes, one.first, one.last) for one in arena.lives),
        notes=(*notes, *network.notes),
    )


def _operations(arena: Arena) -> list[OperationFacts]:
    return [
        OperationFacts(
            one.node.name or one.output.name,
            one.node.operator,
            one.macs,
            flash_of(one.constants),
            sum(t.bytes for t in one.outputs),
            one in arena.shares,
            instructions_of(one, dsp=True),
        )
        for one in arena.network.operations
    ]
