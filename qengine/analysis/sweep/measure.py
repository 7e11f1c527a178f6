"""How good the outputs of a point are, over all data: sums grow batch by batch, and ratios are taken at the end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets import Batch
from qengine.data.images import PixelScale, pixels_of
from qengine.errors import FeedError, SweepError, UnsupportedError
from qengine.metrics.quality import is_scores

Outputs = Mapping[str, NDArray[Any]]

_LEAST_SIDE = 8  # of what is taken for an image
_SSIM_SIDE = 11  # of its window


class Task(StrEnum):
    """What the outputs of a model are, which decides how they are judged."""

    CLASSES = "classes"
    """A row of scores for each sample, or the number of a class."""
    IMAGES = "images"
    """Pictures with 1 or 3 channels."""
    OTHER = "other"


@dataclass(frozen=True)
class Measures:
    """How good a point is; None for what its task does not have.

    Attributes
    ----------
    sqnr_db : against float32, of the output that is judged; infinite where nothing is lost.
    sqnr_by_output : the same of every real-valued output.
    top1 : share of the samples whose label has the highest score.
    agreement : share of the samples for which float32 names the same class.
    psnr_db, ssim : of pixels, against `against`: "target" or "float32".
    """

    sqnr_db: float | None = None
    sqnr_by_output: dict[str, float | None] = field(default_factory=dict)
    top1: float | None = None
    agreement: float | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    against: str | None = None


def task_of(outputs: Outputs, *, has_labels: bool, targets: Outputs, pixel_scale: PixelScale) -> tuple[Task, str]:
    """Return what a model's outputs are, and which one is judged.

    Parameters
    ----------
    outputs
        Of one run in float32.
    has_labels
        Whether the true classes are known.
    targets
        What is known of outputs.
    pixel_scale
        How pixels and numbers go together.

    Returns
    -------
    Task, str
        The first output that has a target and is an image; else the first that is scores; else, where there are labels
        or no output holds real numbers, the first that names a class of each sample; else the first that is an image;
        else the first that holds real numbers.
    """
    if not outputs:
        raise UnsupportedError("the model has no outputs: there is nothing to measure")
    images = [name for name, array in outputs.items() if _is_image(array, pixel_scale)]
    scores = [name for name, array in outputs.items() if is_scores(array)]
    known = [name for name in images if name in targets]
    if known and not (has_labels and scores):
        return Task.IMAGES, known[0]
    if scores:
        return Task.CLASSES, scores[0]
    real = [name for name, array in outputs.items() if array.dtype.kind == "f"]
    named = [name for name, array in outputs.items() if _names_classes(array)]
    if named and (has_labels or not real):
        return Task.CLASSES, named[0]
    if images:
        return Task.IMAGES, images[0]
    return Task.OTHER, next(iter(real or outputs))


def _names_classes(array: NDArray[Any]) -> bool:
    """Whether there is one whole number for each sample, as ArgMax gives."""
    return array.dtype.kind in "iu" and array.ndim in (1, 2) and array.size == len(array) > 0


def _classes(array: NDArray[Any]) -> NDArray[Any]:
    """Return the class that is named for each sample: of equal scores the first."""
    return array.argmax(axis=1) if is_scores(array) else array.ravel()


def _is_image(array: NDArray[Any], pixel_scale: PixelScale) -> bool:
    if array.ndim != 4 or array.dtype.kind != "f" or array.shape[1] not in (1, 3) or not len(array):
        return False
    return min(array.shape[2:]) >= _LEAST_SIDE and pixel_scale.fits(array.shape[1])


class Meter:
    """Sums over the batches of one point.

    Parameters
    ----------
    task, judged
        As of `task_of`.
    pixel_scale
        How pixels and numbers go together.
    ssim
        Whether SSIM is wanted; it needs scikit-image.
    """

    def __init__(self, task: Task, judged: str, pixel_scale: PixelScale, *, ssim: bool) -> None:
        self._task, self._judged, self._pixel_scale = task, judged, pixel_scale
        self._similarity = _structural_similarity() if ssim and task is Task.IMAGES else None
        self._codes = hashlib.sha256()
        self._signal: dict[str, float] = {}
        self._noise: dict[str, float] = {}
        self._samples = self._right = self._agreeing = self._labelled = 0
        self._squares, self._pixels = 0.0, 0
        self._similarities: list[float] = []
        self._against: str | None = None

    def add(self, batch: Batch, codes: Outputs, real: Outputs, exact: Outputs) -> None:
        """Count the outputs of a run: codes, the real numbers that they stand for, and what float32 gives."""
        for name, array in codes.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise UnsupportedError(f"output '{name}' is no tensor of numbers: a sweep has nothing to measure in it")
            held = np.ascontiguousarray(array)
            self._codes.update(f"{name} {held.dtype.str} {held.shape} ".encode())
            self._codes.update(held.tobytes())
        for name, array in exact.items():
            if array.dtype.kind == "f":
                self._compare(name, array, real[name])
        if self._task is Task.CLASSES:
            self._classify(batch, real[self._judged], exact[self._judged])
        elif self._task is Task.IMAGES:
            self._look(batch, real[self._judged], exact[self._judged])

    def _compare(self, name: str, exact: NDArray[Any], real: NDArray[Any]) -> None:
        signal = noise = math.nan
        if exact.shape == real.shape:
            wide = exact.astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                signal, noise = float(np.sum(wide * wide)), float(np.sum((wide - real) ** 2))
        self._signal[name] = self._signal.get(name, 0.0) + signal
        self._noise[name] = self._noise.get(name, 0.0) + noise

    def _classify(self, batch: Batch, real: NDArray[Any], exact: NDArray[Any]) -> None:
        own, other = _classes(real), _classes(exact)
        self._samples += len(own)
        self._agreeing += int(np.sum(own == other))
        if batch.labels is not None and len(batch.labels) == len(own):
            self._labelled += len(own)
            self._right += int(np.sum(own == batch.labels))

    def _look(self, batch: Batch, real: NDArray[Any], exact: NDArray[Any]) -> None:
        target = batch.targets.get(self._judged)
        self._against = "float32" if target is None else "target"
        truth = exact if target is None else target
        if truth.shape != real.shape:
            what = f"output '{self._judged}' of shape {list(real.shape)}"
            raise UnsupportedError(f"{what} cannot be compared with {self._against} of shape {list(truth.shape)}")
        for one, other in zip(real, truth, strict=True):
            picture, original = pixels_of(one, self._pixel_scale), pixels_of(other, self._pixel_scale)
            assert picture is not None
            assert original is not None
            self._squares += float(np.sum((picture - original) ** 2))
            self._pixels += picture.size
            if self._similarity is not None:
                fits = min(picture.shape[:2]) >= _SSIM_SIDE
                self._similarities.append(_ssim(self._similarity, picture, original) if fits else math.nan)

    def measures(self) -> Measures:
        """Return the ratios of all that was added."""
        by_output = {name: _decibels(signal, self._noise[name]) for name, signal in self._signal.items()}
        all_labelled = self._labelled == self._samples > 0
        similarity = float(np.mean(self._similarities)) if self._similarities else math.nan
        return Measures(
            by_output.get(self._judged),
            by_output,
            self._right / self._samples if all_labelled else None,
            self._agreeing / self._samples if self._samples else None,
            _decibels(255.0**2 * self._pixels, self._squares) if self._pixels else None,
            similarity if math.isfinite(similarity) else None,
            self._against,
        )

    def codes(self) -> str:
        """Return a digest of the codes of all outputs."""
        return self._codes.hexdigest()


def _decibels(signal: float, noise: float) -> float | None:
    """Return 10 log10(signal / noise): infinite without noise, None where there is no signal or either is no number."""
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal and math.isfinite(signal) and math.isfinite(noise) else None


def _structural_similarity() -> Any:
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise SweepError(
            "SSIM needs scikit-image: pip install 'qengine[ssim]', or leave it out (--no-ssim, ssim=False)"
        ) from None
    return structural_similarity


def check_ssim(task: Task) -> None:
    """Raise SweepError where SSIM of such a task is to be measured and cannot be."""
    if task is Task.IMAGES:
        _structural_similarity()


def check_labels(task: Task, judged: str, outputs: Outputs, labels: NDArray[np.int64] | None) -> None:
    """Raise FeedError where a label is none of the classes that the output that is judged has scores for."""
    if task is Task.CLASSES and labels is not None and is_scores(outputs[judged]):
        classes, least, most = outputs[judged].shape[1], int(labels.min()), int(labels.max())
        if least < 0 or most >= classes:
            raise FeedError(
                f"labels reach from {least} to {most}, and the {classes} classes of output '{judged}' are counted from "
                f"0 to {classes - 1}"
            )


def _ssim(similarity: Any, picture: NDArray[np.float64], original: NDArray[np.float64]) -> float:
    """Return SSIM as Wang et al. (2004) define it, with a Gaussian window of deviation 1.5; the mean of channels."""
    return float(
        similarity(
            picture,
            original,
            data_range=255.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )
