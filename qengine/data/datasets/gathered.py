"""Samples in memory, gathered from an iterable that may yield them only once, or in another order each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from qengine.data.datasets.dataset import Item, Source
from qengine.data.datasets.elements import Element
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError
from qengine.memory import bytes_of, default_limit, size_text

_SHARE = 2  # samples take at most the memory of a run divided by this


class Gathered(Source):
    """Samples of the elements of an iterable, which is iterated once.

    Parameters
    ----------
    elements
        The elements.
    wanted
        The inputs that they feed.
    limit
        Number of samples after which no element is asked for; None for no end.

    Raises
    ------
    FeedError
        If there are none, or more than fit in memory, or some have labels and others none.
    """

    def __init__(self, elements: Iterable[Element], wanted: Wanted, limit: int | None) -> None:
        found = list(_some(elements, limit))
        self.preprocessing = wanted.preprocessing
        names = dict.fromkeys(name for one in found for name in one.feeds)
        self.names = tuple(value.name for value in wanted.graph.inputs if value.name in names) or tuple(names)
        for i, one in enumerate(found):
            if lacking := [name for name in self.names if name not in one.feeds]:
                raise FeedError(f"data[{i}] has no array for input '{lacking[0]}', which others have")
        self._pixels = any(one.has_pixels for one in found)
        stackable = frozenset(name for name in self.names if name not in wanted.single)
        splits = bool(found) and all(_splits(one, stackable) for one in found)
        self.stacked = stackable if splits else frozenset()
        self.is_cut = limit is not None and sum(one.count for one in found) >= limit
        self._items = [item for one in found for item in (_samples(one, stackable) if splits else [_whole(one)])]
        with_labels = [one.labels for one in found if one.labels is not None]
        if with_labels and len(with_labels) < len(found):
            raise FeedError("some elements of the data have labels, and others none")
        if with_labels and not splits:
            raise FeedError("the data has labels, and inputs whose first axes do not count its samples")
        self.labels = np.concatenate(with_labels) if with_labels else None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._items)

    @property
    def reads_pixels(self) -> bool:
        """Whether pixels were converted to numbers."""
        return self._pixels

    def settings(self) -> str:
        """Return the inputs."""
        return f"arrays {self.names} {sorted(self.stacked)}"

    def items(self) -> Iterator[Item]:
        """Yield the samples."""
        return iter(self._items)

    def contents(self, count: int) -> Iterator[bytes | memoryview]:
        """Yield the bytes of the samples."""
        for item in self._items[:count]:
            for name, value in (*item.feeds.items(), *item.targets.items()):
                array = np.asarray(value)
                yield f"\n{name} {array.dtype} {array.shape} ".encode()
                yield array.tobytes() if array.dtype.kind != "O" else str(array.tolist()).encode()
        if self.labels is not None:
            yield f"labels {self.labels[:count].tolist()}".encode()


def _some(elements: Iterable[Element], limit: int | None) -> Iterator[Element]:
    """Yield elements until there are enough samples; raise FeedError where they do not fit in memory."""
    most, size, count = default_limit() // _SHARE, 0, 0
    for one in elements:
        size += bytes_of(dict(one.feeds)) + bytes_of(dict(one.targets))
        if size > most:
            raise FeedError(
                f"the data takes more than {size_text(most)} in memory: give a limit (limit=), or save it in files, "
                "which are read sample by sample"
            )
        yield one
        count += one.count
        if limit is not None and count >= limit:
            return


def _splits(one: Element, stackable: frozenset[str]) -> bool:
    """Whether an element is samples one after the other along the first axes."""
    arrays = [one.feeds[name] for name in stackable]
    if not all(isinstance(array, np.ndarray) and array.ndim and len(array) for array in arrays):
        return False
    length = len(arrays[0]) if arrays else 0
    if any(len(array) != length for array in (*arrays, *one.targets.values())):
        return False
    return not one.is_run or length == 1


def _samples(one: Element, stackable: frozenset[str]) -> Iterator[Item]:
    def row(name: str, array: Any, i: int) -> Any:
        return array[i : i + 1] if name in stackable else array

    for i in range(one.count):
        yield Item(
            {name: row(name, array, i) for name, array in one.feeds.items()},
            {name: array[i : i + 1] for name, array in one.targets.items()},
        )


def _whole(one: Element) -> Item:
    return Item(one.feeds, one.targets)
