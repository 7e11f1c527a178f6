import numpy as np
import pytest

from .cases import Case, each, f32, i64, real, scalar

X = real(2, 3, 4)
SQUARES = np.arange(2 * 8 * 4 * 6, dtype=np.float32).reshape(2, 8, 4, 6)

CASES = [
    Case("Identity", (X,)),
    Case("Identity", (i64(1, 2),)),
    Case("Identity", (scalar(True, bool),)),
    Case("Dropout", (X,)),
    Case("Dropout", (X,), {"ratio": 0.9}),
    # At 7 the mask has no defined type. ONNX Runtime's is false everywhere, although nothing is dropped.
    Case("Dropout", (X,), {"ratio": 0.9}, outputs=2, opsets=(10, 11), follows="reference"),
    Case("Dropout", (X, scalar(0.9))),
    Case("Dropout", (X, scalar(0.9), scalar(False, bool)), {"seed": 3}, outputs=2),
    Case("Dropout", (X, None, scalar(False, bool))),
    *(
        Case("Reshape", (X, i64(*shape)))
        for shape in ((24,), (-1,), (2, -1), (0, -1), (0, 0, 0), (4, 0, 2), (3, 2, 2, 2), (-1, 0, 1, 4))
    ),
    Case("Reshape", (scalar(3), i64())),
    Case("Reshape", (scalar(3), i64(1, 1))),
    Case("Reshape", (real(0, 3), i64(0, 5)), opsets=(14, 28), expected=(np.zeros((0, 5), np.float32),)),
    Case("Reshape", (real(0, 3), i64(3, 0)), {"allowzero": 1}),
    Case("Reshape", (real(0, 3), i64(-1, 3))),
    *(Case("Flatten", (X,), {"axis": axis}) for axis in (0, 1, 2, 3)),
    *(Case("Flatten", (X,), {"axis": axis}, opsets=(11, 28)) for axis in (-1, -2, -3)),
    Case("Flatten", (X,)),
    Case("Flatten", (real(0, 3, 4),), follows="onnxruntime"),  # onnx.reference fails
    Case("Squeeze", (real(1, 3, 1, 2),)),
    Case("Squeeze", (real(1, 3, 1, 2),), {"axes": [0]}),
    Case("Squeeze", (real(1, 3, 1, 2),), {"axes": [0, 2]}),
    Case("Squeeze", (real(1, 3, 1, 2),), {"axes": [-2]}, opsets=(11, 12)),
    Case("Squeeze", (real(1, 3, 1, 2), i64(2, 0))),
    Case("Squeeze", (real(1, 3, 1, 2), i64(-2))),
    Case("Unsqueeze", (real(3, 2),), {"axes": [0]}),
    Case("Unsqueeze", (real(3, 2),), {"axes": [0, 3]}),
    Case("Unsqueeze", (real(3, 2),), {"axes": [-1, -3]}, opsets=(11, 12)),
    Case("Unsqueeze", (real(3, 2), i64(3, 0))),
    Case("Unsqueeze", (real(3, 2), i64(-1, 1))),
    Case("Unsqueeze", (scalar(2), i64(0))),
    Case("Transpose", (X,)),
    Case("Transpose", (scalar(3.0),)),
    Case("Transpose", (X,), {"perm": [1, 2, 0]}),
    Case("Transpose", (real(0, 3),), {"perm": [1, 0]}),
    Case("Tile", (X, i64(1, 2, 3))),
    Case("Tile", (f32(1, 2), i64(0))),
    Case("Expand", (real(3, 1), i64(2, 1, 4))),
    Case("Expand", (real(2, 3), i64(1, 3))),
    Case("Expand", (scalar(2), i64(2, 2))),
    Case("DepthToSpace", (SQUARES,), {"blocksize": 2}),
    Case("DepthToSpace", (SQUARES,), {"blocksize": 2, "mode": "DCR"}),
    Case("DepthToSpace", (SQUARES,), {"blocksize": 2, "mode": "CRD"}),
    Case("DepthToSpace", (SQUARES,), {"blocksize": 1}),
    Case("SpaceToDepth", (SQUARES,), {"blocksize": 2}),
    Case("SpaceToDepth", (SQUARES,), {"blocksize": 2, "mode": "DCR"}),
    Case("SpaceToDepth", (SQUARES,), {"blocksize": 2, "mode": "CRD"}),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)
