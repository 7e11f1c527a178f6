"""Functions of one variable: a table of the codes of the output for the codes that the input can hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from qengine.deploy.c.ir import Call, CTensor, Operation
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.nests import AXES, Nest, in_memory
from qengine.deploy.c.lowerings.tables.rank_table import RankTable, rank_coded, trimmed
from qengine.model.steps import Table


@lowers(Table)
def lower_table(context: Context) -> Operation:
    """Return a lookup of each element, in the table that takes the fewest bytes."""
    step, y = context.step, context.y
    x = context.tensors[step.x.name]
    entries, _, _ = step.table(context.out, context.arithmetic)
    least, most = x.ends
    first = step.x.one_format.word().least
    reached = entries[least - first : most - first + 1]
    nest = Nest.of(in_memory(y, y.shape), (in_memory(y, x.strides), in_memory(y, y.strides)))
    if len(nest.lengths) > AXES:
        raise NotExportable(f"its input and output lie in memory in orders that {AXES} loops do not bring together")
    overlap = (in_place(x, y) if x.order == y.order else None,)
    if x.dtype.itemsize > 1:
        # Codes beyond the table cost two comparisons, which pay where a table is long.
        start, end = trimmed(reached)
        ends, kept = (least + start, least + end), reached[start : end + 1]
        coded = rank_coded(kept)
        if coded.bytes < kept.nbytes:
            return context.operation(_rank_call(context, x, nest, ends, coded), overlap=overlap)
    else:
        ends, kept = x.ends, reached
    numbers = _numbers(nest, ends)
    table = context.constant("table", kept, _comment(ends, x))
    call = Call("table", {"x": x.dtype, "y": y.dtype}, (x, table, y), numbers | {"is_cut": ends != x.ends})
    return context.operation(call, overlap=overlap)


def _rank_call(context: Context, x: CTensor, nest: Nest, ends: tuple[int, int], coded: RankTable) -> Call:
    y, about = context.y, _comment(ends, x)
    bases = context.constant("bases", coded.bases, f"{about}: every 32nd entry")
    slopes = None
    if coded.slopes is not None:
        slopes = context.constant("slopes", coded.slopes, f"{about}: what each 32 entries rise from one to the next")
    plain = None
    if coded.plain.size:
        plain = context.constant("plain", coded.plain, f"{about}: those from place {coded.plain_first} on")
    bits = context.constant("bits", coded.bits, f"{about}: what they rise more, a word of 32 entries for each bit")
    numbers = _numbers(nest, ends) | {
        "slope": coded.slope,
        "has_slopes": slopes is not None,
        "bits": coded.bits.shape[1],
        "plain_first": coded.plain_first,
        "plain_size": coded.plain.size,
    }
    types = {"x": x.dtype, "y": y.dtype, "s": np.dtype(np.int8) if coded.slopes is None else coded.slopes.dtype}
    return Call("rank_table", types, (x, bases, slopes, bits, plain, y), numbers)


def _numbers(nest: Nest, ends: tuple[int, int]) -> dict[str, Any]:
    return dict(nest.numbers("x", "y")) | {"least": ends[0], "most": ends[1]}


def _comment(ends: tuple[int, int], x: CTensor) -> str:
    return f"entries for codes {ends[0]} to {ends[1]} of {x.name}"


def in_place(x: CTensor, y: CTensor) -> int:
    """Return the overlap of an operation that writes element i after it has read element i for the last time."""
    more = x.dtype.itemsize - y.dtype.itemsize
    return more if more >= 0 else more * max(x.size - 1, 0)
