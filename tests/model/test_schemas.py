"""Checks of nodes against ONNX's definitions."""

import numpy as np
import pytest

from qengine.errors import ModelError
from qengine.model.graph import Node
from qengine.model.schemas import check_form, dtype_of, output_types


def node(operator, attributes, version=17, outputs=("y",), domain=""):
    return Node(operator, ("x",), outputs, attributes, "n", domain, version)


@pytest.mark.parametrize(
    ("reason", "checked"),
    [
        ("attribute 'alpha' does not exist at opset 17; there are none", node("Relu", {"alpha": 1.0})),
        ("attribute 'start' does not exist at opset 14", node("Shape", {"start": 1}, 14)),
        ("attribute 'axis' is 1.0; INT is needed", node("Softmax", {"axis": 1.0})),
        ("attribute 'alpha' is 1; FLOAT is needed", node("LeakyRelu", {"alpha": 1})),
        ("attribute 'axes' is 1; INTS is needed", node("ReduceL1", {"axes": 1}, 13)),
        ("attribute 'axes' is .*; INTS is needed", node("ReduceL1", {"axes": (1, 2.0)}, 13)),
        ("attribute 'mode' is 3; STRING is needed", node("Pad", {"mode": 3})),
        ("attribute 'value' is 3; TENSOR is needed", node("ConstantOfShape", {"value": 3})),
        ("attribute 'to' is missing", node("Cast", {})),
        ("gives at most 1 outputs, 2 are asked for", node("Relu", {}, outputs=("y", "z"))),
    ],
    ids=lambda value: value.operator if isinstance(value, Node) else "",
)
def test_the_form_of_a_node(reason, checked):
    with pytest.raises(ModelError, match=reason):
        check_form(checked)


def test_forms_that_are_allowed():
    check_form(node("ReduceL1", {"axes": (), "keepdims": 0}, 13))
    check_form(node("ConstantOfShape", {"value": np.zeros(1)}))
    check_form(node("Split", {}, outputs=tuple("abcdefgh")))
    check_form(node("Own", {"whatever": 1}, 1, domain="my.domain"))


def test_element_types():
    assert dtype_of(1) == np.float32
    assert dtype_of(8).kind == "O"
    for code in (0, 99, -1, 2**40):
        with pytest.raises(ModelError, match=f"element type {code} does not exist"):
            dtype_of(code)


@pytest.mark.parametrize(
    ("operator", "attributes", "expected"),
    [("Cast", {"to": 10}, np.float16), ("Cast", {"to": 99}, None), ("Shape", {}, np.int64), ("Relu", {}, np.float32)],
    ids=str,
)
def test_types_of_outputs(operator, attributes, expected):
    assert output_types(node(operator, attributes), [np.dtype(np.float32)]) == [expected]
