"""The work of a sweep as workers receive it, and the computation of a point.

Model, data and the folder travel as absolute paths and digests: they may be large, and workers on other machines see
them in a shared folder. A worker that sees another model or other data refuses to work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qengine
from qengine.analysis.inspection.costs import Workload, all_costs
from qengine.analysis.sweep.key import ARITHMETIC, MEASURES, Context, graph_digest
from qengine.analysis.sweep.measure import Figures, Meter, metrics_of
from qengine.analysis.sweep.points import Point
from qengine.analysis.sweep.prepare import Preparer, Ranges
from qengine.analysis.sweep.row import Outcome
from qengine.analysis.sweep.shared_results import Float32Outputs, float32_path, load_histograms
from qengine.data import zoo
from qengine.data.datasets import Dataset, open_dataset
from qengine.data.datasets.runs import Feeds, Runs
from qengine.data.images import PixelScale
from qengine.errors import QEngineError, SweepError
from qengine.metrics.tasks import task_of
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.qformat import fraction_bits_of
from qengine.quantization.calibration import Observation
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.threads import BLAS


@dataclass(frozen=True)
class ModelAndData:
    """A model and its data, as any process can open them.

    Attributes
    ----------
    model, data : absolute paths, or the names of bundled ones.
    inputs : inputs that are the same in every run.
    pixel_scale : scale between pixels and numbers.
    batch, limit, max_elements : see `open_dataset`.
    """

    model: str
    data: str
    inputs: Mapping[str, NDArray[Any]]
    pixel_scale: PixelScale
    batch: int | None
    limit: int | None
    max_elements: int

    def graph(self) -> Graph:
        """Read the model."""
        entry = zoo.ENTRIES.get(self.model)
        return load(entry.path if entry else Path(self.model))

    def dataset(self, graph: Graph) -> Dataset:
        """Open the data."""
        return open_dataset(
            self.data,
            graph,
            pixel_scale=self.pixel_scale,
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


class OpenedWork:
    """The model and the data of a sweep, opened in this process.

    Raises
    ------
    SweepError
        If this process sees another model, other data or another version of qengine than the sweep began with.
    """

    def __init__(self, work: Work) -> None:
        context, source = work.context, work.source
        if (context.version, context.arithmetic, context.measures) != (qengine.__version__, ARITHMETIC, MEASURES):
            raise SweepError(
                f"a worker has qengine {qengine.__version__}, and the sweep is by {context.version}: install the same"
            )
        try:
            self.graph = source.graph()
            self.dataset = source.dataset(self.graph)
            is_same = graph_digest(self.graph) == context.model and self.dataset.digest == context.data
        except QEngineError as error:
            raise SweepError(f"a worker cannot open the model and the data: {error}") from None
        if not is_same:
            raise SweepError(
                f"a worker sees another model in {source.model}, or other data in {source.data}, than the sweep began "
                "with: do not change them while it runs, and let all workers share the folder"
            )
        self.work = work
        self.runs = Runs(self.dataset.batches, len(self.dataset))
        self._preparer = Preparer(self.graph, Feeds(self.runs), self._histograms, work.options)
        self.exact = Float32Outputs(float32_path(Path(work.folder), context.key), context.key)
        self.task, self.evaluated_output = task_of(
            next(iter(self.exact)),
            has_labels=self.dataset.labels is not None,
            targets=self.runs.first.targets,
            pixel_scale=source.pixel_scale,
        )

    def _histograms(self, graph: Graph, corrections: Ranges) -> Observation:
        return load_histograms(Path(self.work.folder), self.work.context.key, corrections, graph)

    def compute(self, point: Point) -> Outcome:
        """Run a point on all data, and return its figures and costs."""
        started = time.perf_counter()
        work = self.work
        with BLAS.limited(work.options.threads):  # of corrections, which workers share
            prepared = self._preparer.prepare(point)
        session = prepared.session(work.options)
        metrics = metrics_of(self.task, ssim=work.context.ssim)
        meter = Meter(self.task, self.evaluated_output, work.source.pixel_scale, metrics)
        costs: Figures | None = None
        for batch, exact in zip(self.runs, self.exact, strict=True):
            if costs is None:
                costs = costs_of(Workload(session, batch.feeds, batch.count))
            codes: Mapping[str, NDArray[Any]] = exact
            if not point.is_float32:
                codes = dict(zip(exact, session.run(list(exact), batch.feeds, raw=True), strict=True))
            meter.add(batch, codes, _real(codes, session, point), exact)
        assert costs is not None
        return Outcome(meter.measures(), costs, meter.codes(), time.perf_counter() - started)


def costs_of(work: Workload) -> Figures:
    """Return every cost of a session, by column."""
    return Figures({one.column: one.total(work) for one in all_costs()})


def _real(codes: Mapping[str, NDArray[Any]], session: InferenceSession, point: Point) -> Mapping[str, NDArray[Any]]:
    """Return the real numbers of codes; tensors without a format are returned unchanged."""
    if point.is_float32:
        return codes
    real = dict(codes)
    for name, array in codes.items():
        fmt = session.formats.get(name)
        if fmt is not None and array.dtype.kind in "iu":
            real[name] = np.ldexp(array.astype(np.float64), -fraction_bits_of(fmt, array.ndim)).astype(np.float32)
    return real


_lock = threading.Lock()
_opened: dict[tuple[str, str], OpenedWork] = {}


def opened(work: Work) -> OpenedWork:
    """Return the opened model and data of a sweep; a process opens them once."""
    with _lock:
        key = (work.folder, work.context.key)
        if key not in _opened:
            _opened.clear()
            _opened[key] = OpenedWork(work)
        return _opened[key]


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
