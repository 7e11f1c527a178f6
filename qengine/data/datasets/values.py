"""Values of one input that a user types: what data holds samples of it, or what `read_value` reads, read in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets.array_files import npy_column
from qengine.data.datasets.dataset import Source
from qengine.data.datasets.folder import folder_source
from qengine.data.datasets.kinds import kind_of_file
from qengine.data.datasets.layout import SampleLayout, are_pixels, layout_of
from qengine.data.datasets.tables import TABLES
from qengine.data.datasets.wanted import Wanted
from qengine.data.preprocessing import Preprocessing
from qengine.data.read import is_image, read_value
from qengine.errors import FeedError
from qengine.model.graph import Graph, Value


def input_value(
    text: str, declared: Value, graph: Graph, preprocessing: Preprocessing, max_elements: int
) -> NDArray[Any]:
    """Return the array that a VALUE gives an input.

    Parameters
    ----------
    text
        A file or a literal, as for `read_value`; or a folder or a table, all of whose samples are fed at once.
    declared
        The input.
    graph
        The model.
    preprocessing
        Conversion of the pixels of images and uint8 arrays to numbers.
    max_elements
        Limit on the number of elements.

    Raises
    ------
    QEngineError
        If the value cannot be read, or does not fit the input.
    """
    wanted = Wanted(graph, _others(declared, graph), preprocessing, max_elements)
    path = Path(text)
    if wanted.inputs and (path.suffix.lower() in TABLES or _is_folder(path)):
        return _samples(path, declared, wanted)
    array = read_value(text, declared, preprocessing, max_elements)
    if not are_pixels(array.dtype, declared) or declared.shape is None:
        return array
    layout = layout_of(
        f"input '{declared.name}'",
        array.shape,
        array.dtype,
        declared,
        is_single=declared.name in wanted.single,
        layout=preprocessing.layout,
    )
    if layout is SampleLayout.RUNS:
        raise FeedError(f"input '{declared.name}': {text} has {array.ndim} axes, and {len(declared.shape)} are needed")
    return layout.feed(array, declared, preprocessing)


def is_pixels(text: str, declared: Value, graph: Graph) -> bool:
    """Whether a VALUE gives an input pixels: images, or uint8 where it takes real numbers; see `input_value`."""
    path = Path(text)
    if is_image(text):
        return True
    try:
        if path.suffix.lower() == ".npy":
            return are_pixels(npy_column(path, declared.name).dtype, declared)
        if path.suffix.lower() in TABLES or _is_folder(path):
            return _source(path, declared, Wanted(graph, _others(declared, graph))).reads_pixels
    except FeedError:  # which reading the value raises again
        pass
    return False


def _others(declared: Value, graph: Graph) -> frozenset[str]:
    return frozenset(value.name for value in graph.inputs if value.name != declared.name)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # no path at all
        return False


def _source(path: Path, declared: Value, wanted: Wanted) -> Source:
    if _is_folder(path):
        return folder_source(path, wanted)
    if (kind := kind_of_file(path)) is not None and path.is_file():
        return kind.source(path, wanted)
    raise FeedError(f"input '{declared.name}': there is no file {path}")


def _samples(path: Path, declared: Value, wanted: Wanted) -> NDArray[Any]:
    """Return all samples in a folder or a table as one array."""
    source = _source(path, declared, wanted)
    found: list[NDArray[Any]] = []
    for item in source.items():
        found.append(np.asarray(item.feeds[declared.name]))
        if sum(array.size for array in found[:1]) * len(found) > wanted.max_elements:
            raise FeedError(
                f"input '{declared.name}': {path} has more than {wanted.max_elements:,} elements (--max-elements): "
                "give it as --data, which is read sample by sample"
            )
    if not found:
        raise FeedError(f"input '{declared.name}': {path} holds no samples")
    if declared.name not in source.stacked or any(array.shape[1:] != found[0].shape[1:] for array in found):
        raise FeedError(f"input '{declared.name}': the samples of {path} have several shapes: give it as --data")
    return np.concatenate(found)
