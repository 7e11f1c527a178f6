"""The work of a sweep as workers receive it, and the computation of a point.

Model, data and the folder travel as absolute paths and digests: they may be large, and workers on other machines see
them in a shared folder. A worker that sees another model or other data refuses to work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qengine
from qengine.analysis.sweep.key import ARITHMETIC, MEASURES, Context
from qengine.analysis.sweep.measure import CodesMeter, metrics_of
from qengine.analysis.sweep.points import Point
from qengine.analysis.sweep.prepare import ObservationKey, Preparer, Ranges
from qengine.analysis.sweep.row import Outcome
from qengine.analysis.sweep.shared_results import Float32Outputs, float32_path, load_histograms
from qengine.data import zoo
from qengine.data.datasets import Dataset, open_dataset
from qengine.data.datasets.runs import Feeds, Runs
from qengine.data.preprocessing import Preprocessing
from qengine.errors import QEngineError, SweepError
from qengine.kernels.build import build_seconds
from qengine.metrics.tasks import task_of
from qengine.model.digest import graph_digest
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.qformat import PartFormats, fraction_bits_of
from qengine.quantization.calibration import Observation
from qengine.runtime.options import SessionOptions
from qengine.runtime.plan.plan import decode_output
from qengine.runtime.session import InferenceSession
from qengine.threads import BLAS


@dataclass(frozen=True)
class ModelAndData:
    """A model and its data, as any process can open them.

    Attributes
    ----------
    model, data : absolute paths, or the names of bundled ones; no data where it is in memory.
    labels : labels that the data does not hold; see `open_dataset`.
    is_spilled : whether the data was in memory when the sweep began, and is in a file that it wrote.
    inputs : inputs that are the same in every run.
    preprocessing : scale between pixels and numbers.
    batch, limit, max_elements : see `open_dataset`.
    """

    model: str
    data: str | None
    inputs: Mapping[str, NDArray[Any]]
    preprocessing: Preprocessing
    batch: int | None
    limit: int | None
    max_elements: int
    labels: Any = None
    is_spilled: bool = False

    def graph(self) -> Graph:
        """Read the model."""
        entry = zoo.ENTRIES.get(self.model)
        return load(entry.path if entry else Path(self.model))

    def dataset(self, graph: Graph) -> Dataset:
        """Open the data."""
        return open_dataset(
            self.data,
            graph,
            labels=self.labels,
            preprocessing=self.preprocessing,
            fixed=self.inputs,
            batch=self.batch,
            limit=self.limit,
            max_elements=self.max_elements,
        )


@dataclass(frozen=True)
class Work:
    """Everything from which the points of a sweep are computed.

    Attributes
    ----------
    source : the model and the data.
    folder : folder of the histograms and the outputs in float32.
    context : part of every key that the points have in common.
    options : options of every session.
    """

    source: ModelAndData
    folder: str
    context: Context
    options: SessionOptions


@dataclass(frozen=True)
class Source:
    """The model and the data of a sweep, open.

    Attributes
    ----------
    graph : the model.
    dataset, runs : the data, and the runs over it.
    observations : histograms of the model, by what decides them, as far as they are known here.
    """

    graph: Graph
    dataset: Dataset
    runs: Runs
    observations: Mapping[ObservationKey, Observation] = field(default_factory=dict)

    @classmethod
    def opened(cls, work: Work) -> Source:
        """Open the model and the data of a sweep.

        Raises
        ------
        SweepError
            If this process sees another model, other data or another version of qengine than the sweep began with.
        """
        context, source = work.context, work.source
        if (context.version, context.arithmetic, context.measures) != (qengine.__version__, ARITHMETIC, MEASURES):
            raise SweepError(
                f"a worker has qengine {qengine.__version__}, and the sweep is by {context.version}: install the same"
            )
        try:
            graph = source.graph()
            dataset = source.dataset(graph)
            is_same = graph_digest(graph) == context.model and (source.is_spilled or dataset.digest == context.data)
        except QEngineError as error:
            raise SweepError(f"a worker cannot open the model and the data: {error}") from None
        if not is_same:
            raise SweepError(
                f"a worker sees another model in {source.model}, or other data in {source.data}, than the sweep began "
                "with: do not change them while it runs, and let all workers share the folder"
            )
        return cls(graph, dataset, Runs(dataset.batches, len(dataset)))


class OpenedWork:
    """The work of a sweep in this process: the model, the data, and what its points share.

    Parameters
    ----------
    work
        The work.
    source
        The model and the data.
    """

    def __init__(self, work: Work, source: Source) -> None:
        context = work.context
        self.work, self.runs, self._observations = work, source.runs, source.observations
        self._preparer = Preparer(source.graph, Feeds(self.runs), self._histograms, work.options)
        self.exact = Float32Outputs(float32_path(Path(work.folder), context.key), context.key)
        self.task, self.evaluated_output = task_of(
            next(iter(self.exact)),
            has_labels=source.dataset.labels is not None,
            targets=self.runs.first.targets,
            preprocessing=work.source.preprocessing,
        )

    def _histograms(self, graph: Graph, corrections: Ranges) -> Observation:
        if (corrections, graph.fuses) in self._observations:
            return self._observations[corrections, graph.fuses]
        return load_histograms(Path(self.work.folder), self.work.context.key, corrections, graph)

    def compute(self, point: Point) -> Outcome:
        """Run a point on all data, and return its figures and costs."""
        started, built = _clock(), build_seconds()
        work, inference, shapes = self.work, 0.0, set[Any]()
        with BLAS.limited(work.options.threads):  # of corrections, which workers share
            prepared = self._preparer.prepare(point)
        session = prepared.session(work.options)
        metrics = metrics_of(self.task, ssim=work.context.ssim)
        meter = CodesMeter(self.task, self.evaluated_output, work.source.preprocessing, metrics)
        for batch, exact in zip(self.runs, self.exact, strict=True):
            codes: Mapping[str, NDArray[Any]] = exact
            if not point.is_float32:
                names = list(exact)
                own = _shapes(batch.feeds)
                if own not in shapes:
                    session.prepare(names, batch.feeds, raw=True)
                    shapes.add(own)
                begun = _clock()
                codes = dict(zip(exact, session.run(names, batch.feeds, raw=True), strict=True))
                inference += _clock() - begun
            meter.add(batch, codes, _real(codes, session, point, batch.feeds), exact)
        first = self.runs.first
        costs = prepared.model.costs(session.formats, first.feeds, first.count)
        seconds, compiling = _clock() - started, build_seconds() - built
        steps = "; ".join(prepared.steps) or None
        return Outcome(meter.measures(), costs, meter.codes(), seconds, inference, compiling, steps=steps)


def _clock() -> float:
    """Return a time in seconds that stands still while kernels are compiled."""
    return time.perf_counter() - build_seconds()


def _shapes(feeds: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the shapes of all feeds that are arrays."""
    return tuple(feed.shape if isinstance(feed, np.ndarray) else () for feed in feeds.values())


