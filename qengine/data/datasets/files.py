"""Samples in files, one for each sample: images, .npy files or sounds; with labels, or true outputs in other files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qengine.data import audio, images
from qengine.data.datasets.dataset import Item, Source
from qengine.data.datasets.layout import SampleLayout, are_pixels
from qengine.data.datasets.wanted import Wanted
from qengine.data.preprocessing import Preprocessing
from qengine.data.read import is_image, read_value
from qengine.errors import FeedError
from qengine.model.graph import Value

FILE_KINDS = {"images": images.SUFFIXES, ".npy files": frozenset({".npy"}), "sounds": audio.SUFFIXES}
"""Kinds of files that hold one sample each, with the endings of their names."""


class FilesSource(Source):
    """Reader of samples, one file for each.

    Parameters
    ----------
    paths
        Paths of the files, in the order of the samples.
    keys
        Names of the samples.
    wanted
        The input that they feed, the only one, and how. An array may lack its first axis.
    targets
        Files of the true first output of each sample; None for none.
    """

    def __init__(
        self, paths: Sequence[Path], keys: Sequence[str], wanted: Wanted, targets: Sequence[Path] | None = None
    ) -> None:
        self._paths, self.keys, self._wanted, self._targets = paths, keys, wanted, targets
        self.preprocessing = wanted.preprocessing
        self._of_targets = wanted.of_targets("the data") if targets else wanted
        self._declared = declared = wanted.inputs[0]
        self.names = (declared.name,)
        self.stacked = frozenset(self.names) if declared.shape is None or len(declared.shape) > 0 else frozenset()
        self._rate: int | None = None
        if paths and paths[0].suffix.lower() in audio.SUFFIXES:
            header = audio.header_of(paths[0])
            self._rate = header.rate
            self.notes = (f"sounds: {header.described()}",)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._paths)

    def files(self, count: int) -> list[Path]:
        """Return the files of the first samples."""
        return [*self._paths[:count], *(self._targets or ())[:count]]

    def settings(self) -> str:
        """Return the input and the conversion of pixels, and the keys, where they hold more than names."""
        folders = [key for key in self.keys if "/" in key]
        return f"folder {self.names} {self.preprocessing}" + (f" {folders}" if folders else "")

    def chosen(self, indices: Sequence[int]) -> Source:
        """Return a reader of some of the files."""
        part = copy(self)
        part._paths, part.keys = [self._paths[i] for i in indices], [self.keys[i] for i in indices]
        part._targets = None if self._targets is None else [self._targets[i] for i in indices]
        part.labels = None if self.labels is None else self.labels[list(indices)]
        part.groups = None if self.groups is None else self.groups[list(indices)]
        return part

    @property
    def reads_pixels(self) -> bool:
        """Whether the files are images, or the first holds uint8 where the input takes real numbers."""
        first = self._paths[0]
        if first.suffix.lower() in audio.SUFFIXES:
            return False
        return is_image(str(first)) or are_pixels(self._read(first, self._declared).dtype, self._declared)

    def items(self) -> Iterator[Item]:
        """Yield the sample of each file."""
        outputs = self._wanted.graph.outputs
        for i, path in enumerate(self._paths):
            feeds = {self._declared.name: self._sample(path, self._declared)}
            if self._targets is None:
                yield Item(feeds)
            else:
                yield Item(feeds, {outputs[0].name: self._sample(self._targets[i], outputs[0])})

    def _sample(self, path: Path, declared: Value) -> NDArray[Any]:
        array = self._read(path, declared)
        if declared.shape is not None and array.ndim == len(declared.shape) - 1:
            array = array[None]
        return SampleLayout.ROWS.feed(array, declared, self._preprocessing_of(declared))

    def _preprocessing_of(self, declared: Value) -> Preprocessing:
        return (self._wanted if declared is self._declared else self._of_targets).preprocessing

    def _read(self, path: Path, declared: Value) -> NDArray[Any]:
        if self._rate is not None and (found := audio.header_of(path).rate) != self._rate:
            raise FeedError(
                f"{path} has {found:,} samples a second, and {self._paths[0]} {self._rate:,}: resample one of them"
            )
        label = None if declared is self._declared else f"target of output '{declared.name}'"
        return read_value(str(path), declared, self._preprocessing_of(declared), self._wanted.max_elements, label)


def one_kind(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return the files that hold samples; the others, such as a README, are left out.

    Raises
    ------
    FeedError
        If there are samples of several kinds.
    """
    found = {kind: [path for path in paths if path.suffix.lower() in suffixes] for kind, suffixes in FILE_KINDS.items()}
    kinds = [kind for kind, files in found.items() if files]
    if len(kinds) > 1:
        both = "both " if len(kinds) == 2 else ""
        raise FeedError(f"folder {folder} holds {both}{' and '.join(kinds)}; one kind is needed")
    return found[kinds[0]] if kinds else []
