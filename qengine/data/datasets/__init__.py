"""Data sets: samples of a model's inputs, on disk or in Python, as a user gives them."""

from qengine.data.datasets.batches import in_fast_batches, samples_at_once
from qengine.data.datasets.dataset import Batch, Dataset, Source
from qengine.data.datasets.given import DataKeywords, ReadingKeywords, data_keywords, provenance_of, runs_of
from qengine.data.datasets.labels import Labels
from qengine.data.datasets.opening import graph_of, open_dataset
from qengine.data.datasets.spilled import write_spilled

__all__ = [
    "Batch",
    "DataKeywords",
    "Dataset",
    "Labels",
    "ReadingKeywords",
    "Source",
    "data_keywords",
    "graph_of",
    "in_fast_batches",
    "open_dataset",
    "provenance_of",
    "runs_of",
    "samples_at_once",
    "write_spilled",
]
