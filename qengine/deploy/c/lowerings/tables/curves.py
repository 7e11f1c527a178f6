"""Tables of functions of gates for C: single entries, or a line and a few bits for each 32 of them.

Such a table is looked up once for a unit and a step, so its size counts and not its speed. One of 16-bit codes has
65,536 entries of 17 bits. Where that is less, a block of 32 entries is some words. The first has the first entry and a
slope; the others have the bits of the numbers by which entries rise more than the slope, as in `rank_table`. Codes at
both ends, where functions are constant, have no entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Parameters
from qengine.deploy.c.lowerings.tables.rank_table import BLOCK, trimmed

Array = NDArray[Any]

_SLOPE_BITS = 14
_MOST_SLOPE = (1 << _SLOPE_BITS - 1) - 1
_FEW = 1024


@dataclass(frozen=True, eq=False)
class Curve:
    """A table as C reads it.

    Attributes
    ----------
    array : entries, or words.
    numbers : fields of `struct net_curve`.
    """

    array: Array
    numbers: Parameters


def curves(tables: Sequence[tuple[Array, int]]) -> list[Curve]:
    """Return tables that are all of one type: the one that takes the fewest bytes.

    Parameters
    ----------
    tables
        Entries of each, up to 2^16 in magnitude, and the code of the first.
    """
    cut = []
    for entries, least in tables:
        start, end = trimmed(entries) if len(entries) > _FEW else (0, len(entries) - 1)
        cut.append((entries[start : end + 1].astype(np.int64), least + start))
    dtype = _type([entries for entries, _ in cut])
    plain = [Curve(entries.astype(dtype), _numbers(entries, least, 0, False)) for entries, least in cut]
    coded = [_coded(entries, least) for entries, least in cut]
    found = [one for one in coded if one is not None]
    is_less = len(found) == len(cut) and _bytes(found) < _bytes(plain)
    return found if is_less else plain


def _bytes(found: Sequence[Curve]) -> int:
    return sum(one.array.nbytes for one in found)


def _numbers(entries: Array, least: int, bits: int, is_coded: bool) -> Parameters:
    return {"least": least, "most": least + len(entries) - 1, "is_coded": is_coded, "bits": bits}


def _type(tables: Sequence[Array]) -> np.dtype[Any]:
    """Return the type that holds the entries of some tables."""
    low, high = min(int(one.min()) for one in tables), max(int(one.max()) for one in tables)
    for name in ("i1", "u1", "i2", "u2"):
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    return np.dtype(np.int32)


def _coded(entries: Array, least: int) -> Curve | None:
    """Return the words of a table; None where a slope has too many bits."""
    blocks = np.pad(entries, (0, -len(entries) % BLOCK), mode="edge").reshape(-1, BLOCK)
    steps = np.diff(blocks, axis=1)
    slopes = steps.min(axis=1)
    if len(entries) <= _FEW or np.abs(slopes).max() > _MOST_SLOPE:
        return None
    numbers = steps - slopes[:, None]
    bits = int(numbers.max()).bit_length()
    words = (((numbers[:, None, :] >> np.arange(bits)[:, None]) & 1) << np.arange(BLOCK - 1)).sum(axis=2)
    lines = (blocks[:, :1] << _SLOPE_BITS) + (slopes[:, None] & ((1 << _SLOPE_BITS) - 1))
    array = (np.concatenate([lines, words], axis=1) & 0xFFFFFFFF).astype(np.uint32).reshape(-1)
    return Curve(array, _numbers(entries, least, bits, True))
