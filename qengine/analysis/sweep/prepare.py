"""Preparation of points: the one place where a sweep corrects a model and gives it formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from qengine.analysis.inspection.costs import Term, Workload, all_costs
from qengine.analysis.sweep.measure import Figures
from qengine.analysis.sweep.points import Point
from qengine.lru_cache import LruCache
from qengine.model.digest import graph_digest
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.qformat import Format
from qengine.quantization.calibration import Feeds, FormatChooser, Observation, observe
from qengine.quantization.correction import (
    RecipeState,
    change_ranges,
    correct,
    fit_formats,
    is_guarded,
    range_steps,
    steps_of,
)
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

Ranges = tuple[str, ...] | None
"""The corrections that decide the range of a model's tensors; None for the uncorrected model."""

ObservationKey = tuple[Ranges, bool]
"""What decides which tensors are observed: the corrections, and whether functions are fused; see `Point.fuses`."""

_KEPT_FORMATS = 64  # choices of formats that are kept for points which differ in something else
_FOLD_ONLY = ("fold",)  # the passes of every run do the same


class SharedModel:
    """A model before the passes, corrected or not, and what all points that run it have in common.

    Parameters
    ----------
    graph
        The model.
    options
        Options of every session.

    Attributes
    ----------
    graph : the model.
    """

    def __init__(self, graph: Graph, options: SessionOptions) -> None:
        self.graph, self._options = graph, options
        self._terms: dict[str, Sequence[Term] | None] = {}

    @cached_property
    def _float32(self) -> InferenceSession:
        return InferenceSession(self.graph, self._options.in_float32())

    def session(self, options: SessionOptions | None = None) -> InferenceSession:
        """Return a session with some options; None for float32."""
        return self._float32.in_float32() if options is None else self._float32.with_options(options)

    def costs(self, formats: Mapping[str, Format], feeds: Mapping[str, Any], samples: int) -> Figures:
        """Return every cost in some formats, by column; the feeds are those of any run, with a number of samples."""
        work = Workload(self.session(), feeds, samples)
        totals: dict[str, float | None] = {}
        for one in all_costs():
            if one.column not in self._terms:
                self._terms[one.column] = one.terms_or_none(work)
            totals[one.column] = one.total_of(self._terms[one.column], formats)
        return Figures(totals)


@dataclass(frozen=True)
class Prepared:
    """A point that is ready to run.

    Attributes
    ----------
    model : the model, corrected where the point says so.
    point : the point.
    formats : formats by tensor; None where the point has one format for all activations, and in float32.
    steps : verdict on each step of a guarded recipe, in words.
    """

    model: SharedModel
    point: Point
    formats: FormatsByName | None = None
    steps: tuple[str, ...] = ()

    def session(self, options: SessionOptions) -> InferenceSession:
        """Return a session for the point; the options of the sweep change no bit."""
        point = self.point
        if point.is_float32:
            return self.model.session()
        own = replace(options, **point.arithmetic())
        if self.formats is None:
            return self.model.session(replace(own, qformat=point.qformat, per_channel=point.per_channel))
        return self.model.session(replace(own, formats=self.formats))


def ranges(point: Point) -> Ranges:
    """Return the corrections that decide the range of the tensors of a point."""
    if point.recipe is None or steps_of(point.recipe) == _FOLD_ONLY:
        return None
    return range_steps(point.recipe)


def chooses_ranges(point: Point) -> bool:
    """Whether the formats of a point decide which corrections it has: no histograms can be made for it ahead."""
    return point.recipe is not None and is_guarded(point.recipe)


def corrected_for_ranges(graph: Graph, corrections: Ranges) -> Graph:
    """Return the model for which formats are chosen: the same for all points that have these `ranges`."""
    return graph if corrections is None else change_ranges(graph, corrections).graph


