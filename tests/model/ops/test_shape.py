import numpy as np
import pytest

import qengine

from .cases import Case, each, f32, i64, real, scalar

X = real(2, 3, 4)
FILL = np.array([2.5], np.float32)
SERIES = [(1, 10, 3), (10, 1, -4), (3, 3, 1), (5, 1, 1), (0, 9, 3), (-7, -1, 2)]
NUMBERS = f32(0, 1, -1, 2.7, -2.7, 100.5, 1e9, np.nan, np.inf, -0.0)

CASES = [
    Case("Shape", (X,)),
    Case("Shape", (scalar(1),)),
    *(
        Case("Shape", (X,), attributes)
        for attributes in (
            {"start": 1},
            {"end": 2},
            {"start": -2, "end": -1},
            {"start": 2, "end": 1},
            {"end": 9},
            {"start": -9},
        )
    ),
    Case("Size", (X,)),
    Case("Size", (scalar(1),)),
    Case("Size", (real(0, 3),)),
    Case("ConstantOfShape", (i64(2, 3),)),
    Case("ConstantOfShape", (i64(2, 3),), {"value": FILL}),
    Case("ConstantOfShape", (i64(2, 0),), {"value": i64(7)}),
    Case("ConstantOfShape", (i64(),), {"value": np.array([True])}),
    *(Case("Range", tuple(scalar(v, np.int64) for v in s)) for s in SERIES),
    *(Case("Range", tuple(scalar(v, np.int32) for v in s)) for s in SERIES),
    *(Case("Range", tuple(scalar(v) for v in s)) for s in SERIES),
    Case("Range", (scalar(0.5), scalar(2.0), scalar(0.25))),
    Case("Range", (scalar(1.0), scalar(2.0), scalar(0.1))),
    Case("Range", (scalar(0.5, np.float64), scalar(-2.0, np.float64), scalar(-0.3, np.float64))),
    Case("Range", (scalar(1.0), scalar(4.0), scalar(1.0)), {"stash_type": 1}),
    # Far beyond 2^53, where float64 no longer counts.
    Case("Range", (scalar(2**62, np.int64), scalar(2**62 + 7, np.int64), scalar(2, np.int64))),
    *(Case("Cast", (f32(0, 1, 2.7, -2.7, 100.5, -0.0),), {"to": to}) for to in (1, 3, 5, 6, 7, 9, 10, 11)),
    *(Case("Cast", (f32(0, 1, 2.7, 200.5),), {"to": to}) for to in (2, 4, 12, 13)),
    *(Case("Cast", (NUMBERS,), {"to": to}) for to in (1, 9, 10, 11)),
    *(Case("Cast", (i64(0, 1, -3, 300),), {"to": to}) for to in (1, 2, 3, 6, 7, 9, 11)),
    *(Case("Cast", (np.array([True, False]),), {"to": to}) for to in (1, 2, 6, 7, 9, 11)),
    # ONNX Runtime refuses them where there is no float8.
    Case("Cast", (f32(1.5),), {"to": 7, "saturate": 0}, follows="reference"),
    *(
        Case("CastLike", (x, like))
        for x in (f32(0, 1, 2.7, -2.7), i64(0, 1, -3), np.array([True, False]))
        for like in (f32(1.0), i64(2, 3), np.array([True]), np.float16([3]), np.float64([1]))
    ),
    Case("CastLike", (f32(1.5), i64(0)), {"saturate": 0}, follows="reference"),
    Case("CastLike", (f32(1.5), i64(0)), {"round_mode": "down"}, follows="onnxruntime"),
    Case("Cast", (f32(1.5),), {"to": 7, "round_mode": "down"}, follows="reference"),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_shape_of_an_input_is_known_before_the_run():
    model, feeds = Case("Shape", (X,)).model(17, constant=False)
    session = qengine.InferenceSession(model, qformat="Q4.3")
    (found,) = session.run(None, feeds)
    np.testing.assert_array_equal(found, [2, 3, 4])
    assert not session.plan(session.check_feeds(feeds)).steps
