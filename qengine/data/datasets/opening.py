"""Opening of data: what a user gives, on disk or in Python, as a data set of samples for a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from qengine.checks import check_whole_number
from qengine.data import zoo
from qengine.data.applied import Base, applied, base_of, base_of_session
from qengine.data.datasets.arrays import as_array, column_of, columns_of_frame, is_array, is_frame
from qengine.data.datasets.columns import ColumnsSource
from qengine.data.datasets.dataset import Dataset, Source, limited
from qengine.data.datasets.elements import elements_of
from qengine.data.datasets.folder import folder_source
from qengine.data.datasets.gathered import Gathered
from qengine.data.datasets.kinds import described, kind_of_file
from qengine.data.datasets.label_files import SUFFIXES as LABEL_SUFFIXES
from qengine.data.datasets.labels import Labels, give_labels
from qengine.data.datasets.tables import TableSource
from qengine.data.datasets.wanted import Wanted
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError, did_you_mean
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.near_files import missing_file
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


def open_dataset(
    data: Any,
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph | InferenceSession,
    *,
    labels: Labels | None = None,
    preprocessing: Preprocessing | None = None,
    fixed: Mapping[str, Any] | None = None,
    batch: int | None = None,
    limit: int | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Dataset:
    """Return a data set of samples of a model's inputs.

    Parameters
    ----------
    data
        A path, or the name of a bundled set; an array of samples, arrays by the names of inputs, or a frame; a pair of
        these and labels or true outputs; or an iterable of samples or batches, such as a data loader of torch, which
        is iterated once and kept in memory. The page on data in the documentation lists all.
    model
        The model, as `InferenceSession` takes it, the name of a bundled one, or a session.
    labels
        Labels that the data does not hold: an array or list, a file (.csv, .txt, .npy), a mapping by file name, or for
        a table the name of the column.
    preprocessing
        Conversion of pixels (images and uint8 arrays) to numbers; None for what the formats file of a session or a
        quantized model records, or for that of a bundled set, and for 0..255 otherwise.
    fixed
        Inputs that are the same in every run, by name.
    batch
        Number of samples in a feed; None for the length of the input's first axis, or 1 if that is open.
    limit
        Number of samples to use: the first, and of class folders as many of each class as there can be; None for all.
    max_elements
        Limit on the number of elements of a sample.

    Returns
    -------
    Dataset
        An iterable of feeds, which reads the samples again in each iteration.

    Raises
    ------
    QEngineError
        If there is no such data, it does not fit the model or its labels, or its pixels become other numbers than
        those that the formats come from.

    Examples
    --------
    >>> import numpy as np
    >>> import qengine
    >>> pixels = np.zeros((20, 28, 28), np.uint8)
    >>> data = qengine.open_dataset((pixels, [0, 1] * 10), "digits", batch=8)
    >>> data
    <Dataset arrays: 20 samples of image, with labels>
    >>> [feeds["image"].shape for feeds in data]
    [(8, 1, 28, 28), (8, 1, 28, 28), (4, 1, 28, 28)]
    """
    for name, number in (("batch", batch), ("limit", limit)):
        if number is not None:
            check_whole_number(name, number, 1)
    graph = graph_of(model)
    base = base_for(model, graph)
    if isinstance(data, Dataset):
        if labels is not None or fixed or preprocessing not in (None, data.preprocessing):
            raise OptionError("data is a Dataset already: give labels, preprocessing and inputs to open_dataset")
        applied(base, data.preprocessing, data.pixels)
        return data.regrouped(batch, limit)
    same = _same_in_all(fixed, graph)
    entry = zoo.ENTRIES.get(data) if isinstance(data, str) else None
    column = labels if isinstance(labels, str) and Path(labels).suffix.lower() not in LABEL_SUFFIXES else None
    wanted = Wanted(
        graph,
        frozenset(same),
        preprocessing or base.recorded or (entry.preprocessing if entry else Preprocessing()),
        max_elements,
        column,
    )
    given = _on_disk(data, wanted) if isinstance(data, str | os.PathLike) else _in_python(data, wanted, limit)
    source, name = given.source, given.name
    if column is not None and not given.has_columns:
        endings = ", ".join(LABEL_SUFFIXES)
        raise OptionError(
            f"labels '{column}' are neither a file that ends in {endings}, nor a column: data {name} has none"
        )
    if given.labels is not None:
        if labels is not None and column is None:
            raise OptionError("labels are given twice: in the data, and as labels")
        labels, column = given.labels, None
    count = len(source) if limit is None else min(limit, len(source))
    if labels is not None and column is None and count:
        give_labels(source, labels, name, wanted.number_of_classes)
    found = Dataset(name, limited(source, count), same, batch or _batch_of(source, graph, count), limit)
    applied(base, found.preprocessing, found.pixels, typed=("preprocessing",) if preprocessing else ())
    return found


def graph_of(model: Any) -> Graph:
    """Return the graph of a model, as `InferenceSession` takes it, of a bundled one by its name, or of a session."""
    if isinstance(model, Graph):
        return model
    if isinstance(model, InferenceSession):
        return model.graph
    return load(zoo.ENTRIES[model].path if isinstance(model, str) and model in zoo.ENTRIES else model)


def base_for(model: Any, graph: Graph) -> Base:
    """Return the preprocessing that a session or the file of a model records; of a graph alone, its caller knows it."""
    if isinstance(model, InferenceSession):
        return base_of_session(model)
    return Base() if isinstance(model, Graph) else base_of(None, graph)


@dataclass(frozen=True)
class _Given:
    """Data that a user gave: samples, their name in messages, labels with them, and whether columns have names."""

    source: Source
    name: str
    labels: Any = None
    has_columns: bool = False


def _same_in_all(fixed: Mapping[str, Any] | None, graph: Graph) -> dict[str, Any]:
    """Return the inputs that are the same in every run, as arrays."""
    declared = {value.name: value for value in (*graph.inputs, *graph.overridable)}
    same = {}
    for name, value in (fixed or {}).items():
        if name not in declared:
            raise FeedError(f"the model has no input '{name}'{did_you_mean(name, declared)}")
        same[name] = column_of(name, value, f"input '{name}'", declared[name]).array if is_array(value) else value
    return same


def _on_disk(data: str | os.PathLike[str], wanted: Wanted) -> _Given:
    entry = zoo.ENTRIES.get(data) if isinstance(data, str) else None
    name, path = os.fspath(data), entry.data if entry else Path(data)
    bundled = ", ".join(zoo.ENTRIES)
    if path.is_dir():
        source = folder_source(path, wanted)
    elif path.is_file():
        kind = kind_of_file(path)
        if kind is None:
            raise FeedError(f"data {name} is of no kind that is read: {described()}, or a bundled set ({bundled})")
        source = kind.source(path, wanted)
    elif path.exists():
        raise FeedError(f"data {name} is neither a regular file nor a folder")
    else:
        near = missing_file(name, zoo.ENTRIES)
        raise OptionError(f"there is no data '{name}': neither a file nor a folder{near}; bundled are {bundled}")
    return _Given(source, name, None, isinstance(source, TableSource))


def _in_python(data: Any, wanted: Wanted, limit: int | None) -> _Given:
    if is_pair(data):
        return _of_pair(data[0], data[1], wanted, limit)
    if is_frame(data):
        columns, labels = columns_of_frame(data, wanted, "data")
        return _Given(ColumnsSource("data", columns, wanted), "frame", labels, True)
    if isinstance(data, Mapping):
        return _Given(_of_mapping(data, wanted), "arrays")
    if is_array(data) and not isinstance(data, Image.Image):
        only = wanted.only_input("one array feeds")
        column = column_of(only.name, data, "data", only)
        return _Given(ColumnsSource("data", {only.name: column}, wanted), "arrays")
    return _Given(Gathered(elements_of(iterated(data), wanted), wanted, limit), "iterable")


def is_pair(data: Any) -> bool:
    """Whether data is a pair of samples and what is known of them, and not two samples."""
    if not isinstance(data, tuple) or len(data) != 2 or isinstance(data[1], Mapping):
        return False
    return not isinstance(data[0], int | float)


def _of_pair(samples: Any, second: Any, wanted: Wanted, limit: int | None) -> _Given:
    """Return samples with labels, or with true outputs where the second part has real numbers or more axes."""
    if isinstance(samples, str | os.PathLike):
        return _Given(_on_disk(samples, wanted).source, os.fspath(samples), second)
    target = as_array(second, "the second part of data") if is_array(second) else None
    if target is None or (target.ndim <= 2 and target.shape[1:] in ((), (1,)) and target.dtype.kind != "f"):
        found = _in_python(samples, wanted, limit)
        return _Given(found.source, found.name, second, found.has_columns)
    if not wanted.graph.outputs or not (is_array(samples) or isinstance(samples, Mapping)):
        raise FeedError("data has true outputs for samples that are not arrays: give each sample with its output")
    output = wanted.graph.outputs[0].name
    if isinstance(samples, Mapping):
        return _Given(_of_mapping({**samples, output: second}, wanted), "arrays")
    return _Given(_of_mapping({wanted.only_input("one array feeds").name: samples, output: second}, wanted), "arrays")


def _of_mapping(data: Mapping[Any, Any], wanted: Wanted) -> Source:
    declared = {value.name: value for value in wanted.graph.inputs}
    columns = {}
    for key, value in data.items():
        if not isinstance(key, str):
            raise FeedError(f"data gives arrays by the name of the input, not by {key!r}")
        columns[key] = column_of(key, value, f"data['{key}']", declared.get(key))
    return ColumnsSource("data", columns, wanted)


def iterated(data: Any) -> Iterator[Any]:
    """Return an iterator over an iterable, or over a sequence of a given length, as torch's data sets are.

    Raises
    ------
    OptionError
        If an object is neither.
    """
    if isinstance(data, Image.Image):
        return iter([data])
    if not isinstance(data, bytes | bytearray | memoryview):
        if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, list | tuple):
            return (data[i] for i in range(len(data)))
        if isinstance(data, Iterable):
            return iter(data)
    raise OptionError(
        "data is a path, an array, arrays by input name, a pair of samples and labels, or an iterable of samples, not "
        f"{type(data).__name__}"
    )


def _batch_of(source: Source, graph: Graph, count: int) -> int:
    """Return the number of samples in a feed: what the model requires, or 1 if it takes any number."""
    lengths = {v.shape[0] for v in graph.inputs if v.name in source.stacked and v.shape and isinstance(v.shape[0], int)}
    if len(lengths) != 1:
        return 1
    (length,) = lengths
    batch = max(int(length), 1)
    if count % batch:
        remedy = f"use --limit {count - count % batch}, or give more" if count > batch else f"give {batch} or more"
        raise FeedError(
            f"the number of samples, {count}, does not fill batches of {batch}, which is what the model takes: {remedy}"
        )
    return batch
