"""The official test-suite of ONNX. `python -m pytest tests/test_backend.py` counts; see CONTRIBUTING.md."""

from __future__ import annotations

import unittest
import warnings

import numpy as np
import onnx
import pytest

from qengine import backend
from qengine.errors import ModelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the suite, which makes its data when it is loaded
    from onnx.backend.test import BackendTest

    SUITE = BackendTest(backend.QEngineBackend, __name__)

EXCLUDED = {
    "test_bernoulli": "asks for the random numbers of one generator",
    "test_gradient_of_add": "differentiates a graph, as nothing does that only runs networks",
    "test_loop16_seq_none": "the suite takes the length of an array without axes, whatever it is given",
}
"""Beginnings of the names of tests that cannot pass, and why."""

CASES = [
    (case, name)
    for case in SUITE.test_cases.values()
    for name in dir(case)
    if name.startswith("test_") and name.endswith("_cpu")
]


def is_excluded(name):
    return any(name.startswith(start) for start in EXCLUDED)


def test_the_suite_is_whole():
    assert len(CASES) >= 2033
    assert sum(is_excluded(name) for _, name in CASES) == 9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("case", "name"), [c for c in CASES if not is_excluded(c[1])], ids=lambda one: str(one))
def test_of_the_suite(case, name):
    result = unittest.TestResult()
    case(name).run(result)
    assert not result.skipped, result.skipped
    assert result.wasSuccessful(), (result.errors or result.failures)[0][1]


def test_run_node():
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    (y,) = backend.run_node(node, [np.float32([-1, 2])])
    assert y.tolist() == [0, 2]


def test_what_is_not_supported_is_skipped():
    node = onnx.helper.make_node("NoSuch", [], ["y"], domain="own")
    graph = onnx.helper.make_graph([node], "g", [], [onnx.helper.make_empty_tensor_value_info("y")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("own", 1)], ir_version=8)
    with pytest.raises(unittest.SkipTest, match=r"own\.NoSuch"):
        backend.prepare(model)
    assert not backend.is_compatible(model)
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    with pytest.raises(ModelError):
        backend.prepare(onnx.ModelProto())
