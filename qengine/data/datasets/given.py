"""Data that functions are given: the feeds of runs, one after the other, from all that `open_dataset` takes.

A function that reads its data once needs no data set: an iterable of feeds is passed through as it comes, in the memory
of one run. Anything else is opened, and its samples are fed in batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, TypedDict

import qengine
from qengine.data.applied import Base, applied
from qengine.data.datasets.arrays import is_array, is_frame
from qengine.data.datasets.dataset import Dataset
from qengine.data.datasets.elements import elements_of
from qengine.data.datasets.labels import Labels
from qengine.data.datasets.opening import base_for, graph_of, is_pair, iterated, open_dataset
from qengine.data.datasets.wanted import Wanted
from qengine.data.preprocessing import Preprocessing
from qengine.data.provenance import Provenance
from qengine.model.graph import Graph


class ReadingKeywords(TypedDict, total=False):
    """The keyword arguments of `open_dataset` for labels, and for the samples that are fed."""

    labels: Labels | None
    batch: int | None
    limit: int | None


class DataKeywords(ReadingKeywords, total=False):
    """The keyword arguments of `open_dataset` that functions on data take."""

    preprocessing: Preprocessing | None


_NAMES = tuple(DataKeywords.__annotations__)


def data_keywords(keywords: Mapping[str, Any]) -> DataKeywords:
    """Return those of the keyword arguments of a function that are about its data."""
    return {name: keywords[name] for name in _NAMES if name in keywords}  # type: ignore[return-value]


def runs_of(
    data: Any, model: Any, keywords: DataKeywords | None = None, *, again: bool = False
) -> Iterable[Mapping[str, Any]]:
    """Return the feeds of the runs of a model on data.

    Parameters
    ----------
    data
        Data that `open_dataset` takes. An iterable of mappings by the names of inputs is fed unchanged, one mapping a
        run; an iterator of them is read once. One mapping alone is one run, where the model takes its arrays as they
        are, and otherwise samples.
    model
        The model; see `open_dataset`.
    keywords
        See `open_dataset`.
    again
        Whether the feeds are read several times: those of an iterator are then kept.

    Raises
    ------
    QEngineError
        If the data does not fit the model.
    """
    asked: dict[str, Any] = {name: value for name, value in (keywords or {}).items() if value is not None}
    graph = graph_of(model)
    base = base_for(model, graph)
    if isinstance(data, Dataset) and not asked:
        applied(base, data.preprocessing, data.pixels)
        return data
    is_plain = isinstance(data, str | os.PathLike | Dataset) or is_array(data) or is_frame(data) or is_pair(data)
    if isinstance(data, Mapping):
        if not asked and _is_run(data, graph):
            return [data]
    elif not is_plain and not set(asked) - {"preprocessing", "limit"}:
        wanted = Wanted(graph, preprocessing=asked.get("preprocessing", base.preprocessing))
        runs = _Runs(data, wanted, asked.get("limit"), base)
        return list(runs) if again and isinstance(data, Iterator) else runs
    return open_dataset(data, model, **asked)


def provenance_of(model: str | os.PathLike[str], data: object) -> Provenance | None:
    """Return the provenance of formats that are chosen on data; None for data that is not a `Dataset`."""
    if not isinstance(data, Dataset):
        return None
    own = data.preprocessing if data.reads_pixels else None
    return Provenance(qengine.__version__, PurePath(model).name, PurePath(data.name).name, own)


class _Runs:
    """Feeds of the elements of an iterable, each made when it is asked for."""

    def __init__(self, data: Any, wanted: Wanted, limit: int | None, base: Base) -> None:
        self._data, self._wanted, self._limit, self._base = data, wanted, limit, base
        self._elements = iterated(data)  # which refuses other objects
        self._is_once = isinstance(data, Iterator)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the feeds of each run."""
        elements = self._elements if self._is_once else iterated(self._data)
        count = 0
        for one in elements_of(elements, self._wanted):
            if self._limit is not None and count >= self._limit:
                return
            if one.has_pixels:
                applied(self._base, self._wanted.preprocessing, one.feeds)
            yield one.feeds
            count += one.count


def _is_run(data: Mapping[str, Any], graph: Graph) -> bool:
    """Whether arrays by name are what one run takes."""
    declared = {value.name: value for value in (*graph.inputs, *graph.overridable)}
    if not set(data) <= set(declared):
        return False
    for name, value in data.items():
        shape = declared[name].shape
        own = getattr(value, "shape", None)
        if shape is None or own is None:
            continue
        if len(own) != len(shape) or any(isinstance(n, int) and n != m for n, m in zip(shape, own, strict=True)):
            return False
    return True
