"""A case: a model file with samples to calibrate on, samples to measure on, and what is right for them.

NAME.npz beside NAME.onnx holds the samples. Its arrays are

    calibration.INPUT   (runs, ...) what the model is fed in each run for calibration
    test.INPUT          (runs, ...) what it is fed in each run that is measured
    task                name of the task, see `tasks`; "sqnr" where it is missing
    labels              (runs, ...) what is right, as the task reads it; float32 is right where it is missing
    characters          characters by class, for the task "text"

A file in which arrays are called like the inputs alone holds one run, which serves for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Feeds = dict[str, np.ndarray]

_PARTS = ("calibration", "test")


@dataclass(frozen=True)
class Case:
    """A model and its samples.

    Attributes
    ----------
    path : the model.
    calibration, test : feeds of each run.
    task : name of the task.
    labels : what is right in each run; None where that is what float32 gives.
    characters : characters by class, for the task "text"; None where the model says them.
    """

    path: Path
    calibration: list[Feeds]
    test: list[Feeds]
    task: str = "sqnr"
    labels: np.ndarray | None = None
    characters: np.ndarray | None = field(default=None, repr=False)


def _runs(arrays: Mapping[str, np.ndarray], part: str) -> list[Feeds]:
    own = {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}
    lengths = {len(array) for array in own.values()}
    if len(lengths) > 1:
        raise ValueError(f"the arrays {part}.* have {sorted(lengths)} runs: give each the same number")
    return [{name: array[i] for name, array in own.items()} for i in range(min(lengths, default=0))]


def read_case(path: Path) -> Case:
    """Return the case of a model file: its samples are those of the .npz file of the same name."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
        arrays = dict(stored)
    if not any(name.startswith(f"{part}.") for name in arrays for part in _PARTS):
        return Case(path, [arrays], [arrays])
    calibration, test = (_runs(arrays, part) for part in _PARTS)
    if not calibration or not test:
        raise ValueError(f"{path.with_suffix('.npz')} needs arrays calibration.INPUT and test.INPUT")
    task = str(arrays.get("task", "sqnr"))
    return Case(path, calibration, test, task, arrays.get("labels"), arrays.get("characters"))


def write_case(
    path: Path, calibration: Feeds, test: Feeds, task: str, labels: np.ndarray | None = None, **others: np.ndarray
) -> None:
    """Write the samples of a model: arrays by input, whose first axis counts runs."""
    arrays = {f"calibration.{name}": array for name, array in calibration.items()}
    arrays |= {f"test.{name}": array for name, array in test.items()}
    if labels is not None:
        arrays["labels"] = labels
    np.savez_compressed(path.with_suffix(".npz"), task=np.array(task), **arrays, **others)


def models_of(folder: Path) -> Iterator[Path]:
    """Yield the models of a folder that have samples, in the order of their names."""
    for path in sorted(folder.glob("**/*.onnx")):
        if path.with_suffix(".npz").exists():
            yield path
