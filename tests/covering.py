"""Combinations of parameters: a few that cover all pairs or triples always run, the others only in the full test run.

Of ten axes with ten values each nobody runs all products; but a fault that needs one value of two or three axes shows
in a set of rows that has every pair or triple of values (a covering array). `pytest -m exhaustive` runs the rest.
"""

from itertools import combinations, product
from random import Random

import pytest


def covering(*axes, strength=2):
    """Return every combination of one value of each axis as `pytest.param`, all but a covering array marked exhaustive.

    The array has every combination of values of any `strength` axes.
    """
    axes = [list(axis) for axis in axes]
    sizes = [range(len(axis)) for axis in axes]
    rows = list(product(*sizes))
    groups = list(combinations(range(len(axes)), min(strength, len(axes))))
    left = {(group, values) for group in groups for values in product(*(sizes[axis] for axis in group))}
    order = Random(0).sample(rows, len(rows))
    chosen = set()
    for least in range(len(groups), 0, -1):  # rows that cover most come first
        for row in order:
            new = {(group, tuple(row[axis] for axis in group)) for group in groups} & left
            if len(new) >= least:
                chosen.add(row)
                left -= new
    return [
        pytest.param(
            *(axis[i] for axis, i in zip(axes, row, strict=True)),
            marks=[] if row in chosen else [pytest.mark.exhaustive],
        )
        for row in rows
    ]
