"""Samples of several readers, one after the other: the parts that a data set is cut into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from qengine.data.datasets.dataset import Item, Source
from qengine.errors import FeedError


class Chain(Source):
    """Reader of the samples of several readers of the same kind.

    Parameters
    ----------
    parts
        The readers, one or more.

    Raises
    ------
    FeedError
        If some parts have labels, and others none.
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        self._parts, first = parts, parts[0]
        self.names, self.preprocessing, self.notes = first.names, first.preprocessing, first.notes
        self.stacked = frozenset.intersection(*(part.stacked for part in parts))
        labels = [part.labels for part in parts if part.labels is not None]
        if labels and len(labels) < len(parts):
            with_some = next(part for part in parts if part.labels is not None).files(1)
            raise FeedError(f"{with_some[0]} holds labels, and other files in the folder hold none")
        self.labels = np.concatenate(labels) if labels else None

    def __len__(self) -> int:
        """Return the number of samples of all parts."""
        return sum(map(len, self._parts))

    @property
    def reads_pixels(self) -> bool:
        """Whether a part holds pixels."""
        return any(part.reads_pixels for part in self._parts)

    def files(self, count: int) -> list[Path]:
        """Return the files of the parts that the first samples are in."""
        found: list[Path] = []
        for part in self._parts:
            if count <= 0:
                break
            found += part.files(count)
            count -= len(part)
        return found

    def settings(self) -> str:
        """Return the settings of the first part, which all share."""
        return self._parts[0].settings()

    def items(self) -> Iterator[Item]:
        """Yield the samples of each part."""
        for part in self._parts:
            yield from part.items()
