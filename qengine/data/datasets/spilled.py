"""A data set in memory, written to an .npz file for processes that cannot see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qengine.atomic_files import replacing
from qengine.data.datasets.dataset import Dataset
from qengine.errors import FeedError


def write_spilled(dataset: Dataset, path: Path) -> None:
    """Write the samples, labels and targets of a data set to an .npz file, whose samples are the same.

    Parameters
    ----------
    dataset
        The data, whose fixed inputs are left out.
    path
        The file.

    Raises
    ------
    FeedError
        If its samples do not stack along a first axis, as those of several shapes.
    """
    problem = (
        f"data {dataset.name} is in memory and its samples have several shapes, or are runs of their own: worker "
        "processes need it in files, or give one job (jobs=None)"
    )
    if not dataset.stacked:
        raise FeedError(problem)
    items = list(dataset.regrouped(1, None).batches())
    first, arrays = items[0], {}
    for name in dataset.own_names:
        if name in dataset.stacked:
            parts = [item.feeds[name] for item in items]
            if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
                raise FeedError(problem)
            arrays[f"in:{name}"] = np.concatenate(parts)
        else:
            arrays[f"in:{name}"] = np.asarray(first.feeds[name])
    for name in first.targets:
        arrays[f"out:{name}"] = np.concatenate([item.targets[name] for item in items])
    if dataset.labels is not None:
        arrays["labels"] = dataset.labels
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
