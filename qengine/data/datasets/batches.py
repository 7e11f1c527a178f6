"""The number of samples in a feed of a model that takes any number of them."""

from math import prod

import numpy as np

from qengine.data.datasets.dataset import Dataset
from qengine.model.graph import Graph

_MAX_BATCH_ELEMENTS, _MAX_BATCH_SAMPLES = 1 << 18, 128


def in_fast_batches(dataset: Dataset, graph: Graph, batch: int | None) -> Dataset:
    """Return a data set in feeds of `batch` samples, or without that number in feeds of some; see `samples_at_once`."""
    if batch is not None:
        return dataset
    count = samples_at_once(graph, dataset)
    return dataset.regrouped(count, None) if count > 1 else dataset


def samples_at_once(graph: Graph, dataset: Dataset) -> int:
    """Return a number of samples that is fast to feed at once; 1 if the model or the data allow no more.

    Parameters
    ----------
    graph
        The model.
    dataset
        Samples, in batches of any size.
    """
    shapes = [value.shape for value in graph.inputs if value.name in dataset.stacked]
    if not shapes or any(shape is None or not shape or isinstance(shape[0], int) for shape in shapes):
        return 1
    first = next(iter(dataset.batches()))
    largest = max(prod(np.shape(first.feeds[name])) for name in dataset.stacked)
    return max(1, min(_MAX_BATCH_ELEMENTS // max(largest, 1), _MAX_BATCH_SAMPLES, len(dataset)))
