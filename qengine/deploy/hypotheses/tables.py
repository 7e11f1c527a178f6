"""Faults of tables: an index that is off, or entries of a cut or interpolated table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.rules import TableRule
from qengine.model.steps import Table

Array = NDArray[Any]


def _entries(variant: Variant) -> Array:
    """Return the entry of every code of the input, in ascending order of the codes."""
    step = variant.step
    assert isinstance(step, Table)
    word = step.x.one_format.word()
    every = np.arange(word.least, word.most + 1).astype(word.dtype)
    return step.fixed(variant.output, variant.arithmetic)(every)


def _read(change: Any, variant: Variant) -> Variant | None:
    if not isinstance(variant.step, Table) or variant.run is not None:
        return None

    def run(variant: Variant) -> Array:
        step = variant.step
        assert isinstance(step, Table)
        entries = _entries(variant)
        index = variant.operands[0].astype(np.int64) - step.x.one_format.word().least
        return np.asarray(entries[np.clip(change(index, len(entries)), 0, len(entries) - 1)])

    return replace(variant, run=run)


def _off(by: int, index: Array, size: int) -> Array:
    return (index + by) % size


def _off_at_ends(by: int, index: Array, size: int) -> Array:
    del size
    return index + by


def _halves(index: Array, size: int) -> Array:
    return (index + size // 2) % size


def _coarse(bits: int, index: Array, size: int) -> Array:
    del size
    return (index >> bits) << bits


def _mirrored(index: Array, size: int) -> Array:
    return size - 1 - index


def _rule(rule: TableRule, variant: Variant) -> Variant | None:
    return variant.with_rules(table=rule) if isinstance(variant.step, Table) else None


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for by in (1, -1):
        for name, ends, change in (("", "", _off), ("_ends", ", with its ends kept", _off_at_ends)):
            sentence = f"a table that is read {by:+d} entry off{ends}"
            read = partial(_read, partial(change, by))
            yield Hypothesis(f"table:index{by:+d}{name}", sentence, 42 + bool(ends), read, is_structural=True)
    yield Hypothesis(
        "table:sign", "a table whose index has the other sign", 43, partial(_read, _halves), is_structural=True
    )
    yield Hypothesis("table:reversed", "a table in reverse order", 44, partial(_read, _mirrored), is_structural=True)
    for bits in range(1, 9):
        sentence = f"a table whose index lacks its low {bits} bit{'s' * (bits > 1)}"
        read = partial(_read, partial(_coarse, bits))
        yield Hypothesis(f"table:index_cut_{bits}", sentence, 45 + bits, read, is_structural=True)
    for method, words in (("cut", "read at a cut input"), ("interpolated", "between whose entries a line is drawn")):
        for entries in (128, 256, 512, 1024):
            for limit in (4, 8, 16):
                sentence = f"a table of {entries} entries over -{limit} .. {limit}, {words}"
                rule = TableRule(method, entries, limit)  # type: ignore[arg-type]
                name = f"table:{method}_{entries}_{limit}"
                yield Hypothesis(name, sentence, 55, partial(_rule, rule), is_structural=True)
