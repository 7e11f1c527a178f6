"""A model's tensors on data, in float32: what is kept of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, QEngineError
from qengine.model.graph import Graph
from qengine.model.steps import Tensor
from qengine.quantization.calibration.histogram import Histogram
from qengine.runtime.plan.plan import MAX_ELEMENTS, refuse_nan
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

Feeds = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Observation:
    """What the tensors of a model hold on some data.

    Attributes
    ----------
    model, optimized : the graph as it was loaded, and after the passes.
    histograms : of the real-valued tensors that runs computed, the inputs included, by the model's own names.
    runs : how many feeds there were.
    """

    model: Graph
    optimized: Graph
    histograms: Mapping[str, Histogram]
    runs: int


def observe(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    feeds: Feeds,
    *,
    threads: int | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Observation:
    """Run a model in float32 on all feeds, one after the other, and keep a histogram of every tensor.

    However many feeds there are, the memory that is used is that of one run.

    Parameters
    ----------
    model, threads, max_elements
        As for `InferenceSession`. A quantized model is observed without the rounding between its operators.
    feeds
        What `InferenceSession.run` takes, any number of times: any iterable, read once and lazily.

    Raises
    ------
    FeedError
        If there are no feeds, one does not fit the model, or an input holds NaN.
    QEngineError
        If the model cannot be read or run.
    """
    session = InferenceSession(model, isa="reference", threads=threads, max_elements=max_elements).in_float32()
    if isinstance(feeds, Mapping):
        raise FeedError("feeds to calibrate on are an iterable of mappings, one for each run: give [feeds] for one")
    seen, runs = _Seen(frozenset(session.graph.tensors())), 0
    for runs, feed in enumerate(feeds, 1):
        try:
            arrays = session.check_feeds(feed)
            with session.limited(), np.errstate(all="ignore"):
                for event in session.trace(arrays, watch=seen.inner):
                    if event.node is None and event.tensor.is_float:
                        refuse_nan(event.tensor, event.array)
                    seen.add(event.tensor, event.array)
        except QEngineError as error:
            raise error.about(f"run {runs} of the data") from None
    if not runs:
        raise FeedError("there is no data to calibrate on: the feeds are empty")
    return Observation(session.graph, session.optimized, seen.histograms, runs)


class _Seen:
    """Histograms that grow."""

    def __init__(self, outer: frozenset[str]) -> None:
        self.histograms: dict[str, Histogram] = {}
        self._outer = outer

    def add(self, tensor: Tensor, array: NDArray[Any]) -> None:
        if tensor.is_float:
            self.histograms.setdefault(tensor.name, Histogram()).add(array)

    def inner(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Count what a graph inside of a node computes; what it captures has been counted."""
        if tensor.name not in self._outer:
            self.add(tensor, array)
