import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.errors import ModelError
from qengine.model.loader import load
from qengine.model.passes import fold_gemm_factors, optimize

X = weights(4, 3, seed=1)
B, C = weights(3, 5, seed=2), weights(5, seed=3)


def gemm(inputs="x B C", constants=None, **attributes):
    given = {"B": B, "C": C} if constants is None else constants
    fed = {name: {"x": [4, 3], "B": [3, 5], "C": [5]}[name] for name in inputs.split()}
    return network(
        [("Gemm", inputs, "y", attributes)],
        inputs={name: shape for name, shape in fed.items() if name not in given},
        constants=given,
    )


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 1.0), (1.0, -2.0), (0.3, 0.7), (1.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("inputs", ["x B C", "x B"])
def test_factors_go_into_constants(alpha, beta, inputs):
    model = gemm(inputs, {"B": B, "C": C}, alpha=alpha, beta=beta)
    graph = fold_gemm_factors(load(model))
    (node,) = graph.nodes
    assert not node.attributes
    assert [graph.derived.get(name, name) for name in node.inputs] == inputs.split()
    np.testing.assert_allclose(graph.constants[node.inputs[1]], np.float32(alpha) * B, rtol=1e-6)
    (y,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_allclose(y, run_onnxruntime(model, {"x": X})[0], atol=1e-6)


def test_other_attributes_stay():
    model = gemm(alpha=2.0, transB=1, constants={"B": B.T.copy(), "C": C})
    (node,) = fold_gemm_factors(load(model)).nodes
    assert dict(node.attributes) == {"transB": 1}


@pytest.mark.parametrize(("constants", "factors"), [({"C": C}, {"alpha": 2.0}), ({"B": B}, {"beta": 2.0})])
def test_a_factor_of_what_is_not_constant_stays(constants, factors):
    model = gemm(constants=constants, **factors)
    (node,) = fold_gemm_factors(load(model)).nodes
    assert dict(node.attributes) == pytest.approx(factors)
    feeds = {"x": X} | ({"B": B} if "B" not in constants else {}) | ({"C": C} if "C" not in constants else {})
    (y,) = qengine.InferenceSession(model).run(None, feeds)
    np.testing.assert_allclose(y, run_onnxruntime(model, feeds)[0], atol=1e-6)


def test_a_factor_without_effect_leaves_a_linear_operator():
    # As torch exports it: alpha and beta are written, and are 1.
    model = network(
        [("Gemm", "x B C", "g", {"alpha": 1.0, "beta": 1.0}), ("Relu", "g", "y")],
        inputs={"x": [4, 3]},
        constants={"B": B, "C": C},
    )
    (node,) = optimize(load(model))[-1].nodes
    assert node.operator == "Gemm"
    assert node.activation is not None


def test_one_matrix_with_two_factors():
    model = network(
        [("Gemm", "x B", "a", {"alpha": 0.5}), ("Gemm", "x B", "b", {"alpha": 0.25}), ("Add", "a b", "y")],
        inputs={"x": [4, 3]},
        constants={"B": B},
    )
    (y,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_allclose(y, 0.75 * X @ B, atol=1e-6)


def test_a_factor_of_the_wrong_type_is_named():
    with pytest.raises(ModelError, match=r"node 'the_y' \(Gemm\): attribute 'alpha'"):
        qengine.InferenceSession(gemm(alpha="two"))


def test_one_constant_in_both_places():
    model = network(
        [("Gemm", "x B B", "y", {"alpha": 2.0, "beta": 2.0})], inputs={"x": [1, 1]}, constants={"B": [[3.0]]}
    )
    (y,) = qengine.InferenceSession(model).run(None, {"x": np.float32([[5]])})
    assert y.tolist() == [[36.0]]


def test_a_factor_of_integers_belongs_to_their_sum():
    model = network(
        [("Gemm", "x B", "y", {"alpha": 0.5})], inputs={"x": (np.int32, [1, 2])}, constants={"B": np.int32([[1], [3]])}
    )
    (y,) = qengine.InferenceSession(model).run(None, {"x": np.int32([[1, 1]])})
    np.testing.assert_array_equal(y, np.int32([[2]]), strict=True)