def _real(
    codes: Mapping[str, NDArray[Any]], session: InferenceSession, point: Point, feeds: Mapping[str, Any]
) -> Mapping[str, NDArray[Any]]:
    """Return the real numbers of codes; tensors without a format are returned unchanged."""
    if point.is_float32:
        return codes
    real = dict(codes)
    for name, array in codes.items():
        fmt = session.formats.get(name)
        if isinstance(fmt, PartFormats):
            real[name] = _of_parts(name, list(codes), array, session, feeds)
        elif fmt is not None and array.dtype.kind in "iu":
            real[name] = np.ldexp(array.astype(np.float64), -fraction_bits_of(fmt, array.ndim)).astype(np.float32)
    return real


def _of_parts(
    name: str, names: list[str], codes: NDArray[Any], session: InferenceSession, feeds: Mapping[str, Any]
) -> NDArray[Any]:
    """Return the real numbers of codes in parts, whose lengths a plan knows; where there is no plan, of another run."""
    plan = session.plans.whole_plan(session.check_feeds(feeds), names)
    if plan is None:
        found: NDArray[Any] = session.run([name], feeds)[0]
        return found
    return decode_output(plan.outputs[name], codes, raw=False)


_lock = threading.Lock()
_opened: dict[tuple[str, str], OpenedWork] = {}


def opened(work: Work) -> OpenedWork:
    """Return the opened model and data of a sweep; a process opens them once."""
    with _lock:
        key = (work.folder, work.context.key)
        if key not in _opened:
            _opened.clear()
            _opened[key] = OpenedWork(work, Source.opened(work))
        return _opened[key]


@contextmanager
def kept_open(work: Work, source: Source) -> Iterator[None]:
    """Let `opened` take a model and data that this process has opened, while the context lasts."""
    key = (work.folder, work.context.key)
    with _lock:
        _opened.clear()
        _opened[key] = OpenedWork(work, source)
    try:
        yield
    finally:
        with _lock:
            _opened.pop(key, None)


def evaluate(work: Work, point: Point) -> Outcome:
    """Compute a point; an outcome with an error stands for a point that fails.

    Raises
    ------
    SweepError
        If no point can be computed here.
    """
    here = opened(work)
    started = time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            return here.compute(point)
    except SweepError:
        raise
    except QEngineError as error:
        reason = str(error)
    except MemoryError:
        reason = "not enough memory"
    except Exception as error:  # the other points continue
        reason = str(QEngineError(f"{type(error).__name__}: {error}"))
    return Outcome(seconds=time.perf_counter() - started, error=reason)
