"""Preparation of points: the one place where a sweep corrects a model and gives it formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from qengine.analysis.sweep.points import Point
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.quantization.calibration import Feeds, Observation, choose_formats
from qengine.quantization.correction import (
    CorrectedModel,
    RecipeState,
    change_ranges,
    fit_formats,
    range_steps,
    steps_of,
)
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

Ranges = tuple[str, ...] | None
"""The corrections that decide the range of a model's tensors; None for the uncorrected model."""

_FOLD_ONLY = ("fold",)  # the passes of every run do the same


@dataclass(frozen=True)
class Prepared:
    """A point that is ready to run.

    Attributes
    ----------
    graph : the model before the passes, corrected where the point says so.
    point : the point.
    formats : formats by tensor; None where the point has one format for all activations, and in float32.
    """

    graph: Graph
    point: Point
    formats: FormatsByName | None = None

    def session(self, options: SessionOptions) -> InferenceSession:
        """Return a session for the point; the options of the sweep change no bit."""
        point = self.point
        if point.is_float32:
            return InferenceSession(self.graph, options.in_float32()).in_float32()
        assert point.rounding is not None
        assert point.overflow is not None
        own = replace(
            options, rounding=point.rounding, overflow=point.overflow, accumulator_bits=point.accumulator_bits
        )
        if self.formats is None:
            return InferenceSession(self.graph, own, qformat=point.qformat, per_channel=point.per_channel)
        return InferenceSession(self.graph, own, formats=self.formats)


def ranges(point: Point) -> Ranges:
    """Return the corrections that decide the range of the tensors of a point."""
    if point.recipe is None or steps_of(point.recipe) == _FOLD_ONLY:
        return None
    return range_steps(point.recipe)


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
        `corrected_for_ranges` and the corrections.
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
        self._graph, self._data, self._observation, self._options = graph, data, observation, options
        self._states: dict[str, RecipeState] = {}
        self._observations: dict[Ranges, Observation] = {}
        self._corrected: tuple[tuple[str, str], CorrectedModel] | None = None  # the last: a grid goes recipe by recipe

    def prepare(self, point: Point) -> Prepared:
        """Return a point that is ready to run.

        Raises
        ------
        QEngineError
            If a correction cannot be made, or no format holds the numbers of a tensor.
        """
        if point.is_float32:
            return Prepared(self._graph, point)
        if ranges(point) is not None:
            corrected = self._corrected_model(point)
            return Prepared(corrected.graph, point, corrected.formats)
        if point.qformat is not None:
            return Prepared(self._graph, point)
        return Prepared(self._graph, point, self._formats(self._graph, point))

    def _formats(self, graph: Graph, point: Point) -> FormatsByName:
        if point.formats is not None:
            formats: FormatsByName = json.loads(point.formats)
            return formats
        if point.qformat is not None:
            session = InferenceSession(graph, qformat=point.qformat, per_channel=point.per_channel)
            return {name: format_to_json(fmt) for name, fmt in session.formats.items()}
        key = ranges(point)
        if key not in self._observations:
            self._observations[key] = self._observation(graph, key)
        return choose_formats(self._observations[key], point.calibration()).formats

    def _corrected_model(self, point: Point) -> CorrectedModel:
        """Return the model of a point, corrected for its formats."""
        assert point.recipe is not None
        if point.recipe not in self._states:
            self._states[point.recipe] = change_ranges(self._graph, point.recipe)
        state = self._states[point.recipe]
        formats = self._formats(state.graph, point)
        key = (point.recipe, json.dumps(formats, sort_keys=True))
        if self._corrected is None or self._corrected[0] != key:
            self._corrected = key, fit_formats(state, formats, self._data, self._options)
        return self._corrected[1]
