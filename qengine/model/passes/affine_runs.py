"""Runs of operators that multiply by constants and add constants, one after the other, near no linear operator.

Channels are shifted and scaled by learned or measured numbers, in Sub and Div or in Mul and Add. In fixed point each
operator would round. A linear operator of its own, x * scale + shift, rounds once. If all numbers of a run are the same
for all channels, the run is a function of one variable, which a table computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qengine.model.graph import Graph
from qengine.model.passes.affine_terms import Affine, affine_of, shape_of
from qengine.model.passes.linear_weights import NoFold, ScaleWeights
from qengine.model.passes.row_recognition import spelled_nodes


@dataclass(frozen=True)
class _Run:
    """Operators one after the other.

    Attributes
    ----------
    place : position of the first.
    first : the first, with a number for each channel.
    rounding : number of operators that round.
    by_channel : whether some numbers differ by channel.
    """

    place: int
    first: Affine
    rounding: int = 0
    by_channel: bool = False

    def with_next(self, affine: Affine) -> _Run:
        """Return the run with one more operator."""
        rounds = not (affine.only_adds and affine.only_multiplies)
        by_channel = max(affine.scale.size, affine.shift.size) > 1
        return replace(self, rounding=self.rounding + rounds, by_channel=self.by_channel or by_channel)


def first_of_runs(graph: Graph) -> Mapping[int, Affine]:
    """Return the first operator of each run of two or more that round, by position, with vectors of its numbers.

    Constants are finite and have a number for each channel (axis 1), some of them several. Nothing else reads a tensor
    within a run. Parts of a function, a Softmax or a normalization in several operators are in no run.
    """
    spelled, read_once = spelled_nodes(graph), graph.tensors_read_once()
    runs: dict[int, _Run] = {}
    ends: dict[str, int] = {}  # the first operator of the run that computes a tensor
    for i, node in enumerate(graph.nodes):
        affine = None if id(node) in spelled else affine_of(node, graph.constants)
        vectors = None if affine is None else _by_channel(affine, graph)
        if affine is None or vectors is None:
            continue
        place = ends.get(affine.x, i) if affine.x in read_once else i
        runs[place] = runs.get(place, _Run(i, vectors)).with_next(affine)
        ends[affine.y] = place
    return {run.place: run.first for run in runs.values() if run.rounding > 1 and run.by_channel}


def _by_channel(affine: Affine, graph: Graph) -> Affine | None:
    """Return an operator with vectors of a number for each channel; None if there are none, or if x has no channels."""
    x, y = shape_of(affine.x, graph), graph.values.get(affine.y)
    if x is None or len(x) < 2 or not x[1] or affine.by_channel or not affine.is_finite:
        return None
    if y is None or y.dtype is None or affine.dtype not in (None, y.dtype):
        return None
    weights = ScaleWeights(affine.node, (x[1],), x)
    try:
        scale, shift = weights.added(affine.scale), weights.added(affine.shift)
    except NoFold:
        return None
    return replace(affine, scale=scale, shift=shift, by_channel=True)
