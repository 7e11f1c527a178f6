"""Observation: a histogram of every tensor that a model computes in float32 on data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets import runs_of
from qengine.errors import FeedError, QEngineError
from qengine.keywords import check_keywords, options_with
from qengine.model.formats.constants import LARGEST
from qengine.model.formats.parts import joins_in_parts
from qengine.model.graph import Graph
from qengine.model.steps import Tensor
from qengine.qformat import Overflow
from qengine.quantization.calibration.channels import ChannelRanges, counts_channels
from qengine.quantization.calibration.histogram import Histogram
from qengine.quantization.calibration.left_out import add_constant_branches, histograms_of_left_out
from qengine.quantization.calibration.masks import scores_of
from qengine.quantization.calibration.sums import Range, before_activations
from qengine.runtime.native.observing import Observer
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.plan.plan import refuse_nan
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

Feeds = Iterable[Mapping[str, Any]]
"""Feeds of one run after the other, each a mapping that `InferenceSession.run` takes."""


@dataclass(frozen=True)
class Observation:
    """Histograms of the tensors of a model on data.

    Attributes
    ----------
    model, optimized : the graph as it was loaded, and after the passes.
    histograms : histogram of every floating-point tensor that a run computed, the inputs included, by the model's own
        names. Scores that a Softmax cannot tell from a mask are counted as the least that it can.
    runs : number of feeds.
    channels : ranges of the channels of outputs, of the parts of those that have a format for each part, and of other
        tensors of 2 or 4 axes.
    notes : remarks for the user.
    sums : smallest and largest value before each Relu and Clip that is fused into an operator, by the name of the
        result; None where they were not observed, as results saturate.
    shared : results that were computed from the histograms, for the next choice of formats.
    """

    model: Graph
    optimized: Graph
    histograms: Mapping[str, Histogram]
    runs: int
    channels: Mapping[str, ChannelRanges] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sums: Mapping[str, Range] | None = None
    shared: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def observe(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    feeds: Feeds,
    options: SessionOptions | None = None,
    **keywords: Unpack[SessionKeywords],
) -> Observation:
    """Run a model in float32 on all feeds, one after the other, and return a histogram of every tensor.

    The memory is that of one run, however many feeds there are.

    Parameters
    ----------
    model
        Model that `InferenceSession` takes. A quantized model runs without the rounding between its operators.
    feeds
        Data, see `calibrate`.
    options, keywords
        See `SessionOptions`. The runs are in float32, so that only `isa`, `threads`, the limits (``max_...``) and
        whether the rules fuse functions have an effect; and where results wrap, what a fused Relu or
        Clip bounds is observed too.

    Raises
    ------
    OptionError
        If the value of an option is not allowed.
    FeedError
        If there are no feeds, one does not fit the model, or an input holds NaN.
    QEngineError
        If the model cannot be read or run.
    """
    check_keywords("observe", keywords, SessionKeywords)
    given = options_with(SessionOptions, options, keywords)
    rules, options = given.rules_of_run(), given.in_float32()
    results_wrap = rules.overflow is Overflow.WRAP
    plain = InferenceSession(model, options).in_float32()
    plain = (plain if rules.fuses_functions else plain.fusing(False)).giving_hidden()
    session = plain.giving_sums() if results_wrap else plain
    feeds = runs_of(feeds, plain)
    counts, runs = _Histograms(session.graph), 0
    observers: dict[int, Observer] = {}
    arrays: Mapping[str, Any] = {}
    for runs, feed in enumerate(feeds, 1):
        try:
            arrays = session.check_feeds(feed)
            with session.limited(), np.errstate(all="ignore"):
                observer = session.observer(arrays, counts.as_arrays)
                if observer is None:
                    _trace(session, arrays, counts)
                else:
                    observers[id(observer)] = observer
                    _count(observer, arrays, counts)
        except QEngineError as error:
            raise error.about(f"run {runs} of the data") from None
    for observer in observers.values():
        counts.take(observer)
    if not runs:
        raise FeedError("there is no data to calibrate on: the feeds are empty")
    add_constant_branches(session.graph, counts.by_name)
    others, notes = histograms_of_left_out(session, arrays, counts.by_name)
    histograms, sums = counts.by_name | others, None
    if results_wrap:
        sums = dict[str, Range]()
        for name, before in before_activations(plain.graph, plain.optimized).items():
            counts.channels.pop(before, None)
            found = histograms.pop(before, None)
            if found is not None and found.finite:
                sums[name] = found.least, found.most
    return Observation(plain.graph, plain.optimized, histograms, runs, counts.channels, notes, sums)


def _trace(session: InferenceSession, arrays: Mapping[str, Any], counts: _Histograms) -> None:
    """Run the reference, and count every tensor."""
    for event in session.trace(arrays, on_inner_tensor=counts.add_inner):
        if event.node is None and event.tensor.is_float:
            refuse_nan(event.tensor, event.array)
        counts.add(event.tensor, event.array)


def _count(observer: Observer, arrays: Mapping[str, Any], counts: _Histograms) -> None:
    """Run on native kernels, which count most tensors; count the inputs and the others here."""
    for tensor in observer.plan.inputs:
        if tensor.is_float:
            refuse_nan(tensor, arrays[tensor.name])
            counts.add(tensor, arrays[tensor.name])
    for bound_step in observer.plan.steps:  # histograms are in the order of the run
        if bound_step.output.is_float:
            counts.begin(bound_step.output.name)
    observer.run(arrays, counts.add)
    for name, extremes in observer.extremes.items():
        counts.by_name[name].end_run(*extremes)


def _extremes(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the smallest and the largest finite value, as a histogram counts them; inf and -inf for none."""
    finite = values[np.abs(values) < LARGEST] if values.size else values
    return (float(finite.min()), float(finite.max())) if finite.size else (float("inf"), float("-inf"))


