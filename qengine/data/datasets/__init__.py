"""Data sets: samples of a model's inputs, from a file, a folder or a bundled set that a user names with --data."""

from __future__ import annotations

from pathlib import Path

from qengine.checks import check_whole_number
from qengine.data import zoo
from qengine.data.datasets.batches import samples_at_once
from qengine.data.datasets.dataset import Arrays, Batch, Dataset, Source
from qengine.data.datasets.folder import files_source, folder_source
from qengine.data.datasets.npz import NpzSource
from qengine.data.images import SUFFIXES
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError, did_you_mean
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Graph
from qengine.model.static_values import value_inputs
from qengine.near_files import missing_file


def open_dataset(
    data: str,
    graph: Graph,
    *,
    preprocessing: Preprocessing | None = None,
    fixed: Arrays | None = None,
    batch: int | None = None,
    limit: int | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Dataset:
    """Return a data set of samples of a model's inputs.

    Parameters
    ----------
    data
        Path of an .npz file, an image, or a folder of images, .npy files or test data sets; or the name of a bundled
        set.
    graph
        The model, as it was loaded.
    preprocessing
        Conversion of pixels (images and uint8 arrays) to numbers; None for that of a bundled set, and for 0..255
        otherwise.
    fixed
        Inputs that are the same in every run, by name.
    batch
        Number of samples in a feed; None for the length of the input's first axis, or 1 if that is open.
    limit
        Number of samples to use, from the first; None for all.
    max_elements
        Limit on the number of elements of a sample.

    Raises
    ------
    QEngineError
        If there is no such data, or it does not fit the model.
    """
    given = frozenset(fixed or {})
    if unknown := sorted(given - {value.name for value in graph.inputs}):
        raise FeedError(
            f"the model has no input '{unknown[0]}'{did_you_mean(unknown[0], [value.name for value in graph.inputs])}"
        )
    for name, number in (("batch", batch), ("limit", limit)):
        if number is not None:
            check_whole_number(name, number, 1)
    entry = zoo.ENTRIES.get(data)
    scale = preprocessing or (entry.preprocessing if entry else Preprocessing())
    path = entry.data if entry else Path(data)
    source: Source
    if path.is_dir():
        source = folder_source(path, graph, given, scale, max_elements)
    elif path.is_file():
        if path.suffix.lower() in SUFFIXES:
            source = files_source(f"image {data} feeds", [path], graph, given, scale, max_elements)
        elif path.suffix.lower() == ".npz":
            source = NpzSource(path, graph, given, value_inputs(graph), scale, max_elements)
        else:
            raise FeedError(f"data {data} is not an .npz file, a folder, or a bundled set ({_bundled()}), and no image")
    elif path.exists():
        raise FeedError(f"data {data} is neither a regular file nor a folder")
    else:
        near = missing_file(data, zoo.ENTRIES)
        raise OptionError(f"there is no data '{data}': neither a file nor a folder{near}; bundled are {_bundled()}")
    count = len(source) if limit is None else min(limit, len(source))
    return Dataset(data, source, fixed, batch or _batch_of(source, graph, count), limit)


def _bundled() -> str:
    return ", ".join(zoo.ENTRIES)


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


__all__ = ["Batch", "Dataset", "Source", "open_dataset", "samples_at_once"]
