"""What a worker is told, and how it computes a point.

Model, data and what is kept of them travel as absolute paths and digests: they may be large, and workers on other
machines see them in a folder that is shared. A worker that sees anything else refuses.
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
from qengine.analysis.sweep.costs import bit_operations, weight_bytes
from qengine.analysis.sweep.key import ARITHMETIC, MEASURES, Context, graph_digest
from qengine.analysis.sweep.measure import Meter, task_of
from qengine.analysis.sweep.observed import Float32Outputs, float32_path, load_histograms
from qengine.analysis.sweep.points import Point
from qengine.analysis.sweep.prepare import Preparer, Ranges
from qengine.analysis.sweep.row import Outcome
from qengine.data import zoo
from qengine.data.datasets import Dataset, open_dataset
from qengine.data.datasets.runs import Feeds, Runs
from qengine.data.images import PixelScale
from qengine.errors import QEngineError, SweepError
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.qformat import fraction_bits_of
from qengine.quantization.calibration import Observation
from qengine.runtime.session import InferenceSession
from qengine.threads import BLAS


@dataclass(frozen=True)
class Source:
    """A model and its data, as they can be opened anywhere.

    Attributes
    ----------
    model, data : absolute paths, or the names of bundled ones.
    inputs : what is the same in every run.
    pixel_scale : how pixels and numbers go together.
    batch, limit, max_elements : as of `open_dataset`.
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
    """What all points of a sweep are computed from.

    Attributes
    ----------
    source : the model and the data.
    folder : where histograms and the outputs in float32 are kept.
    context : what the keys are made of.
    isa, threads : of every session.
    """

    source: Source
    folder: str
    context: Context
    isa: str | None
    threads: int | None


class Bench:
    """A sweep's model and data, opened.

    Raises
    ------
    SweepError
        If something is not what the sweep is about.
    """

    def __init__(self, work: Work) -> None:
        context, source = work.context, work.source
        theirs = (context.version, context.arithmetic, context.measures)
        if theirs != (qengine.__version__, ARITHMETIC, MEASURES):
            raise SweepError(
                f"a worker has qengine {qengine.__version__}, and the sweep is by {context.version}: install the same"
            )
        try:
            self.graph = source.graph()
            self.dataset = source.dataset(self.graph)
            same = graph_digest(self.graph) == context.model and self.dataset.digest == context.data
        except QEngineError as error:
            raise SweepError(f"a worker cannot open what it is to compute: {error}") from None
        if not same:
            raise SweepError(
                f"a worker sees another model in {source.model}, or other data in {source.data}, than the sweep began "
                "with: let them be, and let all workers share the folder"
            )
        self.work = work
        self.runs = Runs(self.dataset.batches, len(self.dataset))
        self._preparer = Preparer(self.graph, Feeds(self.runs), self._histograms)
        self.exact = Float32Outputs(float32_path(Path(work.folder), context.key), context.key)
        self.task, self.judged = task_of(
            next(iter(self.exact)),
            has_labels=self.dataset.labels is not None,
            targets=self.runs.first.targets,
            pixel_scale=source.pixel_scale,
        )

    def _histograms(self, graph: Graph, corrections: Ranges) -> Observation:
        return load_histograms(Path(self.work.folder), self.work.context.key, corrections, graph)

    def measured(self, point: Point) -> Outcome:
        """Return what comes of a point."""
        started = time.perf_counter()
        work, context = self.work, self.work.context
        with BLAS.limited(work.threads):  # of corrections, which workers share
            prepared = self._preparer.prepare(point)
        limits = {"isa": work.isa, "threads": work.threads, "max_elements": context.max_elements}
        if not point.is_float32:
            limits["strict"] = context.strict
        session = prepared.session(**limits)
        meter = Meter(self.task, self.judged, work.source.pixel_scale, ssim=context.ssim)
        operations, is_first = None, True
        for batch, exact in zip(self.runs, self.exact, strict=True):
            if is_first:
                operations, is_first = bit_operations(session, batch.feeds, batch.count), False
            codes = exact
            if not point.is_float32:
                codes = dict(zip(exact, session.run(list(exact), batch.feeds, raw=True), strict=True))
            meter.add(batch, codes, _real(codes, session, point), exact)
        seconds = time.perf_counter() - started
        return Outcome(meter.measures(), weight_bytes(session), operations, meter.codes(), seconds)


def _real(codes: Mapping[str, NDArray[Any]], session: InferenceSession, point: Point) -> Mapping[str, NDArray[Any]]:
    """Return the real numbers that codes stand for; what is not quantized stays as it is."""
    if point.is_float32:
        return codes
    found = dict(codes)
    for name, array in codes.items():
        form = session.formats.get(name)
        if form is not None and array.dtype.kind in "iu":
            found[name] = np.ldexp(array.astype(np.float64), -fraction_bits_of(form, array.ndim)).astype(np.float32)
    return found


_lock = threading.Lock()
_benches: dict[tuple[str, str], Bench] = {}


def opened(work: Work) -> Bench:
    """Return the bench of a sweep, opened once in a process."""
    with _lock:
        key = (work.folder, work.context.key)
        if key not in _benches:
            _benches.clear()
            _benches[key] = Bench(work)
        return _benches[key]


def evaluate(work: Work, point: Point) -> Outcome:
    """Compute a point; what fails in it is told in the outcome.

    Raises
    ------
    SweepError
        If no point can be computed here.
    """
    bench = opened(work)
    started = time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            return bench.measured(point)
    except SweepError:
        raise
    except QEngineError as error:
        reason = str(error)
    except MemoryError:
        reason = "not enough memory"
    except Exception as error:  # whatever it is, the other points go on
        reason = str(QEngineError(f"{type(error).__name__}: {error}"))
    return Outcome(seconds=time.perf_counter() - started, error=reason)
