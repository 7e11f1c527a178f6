"""Agreement of a classifier with float32."""

from __future__ import annotations

import numpy as np

from qengine.metrics.declaration import Accumulator, EvaluatedBatch, Unit, metric
from qengine.metrics.tasks import Task


@metric(
    "agreement",
    label="Top-1 agreement with float32",
    heading="as\nfloat32",
    unit=Unit.SHARE,
    tasks=[Task.CLASSES],
    order=20,
)
class Agreement(Accumulator):
    """Share of the samples for which float32 names the same class."""

    def __init__(self) -> None:
        self._samples = self._agreeing = 0

    def add(self, batch: EvaluatedBatch) -> None:
        """Count the samples of a run."""
        self._samples += len(batch.classes)
        self._agreeing += int(np.sum(batch.classes == batch.exact_classes))

    def value(self) -> float | None:
        """Return the share, 0 to 1."""
        return self._agreeing / self._samples if self._samples else None
