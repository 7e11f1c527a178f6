"""From a point to what is run: the one place where a model is changed or given formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qengine.calibration import Observation, choose_formats
from qengine.correction import Corrected, Data, Ranged, change_ranges, fit_formats, ranges_of, steps_of
from qengine.formats import Given, as_given
from qengine.graph import Graph
from qengine.session import InferenceSession
from qengine.sweep.points import Point

Ranges = tuple[str, ...] | None
"""The corrections that decide what a model's tensors hold; None for the model as it is."""

_AS_IT_IS = ("fold",)  # by the passes of every run
_KEPT = 4  # corrected models, for points that differ in how they run


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
    formats: Given | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def session(self, **options: Any) -> InferenceSession:
        """Return a session for the point; options are those that change no bit."""
        found = InferenceSession(self.graph, formats=self.formats, **self.options, **options)
        return found if self.options else found.in_float32()


def ranges(point: Point) -> Ranges:
    """Return which corrections decide what the tensors of a point hold."""
    if point.recipe is None or steps_of(point.recipe) == _AS_IT_IS:
        return None
    return ranges_of(point.recipe)


def ranged(graph: Graph, point: Point) -> Ranged:
    """Return the model of a point, as formats are chosen for it."""
    if ranges(point) is None:
        return Ranged(graph, (), steps=_AS_IT_IS)
    assert point.recipe is not None
    return change_ranges(graph, point.recipe)


class Preparer:
    """Makes what points run, and does once what several have in common.

    Parameters
    ----------
    graph
        The model as it was loaded.
    data
        Feeds, to correct it on.
    observation
        Finds what a model's tensors hold on the data: of what `ranged` gave, and its `ranges`.
    """

    def __init__(self, graph: Graph, data: Data, observation: Callable[[Graph, Ranges], Observation]) -> None:
        self._graph, self._data, self._observation = graph, data, observation
        self._ranged: dict[str | None, Ranged] = {}
        self._observed: dict[Ranges, Observation] = {}
        self._corrected: dict[tuple[str | None, str], Corrected] = {}

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
        if point.qformat is not None and ranges(point) is None:
            return Prepared(self._graph, None, {"qformat": point.qformat, "per_channel": point.per_channel, **options})
        if point.recipe not in self._ranged:
            self._ranged[point.recipe] = ranged(self._graph, point)
        model = self._ranged[point.recipe]
        formats = self._formats(model.graph, point)
        if ranges(point) is None:
            return Prepared(model.graph, formats, options)
        corrected = self._fitted(model, point, formats)
        return Prepared(corrected.graph, corrected.formats, options)

    def _formats(self, graph: Graph, point: Point) -> Given:
        if point.formats is not None:
            found: Given = json.loads(point.formats)
            return found
        if point.qformat is not None:
            session = InferenceSession(graph, qformat=point.qformat, per_channel=point.per_channel)
            return {name: as_given(form) for name, form in session.formats.items()}
        key = ranges(point)
        if key not in self._observed:
            self._observed[key] = self._observation(graph, key)
        return choose_formats(self._observed[key], point.calibration()).formats

    def _fitted(self, model: Ranged, point: Point, formats: Given) -> Corrected:
        key = (point.recipe, json.dumps(formats, sort_keys=True))
        if key not in self._corrected:
            if len(self._corrected) == _KEPT:
                del self._corrected[next(iter(self._corrected))]
            self._corrected[key] = fit_formats(model, formats, self._data)
        return self._corrected[key]
