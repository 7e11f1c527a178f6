"""Top-1 accuracy of a classifier."""

from __future__ import annotations

import numpy as np

from qengine.metrics.declaration import Accumulator, EvaluatedBatch, Reference, Unit, metric
from qengine.metrics.tasks import Task


@metric(
    "top1",
    label="Top-1 accuracy",
    heading="top-1",
    unit=Unit.SHARE,
    tasks=[Task.CLASSES],
    reference=Reference.LABELS,
    order=10,
)
class Top1(Accumulator):
    """Share of the samples whose label has the highest score; None unless every sample has a label."""

    def __init__(self) -> None:
        self._samples = self._labelled = self._right = 0

    def add(self, batch: EvaluatedBatch) -> None:
        """Count the samples of a run."""
        self._samples += len(batch.classes)
        if batch.labels is not None and len(batch.labels) == len(batch.classes):
            self._labelled += len(batch.classes)
            self._right += int(np.sum(batch.classes == batch.labels))

    def value(self) -> float | None:
        """Return the share, 0 to 1."""
        return self._right / self._samples if self._labelled == self._samples > 0 else None
