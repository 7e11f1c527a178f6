"""An evaluation from beginning to end: all samples once, in fixed point and in float32 in step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.evaluation.chance import hardly_more_than_chance
from qengine.analysis.evaluation.result import Evaluation, MetricFigures
from qengine.analysis.evaluation.samples import Classes, WorstSamples
from qengine.analysis.paired_run import ComparedOutput, run_paired
from qengine.analysis.report import RunTotals
from qengine.data import zoo
from qengine.data.applied import Base, applied, base_of_session
from qengine.data.datasets import Batch, Dataset, Labels, in_fast_batches, open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.data.scale_check import scale_notes
from qengine.errors import OptionError, QEngineError, UnsupportedError
from qengine.keywords import check_keywords, options_with
from qengine.metrics.declaration import Metric, Reference, all_metrics, find_metric
from qengine.metrics.meter import Meter
from qengine.metrics.tasks import Outputs, Task, check_labels, task_of
from qengine.model.graph import Graph
from qengine.progress import Progress, working
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

_WORST = 10

Collect = Callable[[Mapping[str, ComparedOutput]], None]
"""Function that is called with the outputs of each run."""


def evaluate(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph | InferenceSession,
    data: Any = None,
    *,
    labels: Labels | None = None,
    preprocessing: Preprocessing | None = None,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    batch: int | None = None,
    limit: int | None = None,
    metrics: Sequence[str] = (),
    outputs: Sequence[str] | None = None,
    collect: Collect | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[SessionKeywords],
) -> Evaluation:
    """Run a model on all samples of a data set in fixed point and in float32, and return the figures of both.

    Each sample is run once, both arithmetics in step, in the memory of one run. Without formats, the figures are those
    of float32 alone.

    Parameters
    ----------
    model
        Model that `InferenceSession` takes, the name of a bundled one, or a session.
    data
        Samples, as `qengine.open_dataset` takes them; None for the set of a bundled model.
    labels
        Labels that the data does not hold; see `qengine.open_dataset`.
    preprocessing
        Conversion of pixels to numbers; None for what the formats file or the quantized model records, or for that of a
        bundled set or model, and otherwise 0..255.
    inputs
        Inputs that are the same in every run, by name.
    batch
        Samples in a run; None for as many as the model takes, or, where it takes any number, some that fit together.
    limit
        Number of samples to use, from the first; None for all.
    metrics
        Names of metrics that the result must have: data that does not have one is refused after its first run.
    outputs
        Tensors to measure, which may lie inside the model; None for the model's outputs.
    collect
        Function that is called with the outputs of each run, to keep them; None to keep nothing.
    progress
        Function that is called with the progress.
    keywords
        Fields of `SessionOptions`, such as ``qformat="Q4.3"``; those of a session are replaced.

    Returns
    -------
    Evaluation
        The metrics of both arithmetics, the figures of every tensor, and the samples that change most.

    Raises
    ------
    OptionError
        If an option has no meaning, or the data does not have a metric.
    QEngineError
        If the model, the data, or a run fails.

    Examples
    --------
    >>> import qengine
    >>> result = qengine.evaluate("digits", limit=100, qformat="Q2.2")
    >>> result.float32["top1"], result.fixed["top1"]
    (0.99, 0.96)
    """
    check_keywords("evaluate", keywords, SessionKeywords)
    began = time.perf_counter()
    session = _session(model, keywords)
    base = _base(model, session, data)
    dataset, names = _opened(model, session, data, labels, preprocessing or base.preprocessing, inputs, batch, limit)
    scale = preprocessing or dataset.preprocessing
    pixels = applied(base, dataset.preprocessing, dataset.pixels, typed=("preprocessing",) if preprocessing else ())
    work = _Evaluation(session, scale, metrics, outputs, collect)
    with (progress or working)("evaluating", len(dataset)) as advance, np.errstate(all="ignore"):
        for number, one in enumerate(dataset.batches(), 1):
            try:
                if number == 1:
                    work.note(
                        scale_notes(session, one.feeds, pixels, base, has_formats=session.options.formats is not None)
                    )
                work.add(one, dataset.labels)
            except OptionError:
                raise
            except QEngineError as error:
                raise error.about(f"run {number} of data {dataset.name}") from None
            advance(one.count)
    result = work.result(*names, dataset, time.perf_counter() - began)
    result = result if dataset.reads_pixels else replace(result, preprocessing=None)
    return result if isinstance(data, Dataset) else replace(result, notes=(*dataset.notes, *result.notes))


def _session(model: Any, keywords: Mapping[str, Any]) -> InferenceSession:
    """Return a session of a model in any form."""
    if isinstance(model, InferenceSession):
        return model.with_options(options_with(SessionOptions, model.options, keywords)) if keywords else model
    known = zoo.ENTRIES[model].path if isinstance(model, str) and model in zoo.ENTRIES else model
    return InferenceSession(known, options_with(SessionOptions, None, keywords))


def _base(model: Any, session: InferenceSession, data: Any) -> Base:
    """Return the preprocessing that holds where none is given."""
    names = [one for one in (data, model) if isinstance(one, str)]
    entry = next((zoo.ENTRIES[name] for name in names if name in zoo.ENTRIES), None)
    return base_of_session(session, entry)


def _opened(
    model: Any,
    session: InferenceSession,
    data: Any,
    labels: Labels | None,
    preprocessing: Preprocessing,
    inputs: Mapping[str, NDArray[Any]] | None,
    batch: int | None,
    limit: int | None,
) -> tuple[Dataset, tuple[str, str]]:
    """Return the data, and the names of the model and of the data."""
    entry = zoo.ENTRIES.get(model) if isinstance(model, str) else None
    name = os.fspath(model) if isinstance(model, str | os.PathLike) else session.graph.name
    if isinstance(data, Dataset):
        return open_dataset(data, session, labels=labels, fixed=inputs, batch=batch, limit=limit), (name, data.name)
    if data is None and entry is None:
        raise OptionError("data is needed to run the model on: give data, or a bundled model, which has its own")
    dataset = open_dataset(
        model if data is None else data,
        session.graph,
        labels=labels,
        preprocessing=preprocessing,
        fixed=inputs,
        batch=batch,
        limit=limit,
        max_elements=session.options.max_elements,
    )
    return in_fast_batches(dataset, session.graph, batch), (name, dataset.name)


class _Evaluation:
    """Sums of an evaluation, from the first run to the last."""

    def __init__(
        self,
        session: InferenceSession,
        preprocessing: Preprocessing,
        required: Sequence[str],
        outputs: Sequence[str] | None,
        collect: Collect | None,
    ) -> None:
        self._session, self._preprocessing, self._required, self._collect = session, preprocessing, required, collect
        self._fixed, self._float32 = session.giving_hidden(), session.in_float32().giving_hidden()
        names = dict.fromkeys(outputs or (value.name for value in session.graph.outputs))
        declared = session.graph.values
        self._outputs = [n for n in names if n not in declared or declared[n].container is None]
        if not self._outputs:
            raise UnsupportedError("no output of the model is a tensor: there is nothing to measure")
        self._totals = RunTotals(self._fixed)
        self._metrics: list[tuple[Metric, Reference]] = []
        self._notes: dict[str, None] = {}
        self._samples = 0
        self._task, self._output = Task.OTHER, self._outputs[0]
        self._meters: list[Meter] = []
        self._worst, self._classes = WorstSamples(_WORST, has_classes=False), Classes()

    def note(self, notes: Iterable[str]) -> None:
        """Add remarks for the user."""
        self._notes |= dict.fromkeys(notes)

    def add(self, batch: Batch, labels: NDArray[np.int64] | None) -> None:
        """Run a batch, and add its figures; the labels are those of all samples."""
        if self._session.in_fixed_point:
            run = run_paired(self._fixed, self._float32, batch.feeds, self._outputs)
            self._totals.add(run)
            found = run.outputs
        else:
            arrays = self._session.run(self._outputs, batch.feeds)
            found = {name: ComparedOutput(a, a, a) for name, a in zip(self._outputs, arrays, strict=True)}
        real = {name: one.real for name, one in found.items()}
        exact = {name: one.exact for name, one in found.items()}
        if self._collect is not None:
            self._collect(found)
        if not self._samples:
            self._begin(batch, exact, labels)
        float32, fixed = self._meters
        float32.add(batch, exact, exact)
        name = self._output
        if self._session.in_fixed_point:
            fixed.add(batch, real, exact)
            self._worst.add(self._samples, batch.count, real[name], exact[name], batch.labels)
        if self._task is Task.CLASSES:
            self._classes.add(real[name] if self._session.in_fixed_point else None, exact[name], batch.labels)
        self._samples += batch.count

    def _begin(self, batch: Batch, exact: Outputs, labels: NDArray[np.int64] | None) -> None:
        """Find the task, and the metrics that the data has."""
        has_labels = labels is not None
        self._task, self._output = task_of(
            exact, has_labels=has_labels, targets=batch.targets, preprocessing=self._preprocessing
        )
        check_labels(self._task, self._output, exact, labels)
        for name in self._required:
            found = find_metric(name, self._task, has_labels=has_labels)
            if found.check is not None:
                found.check()
        for metric in all_metrics():
            if not metric.is_available(self._task, has_labels=has_labels):
                continue
            try:
                if metric.check is not None:
                    metric.check()
            except QEngineError as error:
                self._notes[f"no {metric}: {error}"] = None
                continue
            is_target = metric.reference is Reference.TARGET and self._output not in batch.targets
            self._metrics.append((metric, Reference.FLOAT32 if is_target else metric.reference))
        common = self._task, self._output, self._preprocessing
        own = [metric for metric, reference in self._metrics if reference is not Reference.FLOAT32]
        self._meters = [Meter(*common, own), Meter(*common, [metric for metric, _ in self._metrics])]
        self._worst = WorstSamples(_WORST, has_classes=self._task is Task.CLASSES)

    def result(self, model: str, data: str, dataset: Dataset, seconds: float) -> Evaluation:
        """Return the figures of all runs."""
        in_fixed_point = self._session.in_fixed_point
        float32, fixed = (meter.figures() for meter in self._meters)
        figures = tuple(
            MetricFigures(
                metric, reference, float32.get(metric.column), fixed[metric.column] if in_fixed_point else None
            )
            for metric, reference in self._metrics
            if in_fixed_point or reference is not Reference.FLOAT32
        )
        return Evaluation(
            model=model,
            data=data,
            task=self._task,
            evaluated_output=self._output,
            samples=self._samples,
            in_fixed_point=in_fixed_point,
            preprocessing=self._preprocessing,
            metrics=figures,
            sqnr_by_output=self._meters[1].sqnr_by_output() if in_fixed_point else {},
            tensors=self._totals.tensors,
            worst=tuple(replace(one, name=_key(dataset, one.index)) for one in self._worst.worst),
            classes=dataset.classes,
            flips=self._worst.flips if in_fixed_point and self._task is Task.CLASSES else None,
            confusion=self._classes.confusion(),
            formats=dict(self._session.formats),
            islands=self._totals.islands,
            notes=(
                *(self._totals.notes() if in_fixed_point else self._session.notes),
                *self._notes,
                *hardly_more_than_chance(figures, dataset.classes, self._samples),
            ),
            seconds=seconds,
        )


def _key(dataset: Dataset, index: int) -> str | None:
    """Return the name of a sample; None where it has none."""
    return str(dataset.keys[index]) if index < len(dataset.keys) else None
