"""Det."""

import numpy as np
import pytest
from model.eager.nodes import run
from model.ops.cases import Case, each, real

from qengine.errors import QEngineError

CASES = [
    *(
        Case("Det", (real(*shape).astype(kind),), follows=follows, rtol=1e-3, atol=1e-4)
        for shape in ((3, 3), (2, 3, 3), (2, 0, 3, 3), (1, 1), (2, 4, 2, 2))
        # ONNX Runtime has no kernel for float64.
        for kind, follows in ((np.float32, "both"), (np.float64, "reference"))
    ),
    Case("Det", (np.ones((3, 3), np.float32),)),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("version", [11, 22])
def test_half(version):
    x = real(2, 3, 3).astype(np.float16)
    (y,) = run("Det", (x,), opset=version)
    np.testing.assert_array_equal(y, np.linalg.det(x.astype(np.float64)).astype(np.float16), strict=True)


def test_the_determinant_of_nothing_is_one():
    (y,) = run("Det", (np.zeros((2, 0, 0), np.float32),), opset=22)
    np.testing.assert_array_equal(y, np.float32([1, 1]), strict=True)


@pytest.mark.parametrize("shape", [(2, 3), (3,), ()])
def test_other_matrices_are_errors(shape):
    with pytest.raises(QEngineError, match=r"square|rank|cannot run"):
        run("Det", (real(*shape),), opset=22)
