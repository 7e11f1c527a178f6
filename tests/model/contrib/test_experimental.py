import numpy as np
import pytest
from model.contrib.cases import Draws, RuntimeCase, each, refused

from qengine.errors import ModelError, UnsupportedError

X = Draws(31).real(2, 3, 6, 5)


def old(operator, *inputs, opset=7, **attributes):
    return RuntimeCase(operator, (X, *inputs), attributes, domain="", opset=opset)


CASES = [
    old("Affine", alpha=0.5, beta=2.0, opset=9),
    old("Affine"),
    old("Scale", scale=-2.0),
    old("ScaledTanh", alpha=0.5, beta=2.0),
    old("ParametricSoftplus", alpha=0.5, beta=2.0),
    old("ImageScaler", scale=0.5, bias=[1.0, 2.0, -3.0], opset=9),
    old("Crop", border=[1, 2, 1, 0]),
    old("Crop", border=[0, 0, 0, 0]),
    old("Crop", border=[1, 2, 1, 0], scale=[2, 3]),
    old("DynamicSlice", np.array([1, 0]), np.array([3, 2]), np.array([2, 1])),
    old("DynamicSlice", np.array([0, 1], np.int32), np.array([2, 3], np.int32)),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def test_what_is_refused():
    refused(old("Affine", opset=10), "since opset 10", error=UnsupportedError)
    refused(old("Crop", border=[1, 2]), "[1, 2]", error=ModelError)
    refused(old("ScaledTanh", alpha=1.0), "'beta' is missing", error=ModelError)
    refused(old("ImageScaler", bias=[1.0, 2.0]), "", error=ModelError)
