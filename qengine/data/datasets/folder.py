"""Samples in a folder: images or .npy files, one for each sample, or test data sets as ONNX has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qengine.data.datasets.dataset import Item, Source
from qengine.data.datasets.layout import SampleLayout, are_pixels
from qengine.data.images import SUFFIXES
from qengine.data.preprocessing import Preprocessing
from qengine.data.read import is_image, read_value
from qengine.errors import FeedError
from qengine.model.graph import Graph, Value
from qengine.model.loader.tensorfile import load_tensor

_SET = re.compile(r"test_data_set_(\d+)")
_TENSOR = re.compile(r"(input|output)_(\d+)\.pb")


class FolderSource(Source):
    """Reader of samples, one image or .npy file for each, in the order of their names.

    Parameters
    ----------
    paths
        Paths of the files.
    declared
        The input that they feed. An array may lack its first axis.
    preprocessing, max_elements
        See `read_value`.
    """

    def __init__(self, paths: Sequence[Path], declared: Value, preprocessing: Preprocessing, max_elements: int) -> None:
        self._paths, self._declared = paths, declared
        self.preprocessing, self._max_elements = preprocessing, max_elements
        self.names = (declared.name,)
        self.stacked = frozenset(self.names) if declared.shape is None or len(declared.shape) > 0 else frozenset()

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._paths)

    def files(self, count: int) -> list[Path]:
        """Return the files of the first samples."""
        return list(self._paths[:count])

    def settings(self) -> str:
        """Return the input and the conversion of pixels."""
        return f"folder {self.names} {self.preprocessing}"

    @property
    def pixels(self) -> tuple[str, ...]:
        """The name of the input if the files are images, or the first holds uint8 where real numbers are taken."""
        first = self._paths[0]
        has_pixels = is_image(str(first)) or are_pixels(self._read(first).dtype, self._declared)
        return self.names if has_pixels else ()

    def items(self) -> Iterator[Item]:
        """Yield the sample of each file."""
        for path in self._paths:
            array = self._read(path)
            shape = self._declared.shape
            if shape is not None and array.ndim == len(shape) - 1:
                array = array[None]
            yield Item({self._declared.name: SampleLayout.ROWS.feed(array, self._declared, self.preprocessing)})

    def _read(self, path: Path) -> NDArray[Any]:
        return read_value(str(path), self._declared, self.preprocessing, self._max_elements)


class TestSets(Source):
    """Reader of test data sets: a folder of input_0.pb, input_1.pb, ... and output_0.pb, ... for each run."""

    __test__ = False  # pytest would collect a class of this name

    def __init__(self, folders: Sequence[Path], graph: Graph, given: frozenset[str]) -> None:
        self._inputs = [value.name for value in graph.inputs]
        self._outputs = [value.name for value in graph.outputs]
        self._sets = [self._tensors(folder) for folder in folders]
        self.stacked = frozenset()
        self.names = tuple(name for name in self._inputs if name not in given)
        for folder, tensors in zip(folders, self._sets, strict=True):
            for name in self.names:
                if ("input", self._inputs.index(name)) not in tensors:
                    raise FeedError(f"{folder} has no input_{self._inputs.index(name)}.pb, for input '{name}'")

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self._sets)

    def files(self, count: int) -> list[Path]:
        """Return the files of the first sets."""
        return [path for tensors in self._sets[:count] for _, path in sorted(tensors.items())]

    def settings(self) -> str:
        """Return the inputs and the number of files of each set."""
        return f"test sets {self.names} {[len(tensors) for tensors in self._sets]}"

    def items(self) -> Iterator[Item]:
        """Yield the sample of each set."""
        for tensors in self._sets:
            feeds = {name: load_tensor(tensors["input", self._inputs.index(name)]) for name in self.names}
            targets = {self._outputs[i]: load_tensor(path) for (kind, i), path in tensors.items() if kind == "output"}
            yield Item(feeds, targets)

    def _tensors(self, folder: Path) -> dict[tuple[str, int], Path]:
        tensors = {}
        for path in sorted(folder.iterdir()):
            match = _TENSOR.fullmatch(path.name)
            if match is None:
                continue
            kind, i = match[1], int(match[2])
            names = self._inputs if kind == "input" else self._outputs
            if i >= len(names):
                raise FeedError(f"{path} is for {kind} {i}, and the model has {len(names)}, counted from 0")
            tensors[kind, i] = path
        return tensors


def folder_source(
    folder: Path, graph: Graph, given: frozenset[str], preprocessing: Preprocessing, max_elements: int
) -> Source:
    """Return a reader of the samples in a folder.

    Raises
    ------
    FeedError
        If the folder holds neither images nor .npy files nor test data sets, or several of these.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise FeedError(f"folder {folder} cannot be read: {error.strerror or error}") from None
    sets = {int(match[1]): path for path in entries if path.is_dir() and (match := _SET.fullmatch(path.name))}
    if any(_TENSOR.fullmatch(path.name) for path in entries):
        return TestSets([folder], graph, given)
    if sets:
        return TestSets([sets[number] for number in sorted(sets)], graph, given)
    arrays = [path for path in entries if path.suffix.lower() == ".npy"]
    images = [path for path in entries if path.suffix.lower() in SUFFIXES]
    if bool(arrays) == bool(images):
        content = "both images and .npy files" if arrays else "no images, .npy files or test_data_set_* folders"
        raise FeedError(f"folder {folder} holds {content}; one kind is needed")
    return files_source(
        f"the files in folder {folder} feed", arrays or images, graph, given, preprocessing, max_elements
    )


def files_source(
    what: str,
    paths: Sequence[Path],
    graph: Graph,
    given: frozenset[str],
    preprocessing: Preprocessing,
    max_elements: int,
) -> Source:
    """Return a reader of files with one sample each; `what` begins the error where the model needs other inputs too.

    Raises
    ------
    FeedError
        If the model does not need exactly one input besides those that are given.
    """
    wanted = [value for value in graph.inputs if value.name not in given]
    if len(wanted) != 1:
        listed = ", ".join(f"'{value.name}'" for value in wanted) or "none"
        raise FeedError(
            f"{what} one input, and the model needs {listed}; give the others with -i NAME=VALUE, or all samples in an "
            ".npz file"
        )
    return FolderSource(paths, wanted[0], preprocessing, max_elements)
