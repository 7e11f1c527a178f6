"""A sweep from beginning to end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qengine
from qengine.analysis.sweep.cluster import LOCAL, on_cluster
from qengine.analysis.sweep.key import Context, graph_digest
from qengine.analysis.sweep.measure import Task, check_labels, check_ssim, task_of
from qengine.analysis.sweep.observed import ensure_float32, ensure_histograms
from qengine.analysis.sweep.points import Grid, Point
from qengine.analysis.sweep.prepare import changed, ranges
from qengine.analysis.sweep.processes import Outcomes, in_processes, in_turn
from qengine.analysis.sweep.progress import Progress, silent
from qengine.analysis.sweep.row import FAILED, Row
from qengine.analysis.sweep.store import Store, locked
from qengine.analysis.sweep.work import Source, Work
from qengine.checks import check_whole_number
from qengine.data import zoo
from qengine.data.datasets import samples_at_once
from qengine.data.datasets.runs import Runs
from qengine.data.images import PixelScale
from qengine.errors import OptionError, QEngineError, SweepError, UnsupportedError
from qengine.model.custom import Custom
from qengine.model.graph import Graph
from qengine.model.ops.operator import find
from qengine.runtime.plan.plan import MAX_ELEMENTS
from qengine.runtime.session import InferenceSession
from qengine.threads import available_threads

RESULTS = "results.sqlite"

Runner = Callable[[Work, Sequence[Point]], Outcomes]
"""What computes points, and gives each as it is finished."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes
    ----------
    rows : float32 and the points of the grid, in its order.
    computed : how many of them are new.
    task : what the outputs are.
    judged : the output that is judged.
    folder : where the results are.
    """

    rows: tuple[Row, ...]
    computed: int
    task: Task
    judged: str
    folder: Path


def sweep(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    grid: Grid | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    pixel_scale: PixelScale | None = None,
    batch: int | None = None,
    limit: int | None = None,
    ssim: bool = True,
    strict: bool = False,
    retry_failed: bool = False,
    jobs: int | None = None,
    scheduler: str | None = None,
    isa: str | None = None,
    threads: int | None = None,
    max_elements: int = MAX_ELEMENTS,
    progress: Progress | None = None,
) -> Sweep:
    """Run a model on all data in each arithmetic of a grid, and keep what comes of it.

    Points that the folder holds already are not computed again. However a sweep ends, what was finished is kept, and
    the same call goes on from there.

    Parameters
    ----------
    model
        The path of an .onnx file, or the name of a bundled model.
    folder
        Where results are kept; made if it is not there.
    grid
        What is tried; None for 2 to 16 bits.
    data
        As of `qengine.data.datasets.open_dataset`; None for the data of a bundled model.
    inputs
        Those that are the same in every run.
    pixel_scale
        How pixels become numbers, and back; None for that of a bundled set or model, and otherwise 0..255.
    batch
        Samples in a run; None for as many as the model takes, or, where it takes any number, some that fit together.
    limit
        Use so many samples, from the first.
    ssim
        Measure SSIM of images.
    strict
        Let points fail in which an operator would compute in float32.
    retry_failed
        Compute points again that failed before.
    jobs
        How many worker processes; None for none, or for as many as there are cores in a local cluster.
    scheduler
        The address of a Dask scheduler, or "local"; None for worker processes.
    isa, threads
        As for `InferenceSession`; workers share the threads.
    max_elements
        As for `InferenceSession`.
    progress
        Told how it goes on.

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
    ...     found = qengine.sweep("digits", folder, qengine.Grid(bits=[4, 8]), limit=100)
    >>> [(row.point.width, row.outcome.measures.top1) for row in found.rows]
    [(None, 0.99), (4, 0.92), (8, 0.99)]
    """
    for name, number in (("jobs", jobs), ("threads", threads)):
        if number is not None:
            check_whole_number(name, number, 1)
    points = (grid or Grid()).points()
    progress = progress or silent
    source = _source(os.fspath(model), data, inputs, pixel_scale, batch, limit, max_elements)
    if Path(folder).resolve() == Path(source.data):
        raise OptionError(
            f"{folder} holds the data, among which plots would be samples: give another folder for results"
        )
    graph = source.graph()
    _refuse_registered(graph)
    reference = InferenceSession(graph, isa=isa, threads=threads, max_elements=max_elements).in_float32()
    dataset = source.dataset(graph)
    if batch is None and (more := samples_at_once(graph, dataset)) > 1:
        source = replace(source, batch=more)
        dataset = source.dataset(graph)
    context = Context(
        graph_digest(graph),
        dataset.digest,
        qengine.__version__,
        dataset.batch,
        str(source.pixel_scale),
        ssim,
        strict,
        max_elements,
    )
    where = Path(folder)
    with locked(where), Store(where / RESULTS) as store:
        observed = _observed(where)
        runs = Runs(dataset.batches, len(dataset))
        with progress("float32", len(dataset)) as advance, np.errstate(all="ignore"):
            exact = ensure_float32(observed, context.key, reference, runs, advance)
        task, judged = task_of(
            next(iter(exact)),
            has_labels=dataset.labels is not None,
            targets=runs.first.targets,
            pixel_scale=source.pixel_scale,
        )
        check_labels(task, judged, next(iter(exact)), dataset.labels)
        if ssim:
            check_ssim(task)
        known = store.rows(context.key)
        keys = {point: context.of(point) for point in points}
        if retry_failed and (failed := [k for k in keys.values() if k in known and known[k].status == FAILED]):
            store.forget(failed)
            known = {key: row for key, row in known.items() if key not in failed}
        left = [point for point in points if keys[point] not in known]
        for corrections in dict.fromkeys(ranges(point) for point in left if point.is_calibrated):
            try:
                observable = changed(graph, corrections)
            except QEngineError:  # each such point will be a row that says it
                continue
            with progress("calibrating", len(dataset)) as advance:
                limits = {"threads": threads, "max_elements": max_elements}
                ensure_histograms(observed, context.key, corrections, observable, runs, advance, **limits)
        runner, shared = _runner(jobs, scheduler, threads) if left else (in_turn, threads)
        work = Work(source, str(observed.resolve()), context, isa, shared)
        called = (os.fspath(model), os.fspath(model if data is None else data), len(dataset))
        with progress("sweeping", len(points)) as advance:
            advance(len(points) - len(left))
            with closing(runner(work, left)) as outcomes:
                for point, outcome in outcomes:
                    finished = datetime.now(UTC).isoformat(timespec="seconds")
                    row = Row(keys[point], context.key, *called, context.version, point, outcome, finished)
                    store.add(row)
                    known[row.key] = row
                    advance(1)
    # What a formats file is called, and the model, is of this call and not of the one that computed the point.
    rows = tuple(replace(known[keys[point]], point=point) for point in points)
    return Sweep(rows, len(left), task, judged, where)


def _observed(folder: Path) -> Path:
    """Return the folder for what is computed once, without what a sweep left that was killed as it wrote."""
    found = folder / "observed"
    try:
        found.mkdir(exist_ok=True)
        for leftover in found.glob(".*.tmp"):
            leftover.unlink()
    except OSError as error:
        raise SweepError(f"cannot write to folder {found}: {error.strerror or error}") from None
    return found


def _runner(jobs: int | None, scheduler: str | None, threads: int | None) -> tuple[Runner, int | None]:
    """Return what computes points, and how many threads each gets."""
    if scheduler is not None and scheduler != LOCAL:
        return partial(on_cluster, address=scheduler, jobs=1), threads or 1
    count = jobs or (1 if scheduler is None else available_threads())
    shared = max(1, (threads or available_threads()) // count)
    if scheduler is not None:
        return partial(on_cluster, address=scheduler, jobs=count), shared
    return (partial(in_processes, jobs=count), shared) if count > 1 else (in_turn, threads)


def _source(
    model: str,
    data: str | os.PathLike[str] | None,
    inputs: Mapping[str, NDArray[Any]] | None,
    pixel_scale: PixelScale | None,
    batch: int | None,
    limit: int | None,
    max_elements: int,
) -> Source:
    entry = zoo.find(model)
    if data is None and entry is None:
        raise OptionError("data is needed: what the model is to be run on")
    name = os.fspath(model if data is None else data)
    known = zoo.ENTRIES.get(name) or entry
    return Source(
        model if entry else str(Path(model).resolve()),
        name if name in zoo.ENTRIES else str(Path(name).resolve()),
        dict(inputs or {}),
        pixel_scale or (known.pixel_scale if known else PixelScale()),
        batch,
        limit,
        max_elements,
    )


def _refuse_registered(graph: Graph) -> None:
    """Refuse a model whose results depend on functions that no key knows."""
    for node in graph.nodes:
        if isinstance(find(node), Custom):
            raise UnsupportedError(f"{node}: a sweep does not know registered operators, as their code is in no key")
        for inner in node.graphs.values():
            _refuse_registered(inner)
