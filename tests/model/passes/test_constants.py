import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.errors import ModelError, UnsupportedError
from qengine.model.loader import load
from qengine.model.passes import constants, fold_constants

X = np.linspace(-2, 2, 90, dtype=np.float32).reshape(1, 3, 6, 5)


def test_a_chain_of_constants_is_computed_once():
    model = network(
        [
            ("Transpose", "W", "flipped", {"perm": [1, 0, 2, 3]}),
            ("Mul", "flipped two", "doubled"),
            ("Conv", "x doubled", "y"),
        ],
        constants={"W": weights(3, 4, 1, 1), "two": 2.0},
    )
    graph = fold_constants(load(model))
    assert [node.operator for node in graph.nodes] == ["Conv"]
    expected = 2 * weights(3, 4, 1, 1).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(graph.constants["doubled"], expected, strict=True)
    (y,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_allclose(y, run_onnxruntime(model, {"x": X})[0], atol=1e-6)


def test_every_output_of_a_node_gets_its_value():
    model = network(
        [("Split", "c", "- b", {"axis": 0}), ("Add", "x b", "y")],
        constants={"c": [1.0, 2.0]},
        inputs={"x": [1]},
    )
    graph = fold_constants(load(model))
    assert [node.operator for node in graph.nodes] == ["Add"]
    assert graph.constants["b"] == [2.0]
    assert "" not in graph.constants


def test_the_shape_of_an_input_is_not_constant():
    model = network(
        [("Shape", "x", "s"), ("Shape", "c", "t"), ("ConstantOfShape", "t", "z"), ("Reshape", "x s", "y")],
        constants={"c": weights(2, 2)},
        outputs=["y", "z"],
    )
    graph = fold_constants(load(model))
    assert [node.operator for node in graph.nodes] == ["Shape", "Reshape"]
    assert graph.constants["z"].shape == (2, 2)


def test_a_large_result_is_not_folded(monkeypatch):
    model = network([("ConstantOfShape", "s", "z"), ("Add", "x z", "y")], constants={"s": [6, 5]})
    assert len(fold_constants(load(model)).nodes) == 1
    monkeypatch.setattr(constants, "_MAX_ELEMENTS", 29)
    assert len(fold_constants(load(model)).nodes) == 2
    (y,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_array_equal(y, X)


def test_a_constant_that_cannot_be_computed_names_its_node():
    model = network(
        [("Gather", "c i", "g"), ("Add", "x g", "y")], constants={"c": [1.0, 2.0], "i": [5]}, inputs={"x": [1]}
    )
    with pytest.raises(ModelError, match=r"^node 'the_g' \(Gather\): .*index"):
        qengine.InferenceSession(model)


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_integers_divided_by_zero_are_refused(operator):
    model = network(
        [(operator, "c zero", "d"), ("Cast", "d", "f", {"to": 1}), ("Add", "x f", "y")],
        constants={"c": [1], "zero": [0]},
        inputs={"x": [1]},
    )
    with pytest.raises(ModelError, match=rf"\({operator}\): an integer is divided by 0"):
        qengine.InferenceSession(model)


@pytest.mark.parametrize(("most", "is_refused"), [(63, True), (64, False)])
def test_products_of_constants_that_take_too_long_are_refused(monkeypatch, most, is_refused):
    monkeypatch.setattr(constants, "MAX_PRODUCTS", most)
    model = network(
        [("MatMul", "a b", "c"), ("Add", "x c", "y")],
        constants={"a": np.ones((4, 4)), "b": np.ones((4, 4))},
        inputs={"x": [4, 4]},
    )
    if is_refused:
        with pytest.raises(UnsupportedError, match="64 products of constants take too long; fold"):
            fold_constants(load(model))
    else:
        assert [node.operator for node in fold_constants(load(model)).nodes] == ["Add"]
