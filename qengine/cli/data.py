"""The samples that --data names, and how far through them a command is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qengine.cli import parsing
from qengine.data import zoo
from qengine.data.datasets import Dataset, open_dataset, samples_at_once
from qengine.data.images import PixelScale
from qengine.model.graph import Graph


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

    def pixel_scale(self, name: str, entry: zoo.Entry | None) -> PixelScale:
        """Return how images and numbers go together; see `open`."""
        known = zoo.ENTRIES.get(name) or entry
        return parsing.pixel_scale(known.pixel_scale if known else PixelScale(), self.scale, self.mean, self.bgr)

    def open(
        self, name: str, entry: zoo.Entry | None, graph: Graph, max_elements: int, *, several: bool = False
    ) -> Dataset:
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
        several
            Feed some at once where the model takes any number and nothing else is asked for.

        Raises
        ------
        QEngineError
            If there is no such data, or it does not go with the model.
        """
        pixel_scale = self.pixel_scale(name, entry)
        options: dict[str, Any] = {
            "pixel_scale": pixel_scale,
            "fixed": parsing.inputs(self.inputs, graph, pixel_scale, max_elements),
            "limit": self.limit,
            "max_elements": max_elements,
        }
        found = open_dataset(name, graph, batch=self.batch, **options)
        if several and self.batch is None and (more := samples_at_once(graph, found)) > 1:
            return open_dataset(name, graph, batch=more, **options)
        return found


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
