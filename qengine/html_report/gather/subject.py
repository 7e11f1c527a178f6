"""The subject of a report: a model, its sessions and its data, opened once for all parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np

from qengine.analysis.inspection import Inspection, inspect_model
from qengine.data import zoo
from qengine.data.applied import applied, base_of
from qengine.data.datasets import Dataset, in_fast_batches, open_dataset
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.html_report.options import ReportOptions
from qengine.model.formats.files import FormatsByName, RecordedFormats, format_to_json
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.progress import Progress
from qengine.quantization.calibration import CalibrationOptions, calibrate
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

_PRODUCTS_OF_OVERHEAD = 2e7
"""Products that a run takes as long as, without any of its own, about."""

_PRODUCTS_OF_ELEMENT = 100
"""Products for each element that is fed, at least: where no count is known, and for operators without products."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and its data.

    Attributes
    ----------
    name : name of the model on the page.
    path : path of the model, or its bundled name.
    graph : the model.
    float32, fixed : sessions in float32 and in the formats of the report; `fixed` is None without formats.
    origin : origin of the formats in words.
    formats : formats of `fixed` by tensor; None without it.
    dataset : the data; None for none.
    data : path or bundled name of the data; None for none, and for data in memory.
    options : options of the report.
    settings : options of every session.
    progress : function that is called with the progress.
    """

    name: str
    path: str
    graph: Graph
    float32: InferenceSession
    fixed: InferenceSession | None
    origin: str
    formats: FormatsByName | None
    dataset: Dataset | None
    data: str | None
    options: ReportOptions
    settings: SessionOptions
    progress: Progress

    @cached_property
    def feeds_of_one(self) -> Mapping[str, Any]:
        """The feeds of the first sample alone, where the model takes any number; nothing without data."""
        if self.dataset is None:
            return {}
        batch = next(iter(self.dataset.batches()))
        open_ = {v.name for v in self.graph.inputs if v.shape and not isinstance(v.shape[0], int)}
        single = self.dataset.stacked & open_ if batch.count > 1 else frozenset[str]()
        return {name: array[:1] if name in single else array for name, array in batch.feeds.items()}

    @cached_property
    def inspection(self) -> Inspection:
        """The nodes, tensors and costs of a run of one sample."""
        settings = self.fixed.options if self.fixed is not None else self.settings.in_float32()
        with np.errstate(all="ignore"):
            return inspect_model(self.graph, self.feeds_of_one, None, settings)

    def runs_within(self, products: float, copies: int) -> int:
        """Return how many runs of a batch are within a number of products, where each run is made some times."""
        assert self.dataset is not None
        batch = self.dataset.batch if self.dataset.batch > 1 else 1
        each = (self.products() * batch + _PRODUCTS_OF_OVERHEAD) * max(copies, 1)
        return max(int(products / each), 1)

    def products(self) -> int:
        """Return about how many products a run of one sample makes."""
        fed: int = sum(prod(np.shape(array)) for array in self.feeds_of_one.values())
        return max(self.inspection.macs or 0, _PRODUCTS_OF_ELEMENT * fed)

    @property
    def preprocessing(self) -> Preprocessing:
        """The conversion of pixels to numbers."""
        return self.dataset.preprocessing if self.dataset is not None else Preprocessing()

    @property
    def preprocessing_words(self) -> str:
        """The conversion of pixels to numbers in one line, or that there is none."""
        if self.dataset is None or not self.dataset.reads_pixels:
            return "none: the data holds the numbers that are fed"
        return self.preprocessing.described()

    def outputs(self) -> list[str]:
        """Return the names of the outputs that are tensors."""
        values = self.graph.values
        return [one.name for one in self.graph.outputs if one.name not in values or values[one.name].container is None]


def open_subject(
    path: str,
    data: Any,
    options: ReportOptions,
    settings: SessionOptions,
    progress: Progress,
) -> Subject:
    """Return a model and its data, with formats: those of the settings, or chosen from the data.

    Raises
    ------
    QEngineError
        If the model or the data cannot be read, or options exclude each other.
    """
    entry = zoo.find(path)
    graph = load(zoo.path_of(path))
    given = path if data is None and entry else data
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    formats_read = settings.formats if isinstance(settings.formats, RecordedFormats) else None
    recorded = base_of(formats_read, graph, zoo.ENTRIES.get(name or "") or entry, model=path)
    typed = ("preprocessing",) if options.preprocessing else ()
    if options.preprocessing is None and not isinstance(data, Dataset):
        options = replace(options, preprocessing=recorded.preprocessing)
    dataset = _dataset(given if name is None else name, graph, options, settings) if given is not None else None
    if dataset is not None:
        applied(recorded, dataset.preprocessing, dataset.pixels, typed=typed)
    float32 = InferenceSession(graph, settings.in_float32()).in_float32()
    fixed, origin, formats = _in_fixed_point(graph, dataset, options, settings, progress)
    shown = options.shown or (path if entry else os.path.basename(path))  # noqa: PTH119 - a name may be odd
    return Subject(shown, path, graph, float32, fixed, origin, formats, dataset, name, options, settings, progress)


def _dataset(data: Any, graph: Graph, options: ReportOptions, settings: SessionOptions) -> Dataset:
    """Return the data, in batches of several samples where the model takes any number."""
    given: dict[str, Any] = {
        "preprocessing": options.preprocessing,
        "fixed": options.inputs,
        "limit": options.limit,
        "max_elements": settings.max_elements,
    }
    found = open_dataset(data, graph, labels=options.labels, batch=options.batch, **given)
    return found if isinstance(data, Dataset) else in_fast_batches(found, graph, options.batch)


def _in_fixed_point(
    graph: Graph,
    dataset: Dataset | None,
    options: ReportOptions,
    settings: SessionOptions,
    progress: Progress,
) -> tuple[InferenceSession | None, str, FormatsByName | None]:
    """Return a session in fixed point, the origin of its formats, and the formats; None where there are none."""
    if settings.requests_fixed_point:
        if options.bits is not None:
            raise OptionError("bits choose formats from the data: leave them out where formats are given")
        session = InferenceSession(graph, settings)
        if settings.formats is not None:
            rest = f", {settings.qformat} for the rest" if settings.qformat else ""
            name = f"those of {shown_path(options.formats_name)}" if options.formats_name else "given by tensor"
            return session, f"{name}{rest}", _spelled(session)
        return session, f"{settings.qformat} for every activation", _spelled(session)
    own = InferenceSession(graph, settings.in_float32())
    if own.in_fixed_point:
        session = InferenceSession(graph, settings)
        return session, "the formats that the model file has", _spelled(session)
    if dataset is None:
        return None, "", None
    wanted = CalibrationOptions(bits=options.bits, target=settings.target).for_runs(settings)
    with progress("choosing formats|samples", len(dataset)) as advance, np.errstate(all="ignore"):
        formats = dict(calibrate(graph, counted(dataset, advance), wanted, settings.in_float32()))
    session = InferenceSession(graph, replace(settings, formats=formats))
    width = wanted.activation_word_length
    return session, f"chosen from the data for {width} bits", formats


def shown_path(path: str) -> str:
    """Return a path as it is written on the page: nothing of an absolute one but the file."""
    return PurePath(path).name if os.path.isabs(path) else path  # noqa: PTH117 - a name may be odd


def counted(dataset: Dataset, advance: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    """Yield the feeds of every run, and count the samples of those that are done."""
    for batch in dataset.batches():
        yield batch.feeds
        advance(batch.count)


def _spelled(session: InferenceSession) -> FormatsByName:
    return {name: format_to_json(fmt) for name, fmt in session.formats.items()}
