import numpy as np
import pytest
import scipy.special
from model.contrib.cases import Draws, RuntimeCase, each, refused, scalar

from qengine.errors import ModelError, UnsupportedError

DRAWS = Draws(1)
real = DRAWS.real


def softmax(x, axes):
    return scipy.special.softmax(x.astype(np.float64), axes).astype(np.float32)


def bias_softmax(shape, bias, axis, first):
    x, b = real(*shape), real(*bias)
    wanted = softmax(x + b, tuple(range(first, len(shape))))
    return RuntimeCase("BiasSoftmax", (x, b), {"axis": axis, "is_inner_broadcast": 1}, expected=(wanted,))


def bias_split_gelu():
    x, b = real(2, 3, 8), real(8)
    left, right = np.split((x + b).astype(np.float64), 2, axis=-1)
    gelu = right * 0.5 * (1.0 + scipy.special.erf(right / np.sqrt(2.0)))
    return RuntimeCase("BiasSplitGelu", (x, b), expected=((left * gelu).astype(np.float32),))


def bias_add():
    x, b, skip = real(2, 3, 4), real(4), real(2, 3, 4)
    return RuntimeCase("BiasAdd", (x, b, skip), expected=(x + b + skip,))


CASES = [
    RuntimeCase("Gelu", (real(2, 5, 8),)),
    RuntimeCase("Gelu", (scalar(1.5),)),
    RuntimeCase("BiasGelu", (real(2, 5, 8), real(8))),
    RuntimeCase("FastGelu", (real(2, 5, 8),)),
    RuntimeCase("FastGelu", (real(2, 5, 8), real(8))),
    RuntimeCase("QuickGelu", (real(3, 7),)),
    RuntimeCase("QuickGelu", (real(3, 7),), {"alpha": -0.7}),
    bias_softmax((2, 3, 4, 5), (2, 1, 1, 5), 3, 3),
    bias_softmax((2, 3, 4, 5), (1, 1, 4, 5), -1, 3),
    bias_softmax((2, 3, 4, 5), (4, 5), 2, 2),
    bias_softmax((2, 3), (3,), 1, 1),
    bias_split_gelu(),
    bias_add(),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def test_nodes_that_do_not_fit_are_refused():
    refused(RuntimeCase("Gelu", (real(3),), {"foo": 1}), "foo", error=ModelError)
    refused(RuntimeCase("BiasGelu", (real(3), None)), "'bias' is missing", error=ModelError)
    refused(RuntimeCase("Gelu", (real(3), real(3))), "at most 1", error=ModelError)
    refused(RuntimeCase("Gelu", (real(3),), outputs=(True, True)), "has 1 outputs", error=ModelError)
    conv = (real(1, 1, 3), real(1, 1, 1))
    refused(RuntimeCase("FusedConv", conv, {"activation": "Cube"}), "'Cube'", "Sigmoid", error=UnsupportedError)
