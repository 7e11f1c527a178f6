"""A sweep from beginning to end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np

import qengine
from qengine.analysis.sweep.cluster import LOCAL, on_cluster
from qengine.analysis.sweep.differences import Difference, differences
from qengine.analysis.sweep.files import RESULTS, write_files
from qengine.analysis.sweep.key import Context, first_registered
from qengine.analysis.sweep.measure import metrics_of
from qengine.analysis.sweep.options import SweepKeywords, SweepOptions, check_session_options
from qengine.analysis.sweep.points import Grid, Point
from qengine.analysis.sweep.prepare import (
    ObservationKey,
    Preparer,
    Ranges,
    chooses_ranges,
    corrected_for_ranges,
    ranges,
)
from qengine.analysis.sweep.processes import Outcomes, in_processes, in_turn
from qengine.analysis.sweep.result import Sweep
from qengine.analysis.sweep.row import FAILED, Row
from qengine.analysis.sweep.shared_results import ensure_float32, ensure_histograms
from qengine.analysis.sweep.store import Store, locked
from qengine.analysis.sweep.work import ModelAndData, Source, Work, kept_open
from qengine.data import zoo
from qengine.data.applied import FormatsFiles, applied, base_of
from qengine.data.datasets import Dataset, in_fast_batches, open_dataset, write_spilled
from qengine.data.datasets.runs import Feeds, Runs
from qengine.data.preprocessing import Preprocessing
from qengine.data.scale_check import scale_notes
from qengine.data.zoo import Entry
from qengine.errors import OptionError, QEngineError, SweepError, UnsupportedError
from qengine.keywords import check_keywords, options_with
from qengine.metrics.declaration import find_metric
from qengine.metrics.tasks import Task, check_labels, task_of
from qengine.model.digest import graph_digest
from qengine.model.graph import Graph
from qengine.progress import Progress, working
from qengine.quantization.calibration import CalibrationOptions, Observation
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.threads import available_threads

Runner = Callable[[Work, Sequence[Point]], Outcomes]
"""Function that computes points, and yields each as it is finished."""


def sweep(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    grid: Grid | None = None,
    options: SweepOptions | None = None,
    *,
    session: SessionOptions | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[SweepKeywords],
) -> Sweep:
    """Run a model on all data in each arithmetic of a grid, and keep the results in a folder.

    The folder holds the results as a database and as a table, and plots where matplotlib is installed. Points that it
    holds already are not computed again. However a sweep ends, finished points are kept, and the same call continues
    from there.

    Parameters
    ----------
    model
        Path of an .onnx file, or name of a bundled model.
    folder
        Folder of the results, which is made if it is not there.
    grid
        Arithmetics to compute; None for 2 to 16 bits.
    options
        Data and workers; None for the defaults.
    session
        Options of every session: `strict`, `isa`, `threads` and the limits. Workers share the threads.
    progress
        Function that is called with the progress.
    keywords
        Single fields of `SweepOptions` and `SessionOptions`, such as ``limit=100``; they replace those of
        `options` and `session`.

    Returns
    -------
    Sweep
        A point that failed is a row with an error.

    Raises
    ------
    SweepError
        If the folder is in use, or workers cannot work.
    QEngineError
        If the model, the data or an option is not valid, or float32 fails.

    Examples
    --------
    >>> import tempfile
    >>> import qengine
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = qengine.sweep("digits", folder, qengine.Grid(bits=[4, 8]), limit=100, plots=False)
    ...     [path.name for path in result.written]
    ['results.sqlite', 'results.csv']
    >>> [(row.point.width, row.outcome.measures.top1) for row in result.rows]
    [(None, 0.99), (4, 0.98), (8, 0.99)]
    """
    check_keywords("sweep", keywords, SweepKeywords)
    settings = options_with(SweepOptions, options, keywords)
    session = options_with(SessionOptions, session, keywords)
    check_session_options(session)
    grid = grid or Grid()
    points = grid.points()
    job = _SweepRun(os.fspath(model), Path(folder), settings, session, progress or working, grid.formats)
    with locked(job.folder), Store(job.folder / RESULTS) as store:
        found = job.run(points, store)
    notes = tuple(f"target {name} has none of these word lengths, and no points" for name in grid.left_out())
    return write_files(
        replace(found, notes=(*found.notes, *notes)), cost=settings.cost, metric=settings.metric, plots=settings.plots
    )


class _SweepRun:
    """A call of `sweep`: its model and data, opened, and the steps that it takes."""

    def __init__(
        self,
        model: str,
        folder: Path,
        settings: SweepOptions,
        options: SessionOptions,
        progress: Progress,
        formats: FormatsFiles,
    ) -> None:
        self.folder, self._began = folder, time.perf_counter()
        self._model, self._settings, self._options, self._progress = model, settings, options, progress
        source, entry = _source(model, settings, options.max_elements)
        if os.path.realpath(folder) == source.data:
            raise OptionError(
                f"{folder} holds the data, among which plots would be samples: give another folder for results"
            )
        self._graph = source.graph()
        _refuse_registered(self._graph)
        base = base_of(formats, self._graph, entry, model=model)
        source = replace(source, preprocessing=settings.preprocessing or base.preprocessing)
        self._reference = InferenceSession(self._graph, options.in_float32()).in_float32()
        dataset = _opened(source, settings, self._graph)
        self._dataset = in_fast_batches(dataset, self._graph, settings.batch)
        self._source = replace(source, batch=self._dataset.batch, preprocessing=self._dataset.preprocessing)
        self._pixels = applied(base, self._dataset.preprocessing, self._dataset.pixels)
        self._runs = Runs(self._dataset.batches, len(self._dataset))
        notes = scale_notes(self._reference, self._runs.first.feeds, self._pixels, base)
        self._pixels = self._pixels.with_notes(notes)
        self._context = Context(
            graph_digest(self._graph),
            self._dataset.digest,
            qengine.__version__,
            self._dataset.batch,
            str(self._source.preprocessing),
            settings.ssim,
            options.strict,
            options.max_elements,
        )

    def run(self, points: Sequence[Point], store: Store) -> Sweep:
        """Compute the points that the store does not hold, and return the rows of all."""
        observed = _observed(self.folder)
        task, output = self._evaluated(observed)
        keys = {point: self._context.point_key(point) for point in points}
        known = self._known(store, keys)
        left = [point for point in points if keys[point] not in known]
        observations = self._observe(left, observed)
        settings, options = self._settings, self._options
        runner, threads = _runner(settings, options.threads) if left else (in_turn, options.threads)
        work = Work(
            self._shared(observed, runner), str(observed.resolve()), self._context, replace(options, threads=threads)
        )
        before, new = time.perf_counter() - self._began, []
        source = Source(self._graph, self._dataset, self._runs, observations)
        with self._progress("sweeping|points", len(points)) as advance, kept_open(work, source):
            advance(len(points) - len(left))
            with closing(runner(work, left)) as outcomes:
                for point, outcome in outcomes:
                    row = Row(
                        keys[point],
                        self._context.key,
                        self._model,
                        self._data_name(),
                        len(self._dataset),
                        self._context.version,
                        point,
                        outcome,
                        datetime.now(UTC).isoformat(timespec="seconds"),
                        self._pixels.text,
                    )
                    store.add(row)
                    known[row.key] = row
                    new.append(row)
                    advance(1)
        # The names of formats files are those of this call, and not of the call that computed the point.
        rows = tuple(replace(known[keys[point]], point=point) for point in points)
        found = self._differences(points, observed)
        return Sweep(
            rows,
            len(left),
            task,
            output,
            self.folder,
            tuple(new),
            before,
            found,
            pixels=self._pixels,
            notes=self._dataset.notes,
        )

    def _data_name(self) -> str:
        """Return the name of the data as it was given, and not as workers open it."""
        data = self._model if self._settings.data is None else self._settings.data
        return os.fspath(data) if isinstance(data, str | os.PathLike) else self._dataset.name

    def _shared(self, observed: Path, runner: Runner) -> ModelAndData:
        """Return the model and the data as workers open them: data in memory is written to a file for them."""
        if self._source.data is not None or runner is in_turn:
            return self._source
        path = observed.resolve() / f"{self._dataset.digest[:16]}.data.npz"
        write_spilled(self._dataset, path)
        return replace(self._source, data=str(path), labels=None, is_spilled=True)

    def _differences(self, points: Sequence[Point], observed: Path) -> tuple[Difference, ...]:
        """Return the differences of the targets of the points."""
        if len({point.target for point in points} - {None}) < 2:
            return ()

        def observation(graph: Graph, corrections: Ranges) -> Observation:
            with self._progress("calibrating|samples", len(self._dataset)) as advance:
                return ensure_histograms(
                    observed, self._context.key, corrections, graph, self._runs, advance, self._observing(points)
                )

        preparer = Preparer(self._graph, Feeds(self._runs), observation, self._options)
        with np.errstate(all="ignore"):
            return differences(
                self._reference, points, self._runs, lambda point: preparer.prepare(point).formats, self._progress
            )

    def _evaluated(self, observed: Path) -> tuple[Task, str]:
        """Return the task and the evaluated output, after the run in float32."""
        with self._progress("running in float32|samples", len(self._dataset)) as advance, np.errstate(all="ignore"):
            exact = ensure_float32(observed, self._context.key, self._reference, self._runs, advance)
        first = next(iter(exact))
        task, output = task_of(
            first,
            has_labels=self._dataset.labels is not None,
            targets=self._runs.first.targets,
            preprocessing=self._source.preprocessing,
        )
        check_labels(task, output, first, self._dataset.labels)
        measured = metrics_of(task, ssim=self._settings.ssim)
        if self._settings.metric is not None:
            metric = find_metric(self._settings.metric, task, has_labels=self._dataset.labels is not None)
            if metric not in measured:
                raise OptionError(f"{metric} is left out of this sweep: measure it, or name another metric")
        return task, output

    def _known(self, store: Store, keys: Mapping[Point, str]) -> dict[str, Row]:
        """Return the rows that are not computed again, by key."""
        known = store.rows(self._context.key)
        if self._settings.retry_failed:
            failed = [key for key in keys.values() if key in known and known[key].status == FAILED]
            store.forget(failed)
            known = {key: row for key, row in known.items() if key not in failed}
        return known

    def _observe(self, points: Sequence[Point], observed: Path) -> dict[ObservationKey, Observation]:
        """Return the histograms from which the formats of the points are chosen, which are in the folder too."""
        observations: dict[ObservationKey, Observation] = {}
        own = ((ranges(point), point.fuses) for point in points if _has_own_ranges(point))
        for corrections, fuses in dict.fromkeys(own):
            try:
                observable = replace(corrected_for_ranges(self._graph, corrections), fuses=fuses)
            except QEngineError:  # each such point will be a row with the error
                continue
            with self._progress("calibrating|samples", len(self._dataset)) as advance:
                observations[corrections, fuses] = ensure_histograms(
                    observed, self._context.key, corrections, observable, self._runs, advance, self._observing(points)
                )
        return observations

    def _observing(self, points: Sequence[Point]) -> SessionOptions:
        """Return the options of runs that observe what the formats of all points need."""
        each = (point.calibration() for point in points if point.is_calibrated)
        one = next((options for options in each if options.results_wrap), CalibrationOptions())
        return replace(one.for_observing(self._options), rules=None)  # the graph says whether functions are fused


def _has_own_ranges(point: Point) -> bool:
    """Whether the formats of a point are chosen from histograms that are known ahead."""
    return point.is_calibrated and not chooses_ranges(point)


def _observed(folder: Path) -> Path:
    """Return the folder of histograms and outputs in float32, without the unfinished files of a killed sweep."""
    observed = folder / "observed"
    try:
        observed.mkdir(exist_ok=True)
        for leftover in observed.glob(".*.tmp"):
            leftover.unlink()
    except OSError as error:
        raise SweepError(f"cannot write to folder {observed}: {error.strerror or error}") from None
    return observed


def _runner(settings: SweepOptions, threads: int | None) -> tuple[Runner, int | None]:
    """Return the function that computes points, and the number of threads of each worker."""
    jobs, scheduler = settings.jobs, settings.scheduler
    if scheduler is not None and scheduler != LOCAL:
        return partial(on_cluster, address=scheduler, jobs=1), threads or 1
    count = jobs or (1 if scheduler is None else available_threads())
    shared = max(1, (threads or available_threads()) // count)
    if scheduler is not None:
        return partial(on_cluster, address=scheduler, jobs=count), shared
    return (partial(in_processes, jobs=count), shared) if count > 1 else (in_turn, threads)


def _source(model: str, settings: SweepOptions, max_elements: int) -> tuple[ModelAndData, Entry | None]:
    """Return the model and the data by absolute paths, and the bundled set or model that says how pixels are read."""
    entry = zoo.find(model)
    if settings.data is None and entry is None:
        raise OptionError("data is needed to run the model on: give data, or a bundled model, which has its own")
    given = model if settings.data is None else settings.data
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    bundled = (None if name is None else zoo.ENTRIES.get(name)) or entry
    labels = settings.labels
    if isinstance(labels, str | os.PathLike) and os.path.exists(labels):  # noqa: PTH110 - or the name of a column
        labels = os.path.realpath(labels)
    elif isinstance(labels, Iterator):
        labels = list(labels)
    found = ModelAndData(
        model if entry else os.path.realpath(model),
        name
        if name is None or name in zoo.ENTRIES
        else os.path.realpath(name),  # a circular link is left to the reader
        dict(settings.inputs or {}),
        Preprocessing(),
        settings.batch,
        settings.limit,
        max_elements,
        labels,
    )
    return found, bundled


def _opened(source: ModelAndData, settings: SweepOptions, graph: Graph) -> Dataset:
    """Return the data: opened by its path, as workers do, or what is in memory."""
    if source.data is not None:
        return source.dataset(graph)
    reads = not isinstance(settings.data, Dataset)  # a data set was read with its own
    return open_dataset(
        settings.data,
        graph,
        labels=source.labels,
        preprocessing=source.preprocessing if reads else None,
        fixed=source.inputs,
        batch=source.batch,
        limit=source.limit,
        max_elements=source.max_elements,
    )


def _refuse_registered(graph: Graph) -> None:
    """Refuse a model with registered operators: their code is in no key."""
    if (node := first_registered(graph)) is not None:
        raise UnsupportedError(f"{node}: a sweep does not know registered operators, as their code is in no key")
