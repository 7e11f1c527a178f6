"""Runs of a model in float32 on a few samples, with each of some preprocessings.

The pixels are read once, and become the numbers of each candidate in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.cli.project.first_look.candidates import Candidate
from qengine.data.channels import channel_axis
from qengine.data.datasets import Batch, Dataset
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError
from qengine.metrics.tasks import Task, classes_of, is_scores, task_of
from qengine.model.graph import Value
from qengine.runtime.session import InferenceSession

Arrays = Mapping[str, NDArray[Any]]

MOST_SAMPLES = 256
"""Samples that are tried at most."""

_SECONDS = 20.0
_PEAK = 255.0


@dataclass
class Trial:
    """Figures of a model with one preprocessing.

    Attributes
    ----------
    candidate : the preprocessing.
    samples : number of samples that were run.
    correct : number of samples whose class is right; None without labels or classes.
    likelihood : sum of the logarithms of the probabilities of the right classes.
    certainty : sum of the probabilities of the classes that were found.
    found : classes that were found.
    are_probabilities : whether the scores are probabilities.
    squares : squared error of pictures against their targets or the input, in pixels, and the number of elements.
    low, high : least and largest element of the output.
    is_finite : whether all elements of the output are finite.
    """

    candidate: Candidate
    samples: int = 0
    correct: int | None = None
    likelihood: float = 0.0
    certainty: float = 0.0
    found: set[int] = field(default_factory=set)
    are_probabilities: bool = True
    squares: tuple[float, int] = (0.0, 0)
    low: float = np.inf
    high: float = -np.inf
    is_finite: bool = True

    @property
    def accuracy(self) -> float | None:
        """The share of samples whose class is right; None without labels."""
        return None if self.correct is None or not self.samples else self.correct / self.samples

    @property
    def confidence(self) -> float | None:
        """The mean probability of the classes that were found; None without classes."""
        return self.certainty / self.samples if self.certainty else None

    @property
    def psnr(self) -> float | None:
        """The PSNR of pictures in dB, infinite where they are equal; None where there are none to compare."""
        error, count = self.squares
        if not count:
            return None
        return float("inf") if not error else float(10 * np.log10(_PEAK**2 * count / error))


@dataclass(frozen=True)
class Trials:
    """Trials of all candidates.

    Attributes
    ----------
    task, output : kind of the output by which the model is evaluated, and its name.
    shape : shape of that output in the first run.
    trials : figures of each candidate.
    has_targets : whether pictures are compared with their targets, and not with the input.
    ranges : least and largest number of each input, with the first candidate.
    """

    task: Task
    output: str
    shape: tuple[int, ...]
    trials: tuple[Trial, ...]
    has_targets: bool
    ranges: Mapping[str, tuple[float, float]]


def try_all(
    session: InferenceSession,
    open_data: Callable[[Preprocessing], Dataset],
    tried: Sequence[Candidate],
    base: Preprocessing,
    *,
    advance: Callable[[float], None],
) -> Trials:
    """Return the figures of a model with each of some preprocessings.

    Parameters
    ----------
    session
        The model in float32.
    open_data
        Function that opens the data with a preprocessing.
    tried
        The preprocessings.
    base
        Sizes, layout and changes of pictures.
    advance
        Function that is called with the share of the work that was done.

    Raises
    ------
    QEngineError
        If the data cannot be read, or the model not be run on it.
    """
    plain = Candidate("").preprocessing(base)
    dataset = open_data(plain)
    pixels = [name for name in dataset.pixels if name in dataset.names]
    trials = tuple(Trial(candidate) for candidate in tried)
    declared = {value.name: value for value in session.graph.inputs}
    first: tuple[Task, str, tuple[int, ...], bool] | None = None
    ranges: dict[str, tuple[float, float]] = {}
    end = None
    for batch in dataset.spread(MOST_SAMPLES):
        for trial in trials:
            preprocessing = trial.candidate.preprocessing(base)
            feeds = {
                name: _converted(array, preprocessing, declared[name]) if name in pixels else array
                for name, array in batch.feeds.items()
            }
            outputs = _real(session, feeds)
            if first is None:
                task, name = task_of(
                    outputs, has_labels=batch.labels is not None, targets=batch.targets, preprocessing=preprocessing
                )
                first = task, name, outputs[name].shape, name in batch.targets
            if trial is trials[0]:
                _widen(ranges, feeds)
            _add(trial, first[0], outputs[first[1]], batch, pixels, preprocessing, first[1])
        advance(batch.count / min(len(dataset), MOST_SAMPLES))
        end = end or time.monotonic() + _SECONDS  # kernels are compiled in the first run
        if time.monotonic() > end:
            break
    if first is None:
        raise FeedError(f"data {dataset.name} holds no samples")
    return Trials(*first[:3], trials, first[3], ranges)


def _real(session: InferenceSession, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """Return the outputs that are tensors."""
    names = [value.name for value in session.get_outputs()]
    outputs = zip(names, session.run(names, dict(feeds)), strict=True)
    return {name: array for name, array in outputs if isinstance(array, np.ndarray)}


def _converted(pixels: NDArray[Any], preprocessing: Preprocessing, declared: Value) -> NDArray[Any]:
    """Return pixels 0..255 as the numbers of a preprocessing."""
    mean, scale = np.asarray(preprocessing.mean), np.asarray(preprocessing.scale)
    shape = declared.shape if declared.shape is not None else pixels.shape
    axis = channel_axis(shape, preprocessing.layout) if pixels.ndim > 2 else None
    moved = pixels if axis is None else np.moveaxis(pixels, axis, -1)
    if preprocessing.bgr and axis is not None:
        moved = moved[..., ::-1]
    numbers = ((moved.astype(np.float64) - mean) * scale).astype(pixels.dtype)
    return np.ascontiguousarray(numbers if axis is None else np.moveaxis(numbers, -1, axis))


def _widen(ranges: dict[str, tuple[float, float]], feeds: Arrays) -> None:
    for name, array in feeds.items():
        if array.size and array.dtype.kind in "iuf":
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(array.min())), max(high, float(array.max()))


def _add(
    trial: Trial,
    task: Task,
    output: NDArray[Any],
    batch: Batch,
    pixels: Sequence[str],
    preprocessing: Preprocessing,
    name: str,
) -> None:
    """Add a run to the figures of a trial."""
    trial.samples += batch.count
    if output.dtype.kind == "f" and output.size:
        trial.is_finite &= bool(np.isfinite(output).all())
        trial.low, trial.high = min(trial.low, float(output.min())), max(trial.high, float(output.max()))
    if task is Task.CLASSES:
        _add_classes(trial, output, batch.labels)
    if task is Task.IMAGES and trial.is_finite:
        target = batch.targets.get(name, batch.feeds[pixels[0]] if pixels else None)
        error, count = _squares(output, target, preprocessing)
        trial.squares = trial.squares[0] + error, trial.squares[1] + count


def _add_classes(trial: Trial, output: NDArray[Any], labels: NDArray[np.int64] | None) -> None:
    classes = classes_of(output)
    trial.found |= set(classes.tolist())
    if labels is not None:
        trial.correct = (trial.correct or 0) + int((classes == labels).sum())
    if not is_scores(output) or not np.isfinite(output).all():
        return
    scores = output.astype(np.float64)
    is_probability = bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))
    trial.are_probabilities &= is_probability or bool((scores <= 0).all())  # or logarithms of them
    powers = scores if is_probability else np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    trial.certainty += float(probabilities.max(axis=1).sum())
    if labels is not None and ((labels >= 0) & (labels < scores.shape[1])).all():
        right = probabilities[np.arange(len(labels)), labels]
        trial.likelihood += float(np.log(np.maximum(right, 1e-12)).sum())


def _squares(output: NDArray[Any], target: NDArray[Any] | None, preprocessing: Preprocessing) -> tuple[float, int]:
    """Return the squared error of pictures in pixels, and their number of elements; 0 where they cannot be compared.

    The target has pixels 0..255. A picture that is larger by a whole factor is averaged over its squares first.
    """
    if target is None or target.ndim != output.ndim or output.ndim != 4:
        return 0.0, 0
    axis = channel_axis(output.shape, preprocessing.layout)
    made = np.moveaxis(output.astype(np.float64), axis, -1)
    wanted = np.moveaxis(target.astype(np.float64), channel_axis(target.shape, preprocessing.layout), -1)
    pixels = np.clip(made / np.asarray(preprocessing.scale) + np.asarray(preprocessing.mean), 0, _PEAK)
    pixels = pixels[..., ::-1] if preprocessing.bgr else pixels
    rows, columns = (a // b if b and a % b == 0 else 0 for a, b in zip(made.shape[1:3], wanted.shape[1:3], strict=True))
    if not rows or not columns or made.shape[-1] != wanted.shape[-1] or len(made) != len(wanted):
        return 0.0, 0
    n, height, width, channels = wanted.shape
    averaged = pixels.reshape(n, height, rows, width, columns, channels).mean(axis=(2, 4))
    return float(((averaged - wanted) ** 2).sum()), wanted.size
