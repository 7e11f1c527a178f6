"""Samples of a model's inputs, read lazily and any number of times, and what is known of the answers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError

Arrays = Mapping[str, NDArray[Any]]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Item:
    """One sample: feeds by input name, and known outputs by output name."""

    feeds: Arrays
    targets: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What one run is fed, and what is known of the answer.

    Attributes
    ----------
    feeds : by input name.
    targets : by output name; empty where none are known.
    labels : the true class of each sample; None where there are none.
    count : how many samples it holds.
    """

    feeds: Arrays
    targets: Arrays
    labels: NDArray[np.int64] | None
    count: int


class Source(ABC):
    """Where samples come from.

    Attributes
    ----------
    names : the inputs that it feeds.
    stacked : those of them that have an axis of samples first, so that several samples make one feed.
    labels : the true class of each sample; None where there are none.
    """

    names: tuple[str, ...]
    stacked: frozenset[str]
    labels: NDArray[np.int64] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return how many samples there are."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Read the samples one after the other, from the first."""

    @abstractmethod
    def files(self, count: int) -> list[Path]:
        """Return the files that the first samples are read from."""

    @abstractmethod
    def settings(self) -> str:
        """Return what else decides the numbers, as text."""


class Dataset:
    """Samples in batches: an iterable of feeds that can be iterated again, and reads each time anew.

    Parameters
    ----------
    name
        What was asked for.
    source
        Where the samples come from.
    fixed
        Inputs that are the same in every run.
    batch
        How many samples make a feed, where they have an axis for it and are of one shape.
    limit
        Use so many samples, from the first; None for all.

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
        """Return how many samples there are."""
        return self._count

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that are fed."""
        return (*self._source.names, *self._fixed)

    @property
    def stacked(self) -> frozenset[str]:
        """The inputs that have an axis of samples first, so that several samples make one feed."""
        return self._source.stacked

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The true class of each sample; None where there are none."""
        labels = self._source.labels
        return None if labels is None else labels[: self._count]

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Give the feeds of one run after the other."""
        for batch in self.batches():
            yield dict(batch.feeds)

    def batches(self) -> Iterator[Batch]:
        """Give what one run after the other is fed, and what is known of the answers."""
        start, held = 0, list[Item]()
        for item in islice(self._source.items(), self._count):
            if held and (len(held) == self.batch or not self._goes_with(held[0], item)):
                yield self._joined(held, start)
                start += len(held)
                held = []
            held.append(item)
        if held:
            yield self._joined(held, start)

    def _goes_with(self, first: Item, item: Item) -> bool:
        """Whether two samples can be fed at once."""
        stacked = self._source.stacked
        if not stacked:
            return False
        pairs = [(first.feeds[name], item.feeds[name]) for name in stacked]
        pairs += [(first.targets[name], item.targets[name]) for name in first.targets]
        return all(a.shape[1:] == b.shape[1:] for a, b in pairs)

    def _joined(self, items: list[Item], start: int) -> Batch:
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
        """A key of the samples' content, of how pixels are read and of how many are used; not of the batches."""
        found = hashlib.sha256(f"{self._source.settings()} {self._count}".encode())
        for name, array in sorted(self._fixed.items()):
            found.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        for path in self._source.files(self._count):
            found.update(f"\n{path.name} ".encode())
            try:
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        found.update(block)
            except OSError as error:
                raise FeedError(f"{path} cannot be read: {error.strerror or error}") from None
        return found.hexdigest()
