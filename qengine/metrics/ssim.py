"""Structural similarity of images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qengine.errors import SweepError
from qengine.metrics.declaration import Accumulator, EvaluatedBatch, Pixels, Reference, metric
from qengine.metrics.tasks import Task

_WINDOW = 11  # pixels on a side of the Gaussian window


def _structural_similarity() -> Any:
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise SweepError(
            "SSIM needs scikit-image: pip install 'qengine[ssim]', or leave it out (--no-ssim, ssim=False)"
        ) from None
    return structural_similarity


def _check() -> None:
    _structural_similarity()


@metric(
    "ssim",
    label="SSIM",
    tasks=[Task.IMAGES],
    reference=Reference.TARGET,
    default_drop=0.01,
    order=40,
    check=_check,
)
class Ssim(Accumulator):
    """Mean over images of the structural similarity; None where an image is smaller than the window."""

    def __init__(self) -> None:
        self._similarity = _structural_similarity()
        self._values: list[float] = []

    def add(self, batch: EvaluatedBatch) -> None:
        """Add the images of a run."""
        for picture, original in batch.images:
            fits = min(picture.shape[:2]) >= _WINDOW
            self._values.append(self._of(picture, original) if fits else math.nan)

    def value(self) -> float | None:
        """Return the mean, at most 1."""
        mean = float(np.mean(self._values)) if self._values else math.nan
        return mean if math.isfinite(mean) else None

    def _of(self, picture: Pixels, original: Pixels) -> float:
        """Return SSIM by Wang et al. (2004), with a Gaussian window of deviation 1.5; the mean of channels."""
        return float(
            self._similarity(
                picture,
                original,
                data_range=255.0,
                channel_axis=-1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        )
