"""Peak signal-to-noise ratio of images."""

from __future__ import annotations

import numpy as np

from qengine.metrics.decibels import decibels
from qengine.metrics.declaration import Accumulator, EvaluatedBatch, Pixels, Reference, Unit, metric
from qengine.metrics.tasks import Task

_PEAK = 255.0


class _SquaredError:
    """Sum of squared differences of pixels."""

    def __init__(self) -> None:
        self._squares, self._pixels = 0.0, 0

    def add(self, pixels: Pixels, truth: Pixels) -> None:
        apart = pixels - truth
        self._squares += float(np.sum(apart * apart))
        self._pixels += pixels.size

    def psnr(self) -> float | None:
        return decibels(_PEAK**2 * self._pixels, self._squares) if self._pixels else None


def psnr(pixels: Pixels, truth: Pixels) -> float | None:
    """Return the PSNR in dB of one image of pixels 0..255; infinite where the images are equal."""
    error = _SquaredError()
    error.add(pixels, truth)
    return error.psnr()


@metric(
    "psnr",
    column="psnr_db",
    label="PSNR",
    unit=Unit.DB,
    tasks=[Task.IMAGES],
    reference=Reference.TARGET,
    order=30,
)
class Psnr(Accumulator):
    """PSNR in dB: 255^2 over the mean squared error of all pixels of all images."""

    def __init__(self) -> None:
        self._error = _SquaredError()

    def add(self, batch: EvaluatedBatch) -> None:
        """Add the pixels of a run."""
        for pixels, truth in batch.image_strips():
            self._error.add(pixels, truth)

    def value(self) -> float | None:
        """Return decibels; infinite where no pixel differs."""
        return self._error.psnr()