class _Histograms:
    """Growing histograms of tensors, by name.

    Parameters
    ----------
    graph
        The model.

    Attributes
    ----------
    by_name : histograms.
    channels : ranges of channels.
    as_arrays : names of the tensors that are needed as arrays: those whose channels count, and what only a Softmax
        reads.
    """

    def __init__(self, graph: Graph) -> None:
        self.by_name: dict[str, Histogram] = {}
        self.channels: dict[str, ChannelRanges] = {}
        self._outer, self._scores = frozenset(graph.tensors()), scores_of(graph)
        joins = joins_in_parts(graph, ())
        outputs = [value.name for value in graph.outputs]
        self._watched = frozenset(p for name in outputs for p in (joins[name].inputs if name in joins else [name]))
        self.as_arrays = self._watched | self._scores.keys()

    def begin(self, name: str) -> None:
        """Begin the histogram of a tensor, if there is none yet."""
        self.by_name.setdefault(name, Histogram())

    def take(self, observer: Observer) -> None:
        """Add what native kernels have counted."""
        for name, exponent, found in observer.counts():
            self.by_name[name].add_counts(found, exponent)
        shapes = {bound_step.output.name: bound_step.output.shape for bound_step in observer.plan.steps}
        for name, most in observer.channels():
            if counts_channels(shapes[name]):
                self.channels.setdefault(name, ChannelRanges()).join(most.astype(np.float64))

    def add(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Count the elements of a tensor, if they are floating-point numbers."""
        if tensor.is_float:
            scores = self._scores.get(tensor.name)
            values = array if scores is None else scores.visible(array)
            histogram = self.by_name.setdefault(tensor.name, Histogram())
            histogram.add(values)
            histogram.end_run(*_extremes(values))
            if tensor.name in self._watched or counts_channels(array.shape):
                self.channels.setdefault(tensor.name, ChannelRanges()).add(array)

    def add_inner(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Count the elements of a tensor of a graph inside of a node, unless the node captured it."""
        if tensor.name not in self._outer:
            self.add(tensor, array)
