"""Samples that a search does not see, so that its result can be checked on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import floor

from qengine.data.datasets import Batch, Dataset
from qengine.data.datasets.runs import Runs
from qengine.errors import OptionError
from qengine.model.graph import Graph


def split(dataset: Dataset, graph: Graph, share: float) -> tuple[Runs, Runs]:
    """Return the runs of the samples that are searched on, and of those that are held out.

    Those that are held out are spread evenly over the data, which may be sorted. Where the model takes a fixed number
    of samples at once, whole runs are held out.

    Parameters
    ----------
    dataset, graph
        The data, and its model.
    share
        Share of the samples that is held out, between 0 and 1.

    Raises
    ------
    OptionError
        If the share is not between 0 and 1, or no sample is left on one part.
    """
    if isinstance(share, bool) or not 0 < share < 1:
        raise OptionError(f"the share of the samples that is held out is between 0 and 1, such as 0.2, not {share!r}")
    is_open = all(v.shape and not isinstance(v.shape[0], int) for v in graph.inputs if v.name in dataset.stacked)
    parts = [_Part(dataset, share, is_held_out=held_out, splits_batches=is_open) for held_out in (False, True)]
    counts = [sum(batch.count for batch in part.batches()) for part in parts]
    if not all(counts):
        rest = "is held out" if counts[0] else "is left to search on"
        raise OptionError(f"none of {len(dataset)} samples {rest} with a share of {share}: give more, or another share")
    searched, held_out = (Runs(part.batches, count) for part, count in zip(parts, counts, strict=True))
    return searched, held_out


class _Part:
    """A part of a data set: the samples that are held out, or the others."""

    def __init__(self, dataset: Dataset, share: float, *, is_held_out: bool, splits_batches: bool) -> None:
        self._dataset, self._share, self._is_held_out, self._splits_batches = (
            dataset,
            share,
            is_held_out,
            splits_batches,
        )

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of the data set, each without the samples of the other part."""
        return self._split_batches() if self._splits_batches else self._whole_batches()

    def _whole_batches(self) -> Iterator[Batch]:
        for i, batch in enumerate(self._dataset.batches()):
            if self._contains(i):
                yield batch

    def _split_batches(self) -> Iterator[Batch]:
        start = 0
        for batch in self._dataset.batches():
            rows = [i for i in range(batch.count) if self._contains(start + i)]
            start += batch.count
            if len(rows) == batch.count:
                yield batch
            elif rows:
                yield _rows(batch, rows, self._dataset.stacked)

    def _contains(self, index: int) -> bool:
        return (floor((index + 1) * self._share) > floor(index * self._share)) is self._is_held_out


def _rows(batch: Batch, rows: Sequence[int], stacked: Iterable[str]) -> Batch:
    feeds = {name: array[rows] if name in stacked else array for name, array in batch.feeds.items()}
    targets = {name: array[rows] for name, array in batch.targets.items()}
    return Batch(feeds, targets, None if batch.labels is None else batch.labels[rows], len(rows))
