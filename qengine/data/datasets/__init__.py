"""Data sets: samples of a model's inputs, on disk or in Python, as a user gives them."""

from qengine.data.datasets.batches import samples_at_once
from qengine.data.datasets.dataset import Batch, Dataset, Source
from qengine.data.datasets.given import DataKeywords, runs_of
from qengine.data.datasets.labels import Labels
from qengine.data.datasets.opening import graph_of, open_dataset

__all__ = [
    "Batch",
    "DataKeywords",
    "Dataset",
    "Labels",
    "Source",
    "graph_of",
    "open_dataset",
    "runs_of",
    "samples_at_once",
]
