"""NonMaxSuppression against ONNX Runtime: which boxes remain, and in which order."""

from itertools import product

import numpy as np
import pytest
from model.eager.nodes import alone, refused
from model.ops.cases import Case, each, f32, i64, scalar

from qengine.errors import ModelError

BOXES = f32(0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 1, 11, 0, 10, 0, 100, 1, 101).reshape(1, 6, 4)
SCORES = f32(0.9, 0.75, 0.6, 0.95, 0.5, 0.3, 0.1, 0.2, 0.9, 0.9, 0.3, 0.05).reshape(1, 2, 6)
LIMIT, OVERLAP, LEAST = i64(3), f32(0.5), f32(0.2)


def scene(seed, *, batches=2, classes=3, count=25):
    """Return boxes on a coarse grid, with scores of one digit: many of both are equal."""
    r = np.random.default_rng(seed)
    boxes = r.integers(0, 8, (batches, count, 4)).astype(np.float32) / (1 if seed % 2 else 3)
    return boxes, r.integers(0, 10, (batches, classes, count)).astype(np.float32) / 10


CASES = [
    *(
        Case("NonMaxSuppression", (BOXES, SCORES, *given), {"center_point_box": center}, follows="onnxruntime")
        for center, given in product(
            (0, 1),
            (
                (),
                (LIMIT,),
                (LIMIT, OVERLAP),
                (LIMIT, None, LEAST),
                (LIMIT, OVERLAP, LEAST),
                (i64(0), OVERLAP, LEAST),
                (i64(-1),),
                (None, OVERLAP, LEAST),
                (scalar(3, np.int64), scalar(0.5), scalar(0.2)),
                (i64(2**62), f32(1), f32(-1)),
                (LIMIT, f32(0), f32(2)),
            ),
        )
    ),
    *(
        Case(
            "NonMaxSuppression",
            (*scene(seed), i64(6), f32(overlap), f32(0.3)),
            {"center_point_box": seed // 2 % 2},
            follows="onnxruntime",
        )
        for seed in range(8)
        for overlap in (0.0, 0.4)
    ),
    Case("NonMaxSuppression", (*scene(1, count=0), LIMIT), follows="onnxruntime"),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_a_box_at_the_threshold_remains():
    boxes = f32(0, 0, 1, 2, 0, 1, 1, 3).reshape(1, 2, 4)  # a third of both is common
    third = np.float32(1) / np.float32(3)
    for threshold, remain in ((third, [0, 1]), (np.nextafter(third, np.float32(0)), [0])):
        (y,) = alone("NonMaxSuppression", (boxes, f32(2, 1).reshape(1, 1, 2), LIMIT, f32(threshold)))
        np.testing.assert_array_equal(y[:, 2], remain)


@pytest.mark.parametrize(
    ("reason", "inputs", "attributes"),
    [
        ("do not fit", (BOXES[0], SCORES), {}),
        ("do not fit", (BOXES, SCORES[..., :5]), {}),
        ("do not fit", (BOXES[..., :3], SCORES), {}),
        ("center_point_box is 2", (BOXES, SCORES), {"center_point_box": 2}),
        ("iou_threshold is 1.5, outside of 0..1", (BOXES, SCORES, LIMIT, f32(1.5)), {}),
        ("iou_threshold is nan", (BOXES, SCORES, LIMIT, f32(np.nan)), {}),
        ("score_threshold has shape", (BOXES, SCORES, LIMIT, OVERLAP, f32(0, 1)), {}),
        ("the number of boxes of shape", (BOXES, SCORES, i64(1, 2)), {}),
    ],
)
def test_what_is_refused(reason, inputs, attributes):
    refused(ModelError, reason, "NonMaxSuppression", inputs, attributes)
