"""The samples that --data names, and how far through them a command is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qengine import zoo
from qengine.cli import parsing
from qengine.datasets import Dataset, open_dataset
from qengine.graph import Graph
from qengine.images import PixelScale


@dataclass(frozen=True)
class DataOptions:
    """The options of data, as they were typed; what was left out is None, False or empty."""

    data: str | None = None
    inputs: Sequence[str] = ()
    batch: int | None = None
    limit: int | None = None
    scale: str | None = None
    mean: str | None = None
    bgr: bool = False

    def open(self, name: str, entry: zoo.Entry | None, graph: Graph, max_elements: int) -> Dataset:
        """Return the samples.

        Parameters
        ----------
        name
            Of the data.
        entry
            The bundled model that is run, if it is one: images are read as it takes them.
        graph
            The model.
        max_elements
            A sample with more elements is refused.

        Raises
        ------
        QEngineError
            If there is no such data, or it does not go with the model.
        """
        known = zoo.ENTRIES.get(name) or entry
        pixel_scale = parsing.pixel_scale(known.pixel_scale if known else PixelScale(), self.scale, self.mean, self.bgr)
        fixed = parsing.inputs(self.inputs, graph, pixel_scale, max_elements)
        return open_dataset(
            name,
            graph,
            pixel_scale=pixel_scale,
            fixed=fixed,
            batch=self.batch,
            limit=self.limit,
            max_elements=max_elements,
        )


def fed(dataset: Dataset, advance: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    """Give the feeds of one run after the other, and tell when it is done."""
    for batch in dataset.batches():
        yield batch.feeds
        advance(batch.count)


def fed_in_parts(
    dataset: Dataset, advance: Callable[[float], None]
) -> tuple[Iterator[Mapping[str, Any]], Callable[[float], None]]:
    """Return the feeds of one run after the other, and what to call with a part of a run that is done."""
    count = 0

    def feeds() -> Iterator[Mapping[str, Any]]:
        nonlocal count
        for batch in dataset.batches():
            count = batch.count
            yield batch.feeds

    return feeds(), lambda part: advance(part * count)
