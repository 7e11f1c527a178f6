"""NonMaxSuppression, with the comparisons of ONNX Runtime: all arithmetic is in float32, in its order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.eager.boxes import Suppressed
from qengine.model.eager.evaluator import evaluator

Corners = tuple[NDArray[np.float32], ...]
"""Least and largest x, least and largest y of boxes."""


@evaluator("NonMaxSuppression")
def non_max_suppression(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    max_output_boxes_per_class: NDArray[np.int64] | None = None,
    iou_threshold: NDArray[np.float32] | None = None,
    score_threshold: NDArray[np.float32] | None = None,
    *,
    center_point_box: int = 0,
) -> NDArray[Any]:
    """Rows (batch, class, box) of the boxes with the highest scores, without those that overlap a better one."""
    given = Suppressed.of(
        *(boxes, scores, max_output_boxes_per_class, iou_threshold, score_threshold), center_point_box=center_point_box
    )
    rows = [np.zeros((0, 3), np.int64)]
    for batch in range(len(scores) if given.most > 0 else 0):
        corners = _corners(boxes[batch], center_point_box)
        for category, ranked in enumerate(scores[batch]):
            chosen = _chosen(corners, ranked, given.most, given.overlap, given.least)
            rows.append(np.column_stack([np.full_like(chosen, batch), np.full_like(chosen, category), chosen]))
    return np.concatenate(rows)


def _corners(boxes: NDArray[np.float32], center_point_box: int) -> Corners:
    """Return the corners of boxes (y1, x1, y2, x2) or, around a center, (x, y, width, height)."""
    a, b, c, d = boxes.T
    if center_point_box:
        half_width, half_height = c / np.float32(2), d / np.float32(2)
        return a - half_width, a + half_width, b - half_height, b + half_height
    return np.minimum(b, d), np.maximum(b, d), np.minimum(a, c), np.maximum(a, c)


def _chosen(
    corners: Corners, scores: NDArray[np.float32], most: int, overlap: np.float32, least: np.float32 | None
) -> NDArray[np.int64]:
    """Return the indices of the boxes of one class that remain, those with the highest scores first."""
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    if least is not None:
        order = order[scores[order] > least]
    chosen: list[int] = []
    while len(order) and len(chosen) < most:
        best, order = int(order[0]), order[1:]
        chosen.append(best)
        order = order[~_overlaps(corners, best, order, overlap)]
    return np.array(chosen, np.int64)


def _overlaps(corners: Corners, best: int, others: NDArray[np.int64], overlap: np.float32) -> NDArray[np.bool_]:
    """Return which boxes have more in common with one box than the threshold; empty boxes overlap none."""
    left, right, top, bottom = corners
    width = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others])
    height = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others])
    area = (right[best] - left[best]) * (bottom[best] - top[best])
    areas = (right[others] - left[others]) * (bottom[others] - top[others])
    common = width * height
    union = area + areas - common
    counts = (width > 0) & (height > 0) & (common > 0) & (area > 0) & (areas > 0) & (union > 0)
    return np.asarray(counts & (common / np.where(counts, union, np.float32(1)) > overlap))
