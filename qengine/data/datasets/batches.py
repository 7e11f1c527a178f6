"""How many samples make a run of a model that takes any number of them."""

from math import prod

import numpy as np

from qengine.data.datasets.dataset import Dataset
from qengine.model.graph import Graph

_ELEMENTS_AT_ONCE, _SAMPLES_AT_ONCE = 1 << 18, 128


def samples_at_once(graph: Graph, dataset: Dataset) -> int:
    """Return how many samples are fed at once where nobody says: some that fit together, or one.

    Parameters
    ----------
    graph
        The model.
    dataset
        Its samples, in batches of any size.
    """
    shapes = [value.shape for value in graph.inputs if value.name in dataset.stacked]
    if not shapes or any(shape is None or not shape or isinstance(shape[0], int) for shape in shapes):
        return 1
    first = next(iter(dataset.batches()))
    largest = max(prod(np.shape(first.feeds[name])) for name in dataset.stacked)
    return max(1, min(_ELEMENTS_AT_ONCE // max(largest, 1), _SAMPLES_AT_ONCE, len(dataset)))
