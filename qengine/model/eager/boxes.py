"""Inputs of NonMaxSuppression, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import one_integer


@dataclass(frozen=True)
class Suppressed:
    """Boxes of which those that overlap a better one are left out.

    Attributes
    ----------
    boxes, scores : [batches, boxes, 4] and [batches, classes, boxes].
    most : largest number of boxes of a class.
    overlap : share of their union that two boxes may have in common.
    least : number that a score must be above; None for no limit.
    center_point_box : 1 where boxes are given by their centers, else 0.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    most: int
    overlap: np.float32
    least: np.float32 | None
    center_point_box: int

    @classmethod
    def of(
        cls,
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        most: NDArray[np.int64] | None = None,
        overlap: NDArray[np.float32] | None = None,
        least: NDArray[np.float32] | None = None,
        *,
        center_point_box: int,
    ) -> Suppressed:
        """Return the inputs of a node; raise ModelError for what ONNX does not allow."""
        if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (len(scores), scores.shape[2], 4):
            raise ModelError(
                f"boxes {list(boxes.shape)} and scores {list(scores.shape)} do not fit: [batches, boxes, 4] and "
                "[batches, classes, boxes] are needed"
            )
        if center_point_box not in (0, 1):
            raise ModelError(f"center_point_box is {center_point_box}; 0 or 1 is needed")
        count = 0 if most is None else one_integer(most, "the number of boxes")
        share = _threshold(overlap, "iou_threshold", np.float32(0))
        if not 0 <= share <= 1:
            raise ModelError(f"iou_threshold is {share}, outside of 0..1")
        limit = None if least is None else _threshold(least, "score_threshold", np.float32(0))
        return cls(boxes, scores, count, share, limit, center_point_box)


def _threshold(given: NDArray[Any] | None, what: str, default: np.float32) -> np.float32:
    if given is None:
        return default
    if given.size != 1 or given.ndim > 1:
        raise ModelError(f"{what} has shape {list(given.shape)}; a single number is needed")
    return np.float32(given.item())
