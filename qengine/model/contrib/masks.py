"""Masks of attention: numbers that are added to the scores of tokens that a token must not attend to."""

from __future__ import annotations

import numpy as np

from qengine.errors import UnsupportedError
from qengine.model.contrib.expansion import Builder

_ZERO = np.array(0, np.int64)
_ONE = np.array(1, np.int64)


def padding_mask(builder: Builder, mask: str, q: str, k: str, filter_value: float) -> str:
    """Add the mask of padding and return its name; it broadcasts to [batch, heads, queries, keys].

    Parameters
    ----------
    mask
        Integers: one for each key, with 0 for padding, of 2 axes [batch, keys] or 3 [batch, queries, keys]; or a
        vector with the number of keys of each sequence, followed or not by the first key of each or, as only other
        devices than a CPU read them, by more.
    q, k
        Queries and keys in heads.
    filter_value
        Number that a masked score is given.
    """
    rank = builder.rank(mask)
    if rank == 1:
        kept = _between(builder, mask, q, k)
    elif rank in (2, 3):
        kept = builder.op("Greater", mask, builder.number(0, mask))
    else:
        raise UnsupportedError(f"mask '{mask}' has {rank} axes, 1 to 3 are supported; pass it as attention_bias")
    kept = builder.op("Unsqueeze", kept, builder.ints(1) if rank == 3 else builder.ints(1, 2))
    return builder.op("Where", kept, builder.number(0.0, q), builder.number(filter_value, q))


def _between(builder: Builder, mask: str, q: str, k: str) -> str:
    """Add [batch, keys] of whether a key is before the end of its sequence and not before the start."""
    batch = builder.op("Shape", q, since=15, start=0, end=1)
    whole = builder.op("Cast", mask, to=7)
    end = builder.op("Slice", whole, builder.ints(0), batch, builder.ints(0))
    rest = builder.op("Slice", whole, batch, builder.ints(np.iinfo(np.int64).max), builder.ints(0))
    # A vector without starts is filled with zeros, so that one rule serves every form.
    filled = builder.op("Concat", rest, builder.op("Sub", end, end), axis=0)
    start = builder.op("Slice", filled, builder.ints(0), batch, builder.ints(0))
    has_starts = builder.op("Equal", builder.op("Shape", mask), builder.op("Add", batch, batch))
    start = builder.op("Mul", start, builder.op("Cast", has_starts, to=7))
    keys = _range(builder, builder.op("Shape", k, since=15, start=2, end=3))
    column = [builder.op("Unsqueeze", one, builder.ints(1)) for one in (end, start)]
    return builder.op(
        "And",
        builder.op("Less", keys, column[0]),
        builder.op("GreaterOrEqual", keys, column[1]),
    )


def causal_mask(builder: Builder, scores: str, past: str) -> str:
    """Add the exclusion of later keys and return the name of the result.

    Parameters
    ----------
    scores
        Scores of [batch, heads, queries, keys].
    past
        Number of keys before that of the first query, a vector of one element.
    """
    queries = builder.op("Shape", scores, since=15, start=2, end=3)
    keys = builder.op("Shape", scores, since=15, start=3, end=4)
    row = _range(builder, queries)
    # The last query attends to every key, also where there are more keys than queries.
    is_last = builder.op("Equal", row, builder.op("Sub", queries, builder.ints(1)))
    column = builder.op("Where", is_last, keys, builder.op("Add", row, past), since=16)
    kept = builder.op("LessOrEqual", _range(builder, keys), builder.op("Unsqueeze", column, builder.ints(1)), since=16)
    lowest = float(np.finfo(builder.dtype(scores) or np.float32).min)
    return builder.op("Where", kept, scores, builder.number(lowest, scores))


def _range(builder: Builder, length: str) -> str:
    """Add 0, 1, ... below a length, which is a vector of one element."""
    return builder.op("Range", builder.constant(_ZERO), builder.op("Squeeze", length), builder.constant(_ONE))
