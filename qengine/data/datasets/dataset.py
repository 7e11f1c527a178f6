"""Dataset: samples of a model's inputs, with targets and labels, read lazily and any number of times."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError
from qengine.input_files import open_input

Arrays = Mapping[str, NDArray[Any]]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Item:
    """A sample: feeds by input name, and targets by output name."""

    feeds: Arrays
    targets: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Samples for one run.

    Attributes
    ----------
    feeds : arrays by input name.
    targets : true outputs by output name; empty if there are none.
    labels : true class of each sample; None if there are none.
    count : number of samples.
    """

    feeds: Arrays
    targets: Arrays
    labels: NDArray[np.int64] | None
    count: int


class Source(ABC):
    """Reader of samples from files.

    Attributes
    ----------
    names : names of the inputs that the samples feed.
    stacked : names of the inputs whose first axis counts samples, so that several samples make one feed.
    labels : true class of each sample; None if there are none.
    preprocessing : conversion of pixels to numbers.
    keys : name of each sample, by which a file of labels may name it, such as its path in a folder; () if they have
        none.
    classes : names of the classes, in the order of their numbers; () if they are unknown.
    are_labels_beside : whether the labels are in the names of folders or given apart, and not in the files.
    groups : number of the folder of each sample, in class folders; None without them.
    is_cut : whether reading ended at a limit, so that there may be more samples, and labels of them.
    notes : remarks for the user on how the data is read, each one line.
    """

    names: tuple[str, ...]
    stacked: frozenset[str]
    labels: NDArray[np.int64] | None = None
    preprocessing: Preprocessing = Preprocessing()
    keys: Sequence[str] = ()
    classes: tuple[str, ...] = ()
    are_labels_beside: bool = False
    groups: NDArray[np.int64] | None = None
    is_cut: bool = False
    notes: tuple[str, ...] = ()

    @property
    def reads_pixels(self) -> bool:
        """Whether samples are pixels, to which preprocessing is applied: images, or uint8 where numbers are real."""
        return False

    @property
    def pixels(self) -> tuple[str, ...]:
        """The names of the inputs and targets that are made of pixels; by default all inputs, if `reads_pixels`."""
        return self.names if self.reads_pixels else ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    def chosen(self, indices: Sequence[int]) -> Source | None:  # noqa: ARG002 - most sources are read in order
        """Return a reader of some samples alone; None where those between them are read too."""
        return None

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the samples, from the first."""

    def files(self, count: int) -> list[Path]:  # noqa: ARG002 - a source in memory has none
        """Return the files that the first samples are read from."""
        return []

    def contents(self, count: int) -> Iterator[bytes | memoryview]:
        """Yield what the first samples are made of, for a digest: by default the names and the bytes of the files."""
        for path in self.files(count):
            yield f"\n{path.name} ".encode(errors="surrogatepass")  # a name may be no text
            try:
                with open_input(path) as file:
                    while block := file.read(_BLOCK):
                        yield block
            except OSError as error:
                raise FeedError(f"{path} cannot be read: {error.strerror or error}") from None

    @abstractmethod
    def settings(self) -> str:
        """Return the settings that decide the numbers of the samples, as text for a digest."""


def limited(source: Source, count: int) -> Source:
    """Return a reader of `count` samples: of class folders as many of each class as there can be, else the first.

    The samples of class folders are in the order of the classes, of which the first ones alone would have few.
    """
    if source.groups is None or count >= len(source):
        return source
    seen: Counter[int] = Counter()
    turns = []
    for i, group in enumerate(source.groups.tolist()):
        turns.append((seen[group], i))
        seen[group] += 1
    return source.chosen(sorted(i for _, i in sorted(turns)[:count])) or source


class Dataset:
    """Samples in batches: an iterable of feeds that reads the files again in each iteration.

    Parameters
    ----------
    name
        Name of the data, for messages.
    source
        Reader of the samples.
    fixed
        Inputs that are the same in every run, by name.
    batch
        Number of samples in a feed, if they have an axis for it and the same shape.
    limit
        Number of samples to use, from the first; None for all.

    Raises
    ------
    FeedError
        If there are no samples.
    """

    def __init__(
        self, name: str, source: Source, fixed: Arrays | None = None, batch: int = 1, limit: int | None = None
    ) -> None:
        self.name, self.batch = name, batch
        self._source, self._fixed = source, dict(fixed or {})
        self._count = len(source) if limit is None else min(limit, len(source))
        if not self._count:
            raise FeedError(f"data {name} holds no samples")

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def __repr__(self) -> str:
        labels = "" if self.labels is None else ", with labels"
        return f"<Dataset {self.name}: {self._count} samples of {', '.join(self.names)}{labels}>"

    def regrouped(self, batch: int | None, limit: int | None) -> Dataset:
        """Return the same samples with another number in a feed, or fewer of them; None changes neither."""
        count = self._count if limit is None else min(limit, self._count)
        source = self._source
        if count < len(source) == self._count:
            source = limited(source, count)
        return Dataset(self.name, source, self._fixed, batch or self.batch, count)

    def spread(self, count: int) -> Iterator[Batch]:
        """Yield batches of about `count` samples that are spread evenly over the data, which may be sorted by class."""
        step = -(-self._count // count)
        indices = range(0, self._count, step)
        whole = indices[: len(indices) - len(indices) % self.batch]  # a model may take nothing but full batches
        if not whole and self.batch <= self._count:
            whole = range(0, self._count, self._count // self.batch)[: self.batch]
        source = self._source.chosen(whole) if whole else None
        if source is None:
            yield from islice(self.batches(), 0, None, step)
        else:
            yield from Dataset(self.name, source, self._fixed, self.batch).batches()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs that are fed."""
        return (*self._source.names, *self._fixed)

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names of the inputs that the samples feed, without those that are the same in every run."""
        return self._source.names

    @property
    def stacked(self) -> frozenset[str]:
        """The names of the inputs whose first axis counts samples, so that several samples make one feed."""
        return self._source.stacked

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The true class of each sample; None if there are none."""
        labels = self._source.labels
        return None if labels is None else labels[: self._count]

    @property
    def keys(self) -> Sequence[str]:
        """The names of the samples, such as their paths in a folder; () if they have none."""
        return self._source.keys

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers; () if they are unknown."""
        return self._source.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the user on how the data is read, each one line."""
        return self._source.notes

    @property
    def preprocessing(self) -> Preprocessing:
        """The conversion of pixels to numbers; it has no effect unless `reads_pixels`."""
        return self._source.preprocessing

    @property
    def reads_pixels(self) -> bool:
        """Whether preprocessing is applied to anything: to images, or to uint8 arrays for real numbers."""
        return self._source.reads_pixels

    @property
    def pixels(self) -> tuple[str, ...]:
        """The names of the inputs and targets that are made of pixels."""
        return self._source.pixels

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the feeds of each run."""
        for batch in self.batches():
            yield dict(batch.feeds)

    def batches(self) -> Iterator[Batch]:
        """Yield the samples of each run, with targets and labels."""
        start, pending = 0, list[Item]()
        for item in islice(self._source.items(), self._count):
            if pending and (len(pending) == self.batch or not self._is_stackable(pending[0], item)):
                yield self._stack(pending, start)
                start += len(pending)
                pending = []
            pending.append(item)
        if pending:
            yield self._stack(pending, start)

    def _is_stackable(self, first: Item, item: Item) -> bool:
        """Whether two samples can be in one feed."""
        stacked = self._source.stacked
        if not stacked:
            return False
        pairs = [(first.feeds[name], item.feeds[name]) for name in stacked]
        pairs += [(first.targets[name], item.targets[name]) for name in first.targets]
        return all(a.shape[1:] == b.shape[1:] for a, b in pairs)

    def _stack(self, items: list[Item], start: int) -> Batch:
        first, stacked = items[0], self._source.stacked
        feeds = {
            name: np.concatenate([item.feeds[name] for item in items]) if name in stacked and items[1:] else array
            for name, array in first.feeds.items()
        }
        targets = {
            name: np.concatenate([item.targets[name] for item in items]) if items[1:] else array
            for name, array in first.targets.items()
        }
        labels = None if self.labels is None else self.labels[start : start + len(items)]
        return Batch({**feeds, **self._fixed}, targets, labels, len(items))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the samples: of the files, the settings of the reader and the number of samples."""
        digest = hashlib.sha256(f"{self._source.settings()} {self._count}".encode())
        for name, array in sorted(self._fixed.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        if self.labels is not None and self._source.are_labels_beside:
            digest.update(f"labels {self.labels.tolist()}".encode())
        for content in self._source.contents(self._count):
            digest.update(content)
        return digest.hexdigest()
