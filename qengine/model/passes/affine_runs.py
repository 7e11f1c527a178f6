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
from qengine.model.passes.linear_weights import NoFold, RowScaleWeights, ScaleWeights
from qengine.model.passes.row_recognition import spelled_nodes

_OPERATORS: Mapping[str, type[ScaleWeights]] = {"ScaleShift": ScaleWeights, "RowScaleShift": RowScaleWeights}
"""The operators that a run may become, and where they have their channels: axis 1, or the last."""

_MAX_AXES = 5
"""Largest number of axes: a quantized model has the operator as a Conv."""


@dataclass(frozen=True)
class _Run:
    """Operators one after the other.

    Attributes
    ----------
    place : position of the first.
    fits : the first of them with a number for each channel, by operator that all of them can go into.
    rounding : number of operators that round.
    by_channel : whether some numbers differ by channel.
    """

    place: int
    fits: dict[str, Affine]
    rounding: int = 0
    by_channel: bool = False

    def with_next(self, affine: Affine, fits: Mapping[str, Affine]) -> _Run:
        """Return the run with one more operator."""
        rounds = not (affine.only_adds and affine.only_multiplies)
        by_channel = max(affine.scale.size, affine.shift.size) > 1
        both = {name: first for name, first in self.fits.items() if name in fits}
        return _Run(self.place, both, self.rounding + rounds, self.by_channel or by_channel)


def first_of_runs(graph: Graph) -> dict[int, tuple[Affine, str]]:
    """Return the first operator of each run of two or more that round, with vectors of its numbers, by position.

    Beside it stands the name of the operator that the run becomes. Constants are finite and have a number for each
    channel, some of them several. Nothing else reads a tensor within a run. Parts of a function, a Softmax or a
    normalization in several operators are in no run.
    """
    spelled, read_once = spelled_nodes(graph), graph.tensors_read_once()
    runs: dict[int, _Run] = {}
    ends: dict[str, int] = {}  # the first operator of the run that computes a tensor
    for i, node in enumerate(graph.nodes):
        affine = None if id(node) in spelled else affine_of(node, graph.constants)
        fits = {} if affine is None else _by_channel(affine, graph)
        if affine is None or not fits:
            continue
        place = ends.get(affine.x, i) if affine.x in read_once else i
        run = runs.get(place, _Run(i, fits)).with_next(affine, fits)
        if not run.fits:  # its channels are others
            place, run = i, _Run(i, fits).with_next(affine, fits)
        runs[place], ends[affine.y] = run, place
    found = (run for run in runs.values() if run.rounding > 1 and run.by_channel)
    return {run.place: next((first, name) for name, first in run.fits.items()) for run in found}


def _by_channel(affine: Affine, graph: Graph) -> dict[str, Affine]:
    """Return an operator with vectors of a number for each channel, by the operators that it can go into."""
    x, y = shape_of(affine.x, graph), graph.values.get(affine.y)
    if x is None or not 2 <= len(x) <= _MAX_AXES or affine.by_channel or not affine.is_finite:
        return {}
    if y is None or y.dtype is None or affine.dtype not in (None, y.dtype):
        return {}
    found = {}
    for name, kind in _OPERATORS.items():
        channels = x[kind(affine.node, (), x).channel_axis(len(x))]
        if not channels:
            continue
        weights = kind(affine.node, (channels,), x)
        try:
            scale, shift = weights.added(affine.scale), weights.added(affine.shift)
        except NoFold:
            continue
        found[name] = replace(affine, scale=scale, shift=shift, by_channel=True)
    return found
