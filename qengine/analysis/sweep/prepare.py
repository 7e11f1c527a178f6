"""From a point to what is run: the one place where a model is changed or given formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from qengine.runtime.session import InferenceSession

Ranges = tuple[str, ...] | None
"""The corrections that decide what a model's tensors hold; None for the model as it is."""

_AS_IT_IS = ("fold",)  # by the passes of every run


@dataclass(frozen=True)
class Prepared:
    """What a point runs.

    Attributes
    ----------
    graph : the model, as it is before the passes.
    formats : by tensor; None where `options` give them.
    options : what else `InferenceSession` is told of fixed point; nothing in float32.
    """

    graph: Graph
    formats: FormatsByName | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def session(self, **options: Any) -> InferenceSession:
        """Return a session for the point; options are those that change no bit."""
        found = InferenceSession(self.graph, formats=self.formats, **self.options, **options)
        return found if self.options else found.in_float32()


def ranges(point: Point) -> Ranges:
    """Return which corrections decide what the tensors of a point hold."""
    if point.recipe is None or steps_of(point.recipe) == _AS_IT_IS:
        return None
    return range_steps(point.recipe)


def changed(graph: Graph, corrections: Ranges) -> Graph:
    """Return the model for which formats are chosen: of all points that have these `ranges`."""
    return graph if corrections is None else change_ranges(graph, corrections).graph


class Preparer:
    """Makes what points run, and does once what several have in common.

    Parameters
    ----------
    graph
        The model as it was loaded.
    data
        Feeds, to correct it on.
    observation
        Finds what a model's tensors hold on the data: of what `changed` gave, and the corrections.
    """

    def __init__(self, graph: Graph, data: Feeds, observation: Callable[[Graph, Ranges], Observation]) -> None:
        self._graph, self._data, self._observation = graph, data, observation
        self._ranged: dict[str, RecipeState] = {}
        self._observed: dict[Ranges, Observation] = {}
        self._corrected: tuple[tuple[str, str], CorrectedModel] | None = None  # the last: a grid goes recipe by recipe

    def prepare(self, point: Point) -> Prepared:
        """Return what a point runs.

        Raises
        ------
        QEngineError
            If a correction cannot be made, or no format holds the numbers of a tensor.
        """
        if point.is_float32:
            return Prepared(self._graph)
        options = point.run_options()
        if ranges(point) is not None:
            corrected = self._fitted(point)
            return Prepared(corrected.graph, corrected.formats, options)
        if point.qformat is not None:
            return Prepared(self._graph, None, {"qformat": point.qformat, "per_channel": point.per_channel, **options})
        return Prepared(self._graph, self._formats(self._graph, point), options)

    def _formats(self, graph: Graph, point: Point) -> FormatsByName:
        if point.formats is not None:
            found: FormatsByName = json.loads(point.formats)
            return found
        if point.qformat is not None:
            session = InferenceSession(graph, qformat=point.qformat, per_channel=point.per_channel)
            return {name: format_to_json(form) for name, form in session.formats.items()}
        key = ranges(point)
        if key not in self._observed:
            self._observed[key] = self._observation(graph, key)
        return choose_formats(self._observed[key], point.calibration()).formats

    def _fitted(self, point: Point) -> CorrectedModel:
        """Return the model of a point, corrected for its formats."""
        assert point.recipe is not None
        if point.recipe not in self._ranged:
            self._ranged[point.recipe] = change_ranges(self._graph, point.recipe)
        ranged = self._ranged[point.recipe]
        formats = self._formats(ranged.graph, point)
        key = (point.recipe, json.dumps(formats, sort_keys=True))
        if self._corrected is None or self._corrected[0] != key:
            self._corrected = key, fit_formats(ranged, formats, self._data)
        return self._corrected[1]
