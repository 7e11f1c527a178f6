"""Samples in test data sets, as ONNX has them: a folder of tensors for each run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from qengine.data.datasets.dataset import Item, Source
from qengine.errors import FeedError
from qengine.model.graph import Graph
from qengine.model.loader.tensorfile import load_tensor

_SET = re.compile(r"test_data_set_(\d+)")
_TENSOR = re.compile(r"(input|output)_(\d+)\.pb")


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


def sets_in(folder: Path, entries: Sequence[Path]) -> list[Path]:
    """Return the test data sets in a folder, or the folder itself if it is one; none if there are none."""
    if any(_TENSOR.fullmatch(path.name) for path in entries):
        return [folder]
    sets = {int(match[1]): path for path in entries if path.is_dir() and (match := _SET.fullmatch(path.name))}
    return [sets[number] for number in sorted(sets)]
