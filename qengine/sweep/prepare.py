"""From a point to what is run: the one place where a model is changed or given formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qengine.calibration import Observation, choose_formats
from qengine.errors import OptionError
from qengine.formats import Given
from qengine.graph import Graph
from qengine.session import InferenceSession
from qengine.sweep.points import Point


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


def prepare(graph: Graph, observation: Observation | None, point: Point) -> Prepared:
    """Return what a point runs.

    Parameters
    ----------
    graph
        The model as it was loaded.
    observation
        What it holds on the data; needed for points that are calibrated.
    point
        What is wanted.

    Raises
    ------
    QEngineError
        If there is no such recipe, or no format holds the numbers of a tensor.
    """
    if point.recipe != "none":
        raise OptionError(f"no recipe is named '{point.recipe}'; there is none")
    if point.is_float32:
        return Prepared(graph)
    options = point.run_options()
    if point.qformat is not None:
        return Prepared(graph, None, {"qformat": point.qformat, "per_channel": point.per_channel, **options})
    if point.formats is not None:
        return Prepared(graph, json.loads(point.formats), options)
    assert observation is not None
    return Prepared(graph, choose_formats(observation, point.calibration()), options)