class Preparer:
    """Preparation of points, which does once what several points have in common.

    Parameters
    ----------
    graph
        The model as it was loaded.
    data
        Feeds on which the model is corrected.
    observation
        Function that returns the histograms of a model on the data. Its arguments are the result of
        `corrected_for_ranges`, whose `fuses` is that of the points, and the corrections.
    options
        Options of the runs that corrections make, of which the limits and `threads` have an effect.
    """

    def __init__(
        self,
        graph: Graph,
        data: Feeds,
        observation: Callable[[Graph, Ranges], Observation],
        options: SessionOptions | None = None,
    ) -> None:
        self._graph, self._data, self._observation = graph, data, observation
        self._options = options or SessionOptions()
        self._model = SharedModel(graph, self._options)
        self._states: dict[str, RecipeState] = {}
        # A digest stands for a model that a guard tries.
        self._observations: dict[tuple[Ranges | str, bool], Observation] = {}
        self._formats_of: LruCache[FormatsByName] = LruCache(_KEPT_FORMATS)
        # The last: a grid goes recipe by recipe.
        self._corrected: tuple[tuple[str, str], SharedModel, FormatsByName, tuple[str, ...]] | None = None

    def prepare(self, point: Point) -> Prepared:
        """Return a point that is ready to run.

        Raises
        ------
        QEngineError
            If a correction cannot be made, or no format holds the numbers of a tensor.
        """
        if point.is_float32:
            return Prepared(self._model, point)
        if ranges(point) is not None:
            return Prepared(*self._corrected_model(point))
        if point.qformat is not None:
            return Prepared(self._model, point)
        return Prepared(self._model, point, self._formats(self._graph, point))

    def _formats(self, graph: Graph, point: Point) -> FormatsByName:
        if point.formats is not None:
            formats: FormatsByName = json.loads(point.formats)
            return formats
        if point.qformat is not None:
            own = point.arithmetic()
            session = InferenceSession(graph, qformat=point.qformat, per_channel=point.per_channel, **own)
            return {name: format_to_json(fmt) for name, fmt in session.formats.items()}
        made: Ranges | str = graph_digest(graph) if chooses_ranges(point) else ranges(point)
        key, observed = (made, point.fuses), replace(graph, fuses=point.fuses)
        options, known = point.calibration(), self._observations.get(key)
        if known is None or (isinstance(made, str) and options.results_wrap and known.sums is None):
            if isinstance(made, str):
                self._observations[key] = observe(observed, self._data, options.for_observing(self._options))
            else:
                self._observations[key] = self._observation(observed, made)
        chooser = FormatChooser.of(self._observations[key])
        return self._formats_of.get((key, options), lambda: chooser.formats(options))

    def _corrected_model(self, point: Point) -> tuple[SharedModel, Point, FormatsByName, tuple[str, ...]]:
        """Return the model of a point, corrected for its formats, the point, the formats, and what was kept."""
        assert point.recipe is not None
        if chooses_ranges(point):
            key = (point.recipe, str(replace(point, rounding=None, overflow=None, accumulator_bits=None)))
            if self._corrected is None or self._corrected[0] != key:
                formats_of = partial(self._formats, point=point)
                found = correct(self._graph, formats_of, self._data, point.recipe, self._options)
                model, steps = SharedModel(found.graph, self._options), tuple(map(str, found.verdicts))
                self._corrected = key, model, found.formats, steps
            _, model, chosen, steps = self._corrected
            return model, point, chosen, steps
        if point.recipe not in self._states:
            self._states[point.recipe] = change_ranges(self._graph, point.recipe)
        state = self._states[point.recipe]
        formats = self._formats(state.graph, point)
        key = (point.recipe, json.dumps(formats, sort_keys=True))
        if self._corrected is None or self._corrected[0] != key:
            corrected = fit_formats(state, formats, self._data, self._options)
            self._corrected = key, SharedModel(corrected.graph, self._options), corrected.formats, ()
        _, model, chosen, steps = self._corrected
        return model, point, chosen, steps
