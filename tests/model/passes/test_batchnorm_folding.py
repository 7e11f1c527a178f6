from dataclasses import replace

import numpy as np
import onnx
import onnx.reference
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Value
from qengine.model.loader import load
from qengine.model.passes import fold_affine, optimize

X = weights(2, 4, 6, 5, seed=1, scale=1.0)


def statistics(channels, prefix="", seed=11):
    rng = np.random.default_rng(seed)
    return {
        f"{prefix}gamma": rng.normal(1, 0.3, channels).astype(np.float32),
        f"{prefix}beta": rng.normal(0, 0.3, channels).astype(np.float32),
        f"{prefix}mean": rng.normal(0, 0.3, channels).astype(np.float32),
        f"{prefix}var": rng.uniform(0.2, 2, channels).astype(np.float32),
    }


def operators(model):
    return [node.operator for node in optimize(load(model))[-1].nodes]


def check(model, feeds=None, names=None):
    """The session equals ONNX Runtime, which does not fold."""
    feeds = {"x": X} if feeds is None else feeds
    for found, wanted in zip(
        qengine.InferenceSession(model).run(names, feeds), run_onnxruntime(model, feeds, names), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=2e-6 * max(1, np.abs(wanted).max()))


NORM = "gamma beta mean var"

LINEAR = {
    "conv": (("Conv", "x W", "c"), (6, 4, 3, 3), 6),
    "conv with a bias": (("Conv", "x W b", "c"), (6, 4, 3, 3), 6),
    "grouped conv": (("Conv", "x W b", "c", {"group": 2}), (6, 2, 3, 3), 6),
    "depthwise conv": (("Conv", "x W", "c", {"group": 4}), (4, 1, 3, 3), 4),
    "transposed": (("ConvTranspose", "x W b", "c", {"strides": [2, 2]}), (4, 3, 3, 2), 3),
    "grouped transposed": (("ConvTranspose", "x W b", "c", {"group": 2}), (4, 3, 3, 2), 6),
    "grouped transposed without a bias": (("ConvTranspose", "x W", "c", {"group": 4}), (4, 2, 3, 2), 8),
}


@pytest.mark.parametrize("opset", [7, 9, 14, 15, 17])
@pytest.mark.parametrize("kind", LINEAR)
def test_it_goes_into_the_operator_before(kind, opset):
    node, shape, channels = LINEAR[kind]
    bias = {"b": weights(channels, seed=3)} if "b" in node[1].split() else {}
    model = network(
        [node, ("BatchNormalization", f"c {NORM}", "y", {"epsilon": 1e-3})],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(*shape), **bias, **statistics(channels)},
        opset=opset,
    )
    assert operators(model) == [node[0]]
    check(model)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (), (1,), (7,), (1, 7), (5, 1), (5, 7)])
def test_it_goes_into_a_gemm(transposed, bias):
    constants = {"W": weights(*((7, 3) if transposed else (3, 7))), **statistics(7)}
    if bias is not None:
        constants["b"] = np.asarray(weights(*bias, seed=3))
    model = network(
        [
            ("Gemm", "x W" + (" b" if bias is not None else ""), "c", {"transB": transposed, "alpha": 0.5}),
            ("BatchNormalization", f"c {NORM}", "y"),
        ],
        inputs={"x": [5, 3]},
        constants=constants,
    )
    assert operators(model) == ["Gemm"]
    check(model, {"x": weights(5, 3, seed=1)})


def test_derived_constants_stand_for_those_of_the_model():
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), **statistics(6)},
    )
    graph = optimize(load(model))[-1]
    (node,) = graph.nodes
    assert [graph.derived.get(name, name) for name in node.inputs] == ["x", "W", "beta"]
    assert set(graph.constants) == set(node.inputs[1:])
    s = qengine.InferenceSession(model, qformat="Q4.3")
    assert set(s.formats) == {"x", "c", "y", "W"}


def test_two_in_a_row_go_into_one_operator():
    model = network(
        [
            ("Conv", "x W b", "c"),
            ("BatchNormalization", f"c {NORM}", "n"),
            ("BatchNormalization", "n 2gamma 2beta 2mean 2var", "y"),
        ],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), "b": weights(6), **statistics(6), **statistics(6, "2", seed=5)},
    )
    assert operators(model) == ["Conv"]
    check(model)
    assert "W" in qengine.InferenceSession(model, qformat="Q4.3").formats


def test_weights_that_two_convolutions_share():
    model = network(
        [
            ("Conv", "x W", "c"),
            ("BatchNormalization", f"c {NORM}", "n"),
            ("Conv", "n W", "d"),
            ("BatchNormalization", "d 2gamma 2beta 2mean 2var", "m"),
            ("Conv", "m W", "y"),
        ],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(4, 4, 1, 1), **statistics(4), **statistics(4, "2", seed=5)},
    )
    assert operators(model) == ["Conv"] * 3
    check(model)
    check(model, names=["c", "d", "y", "n", "m"])
    s = qengine.InferenceSession(model, qformat="Q4.11")
    assert set(s.formats) == {"x", "c", "n", "d", "m", "y", "W"}


@pytest.mark.parametrize("kind", ["an output too", "read twice", "read by another"])
def test_what_others_read_is_left_as_it_is(kind):
    nodes = [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "n")]
    nodes += {
        "an output too": [("Relu", "n", "y")],
        "read twice": [("Add", "n c", "y")],
        "read by another": [("Relu", "c", "r"), ("Add", "n r", "y")],
    }[kind]
    model = network(
        nodes,
        inputs={"x": ["N", 4, 6, 5]},
        outputs=["y", "c"] if kind == "an output too" else ["y"],
        constants={"W": weights(6, 4, 1, 1), **statistics(6)},
    )
    assert operators(model)[:2] == ["Conv", "ScaleShift"]
    check(model)
    assert {"gamma", "W"} <= set(qengine.InferenceSession(model, qformat="Q4.3").formats)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Relu", "x", "c")], {}),
        ([("Conv", "x W", "r"), ("Relu", "r", "c")], {"W": weights(4, 4, 1, 1)}),
        ([("Mul", "x k", "c")], {"k": 2.0}),
        ([("Identity", "x", "c")], {}),
    ],
)
def test_alone_it_is_linear(nodes, constants):
    model = network(
        [*nodes, ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants={**constants, **statistics(4)},
    )
    assert "ScaleShift" in operators(model)
    check(model)
    s = qengine.InferenceSession(model, qformat="Q4.11", strict=True)
    np.testing.assert_allclose(s.run(None, {"x": X})[0], run_onnxruntime(model, {"x": X})[0], atol=0.01)
    assert s.formats["gamma"].bits == 16


def test_weights_that_are_fed_take_nothing_in():
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5], "W": [6, 4, 1, 1]},
        constants=statistics(6),
    )
    assert operators(model) == ["Conv", "ScaleShift"]
    check(model, {"x": X, "W": weights(6, 4, 1, 1)})


def test_statistics_that_are_fed_make_an_island():
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5], "mean": [6]},
        constants={"W": weights(6, 4, 1, 1)} | {k: v for k, v in statistics(6).items() if k != "mean"},
    )
    assert operators(model) == ["Conv", "BatchNormalization"]
    feeds = {"x": X, "mean": weights(6)}
    check(model, feeds)
    with pytest.raises(UnsupportedError, match=r"strict: .*BatchNormalization"):
        qengine.InferenceSession(model, qformat="Q4.11", strict=True).run(None, feeds)
    (y,) = qengine.InferenceSession(model, qformat="Q4.11").run(None, feeds)
    np.testing.assert_allclose(y, run_onnxruntime(model, feeds)[0], atol=0.02)


def test_a_statistic_that_is_computed_from_constants_folds():
    model = network(
        [
            ("Mul", "mean two", "m"),
            ("Conv", "x W", "c"),
            ("BatchNormalization", "c gamma beta m var", "y"),
        ],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), "two": 2.0, **statistics(6)},
    )
    assert operators(model) == ["Conv"]
    check(model)


def test_an_override_of_a_statistic_folds_again():
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), **statistics(6)},
        overridable=["mean"],
    )
    check(model, {"x": X})
    check(model, {"x": X, "mean": weights(6)})


def test_outputs_that_are_left_out():
    def build(outputs):
        return network(
            [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", outputs)],
            inputs={"x": ["N", 4, 6, 5]},
            constants={"W": weights(6, 4, 1, 1), **statistics(6)},
            opset=9,
        )

    # ONNX Runtime ends the process for this one.
    assert operators(build("y - - - -")) == ["Conv"]
    (y,) = qengine.InferenceSession(build("y - - - -")).run(None, {"x": X})
    np.testing.assert_array_equal(y, qengine.InferenceSession(build("y")).run(None, {"x": X})[0])


@pytest.mark.parametrize("channel", [0.0, -1e-5, -3.0, np.nan])
def test_a_variance_that_is_not_positive(channel):
    given = statistics(6)
    given["var"][2] = channel
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y", {"epsilon": 0.0})],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), **given},
    )
    with pytest.raises(ModelError, match=r"^node 'the_y' \(BatchNormalization\): the variance 'var' is not positive"):
        qengine.InferenceSession(model)


def test_a_variance_of_zero_with_an_epsilon():
    given = statistics(6)
    given["var"][2] = 0.0
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), **given},
    )
    check(model)


def test_parameters_of_another_number():
    model = network(
        [("Identity", "x", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants={**statistics(4), "beta": weights(3)},
    )
    with pytest.raises(ModelError, match="BatchNormalization"):
        qengine.InferenceSession(model)


def test_training_is_left_to_onnx():
    model = network(
        [("BatchNormalization", f"x {NORM}", "y m v", {"training_mode": 1})],
        inputs={"x": ["N", 4, 6, 5]},
        constants=statistics(4),
    )
    (y,) = qengine.InferenceSession(model).run(["y"], {"x": X})
    expected = onnx.reference.ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"x": X})[0]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    with pytest.raises(UnsupportedError, match="strict: no fixed-point rule"):
        qengine.InferenceSession(model, qformat="Q4.3", strict=True).run(["y"], {"x": X})


def test_a_bias_of_the_wrong_length_is_the_convolutions_own_error():
    model = network(
        [("Conv", "x W b", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), "b": weights(5), **statistics(6)},
    )
    with pytest.raises(ModelError, match=r"Conv.*b"):
        qengine.InferenceSession(model).run(None, {"x": X})


def test_the_arithmetic_is_that_of_float64_rounded_once():
    given = statistics(6)
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y", {"epsilon": 1e-3})],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"W": weights(6, 4, 1, 1), **given},
    )
    graph = fold_affine(load(model))
    _, w, b = graph.nodes[0].inputs
    wide = {name: value.astype(np.float64) for name, value in given.items()}
    scale = wide["gamma"] / np.sqrt(wide["var"] + np.float64(np.float32(1e-3)))
    np.testing.assert_array_equal(
        graph.constants[w], (weights(6, 4, 1, 1).astype(np.float64) * scale[:, None, None, None]).astype(np.float32)
    )
    np.testing.assert_array_equal(graph.constants[b], (wide["beta"] - wide["mean"] * scale).astype(np.float32))


def test_parameters_that_share_a_constant():
    alone = network(
        [("Relu", "x", "r"), ("BatchNormalization", "r a a z o", "y", {"epsilon": 0.0})],
        inputs={"x": ["N", 4, 6, 5]},
        constants={"a": [2.0, 3.0, 4.0, 5.0], "z": [0.0] * 4, "o": [4.0] * 4},
    )
    check(alone)
    merged = network(
        [("Gemm", "x W W", "c"), ("BatchNormalization", "c o o z o", "y")],
        inputs={"x": [1, 1]},
        constants={"W": [[1.5]], "z": [0.0], "o": [3.0]},
    )
    check(merged, {"x": np.float32([[2]])})


def test_a_name_that_is_taken():
    nodes = [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")]
    constants = {"W": weights(2, 4, 3, 3), **statistics(2)}
    plain = network(nodes, inputs={"x": ["N", 4, 6, 5]}, constants=constants)
    graph = load(plain)
    taken = replace(
        graph,
        constants={**graph.constants, "W with y": np.float32([7]), "W with y 2": np.float32([8])},
        outputs=(*graph.outputs, Value("W with y")),
    )
    found = fold_affine(taken)
    assert found.constants["W with y"].tolist() == [7]
    np.testing.assert_array_equal(found.constants["W with y 3"], fold_affine(graph).constants["W with y"])


@pytest.mark.parametrize("name", ["W", "mean"])
def test_integers_are_the_operators_own_error(name):
    constants = {"W": weights(2, 4, 3, 3), **statistics(2)}
    constants[name] = constants[name].astype(np.int32)
    model = network(
        [("Conv", "x W", "c"), ("BatchNormalization", f"c {NORM}", "y")],
        inputs={"x": ["N", 4, 6, 5]},
        constants=constants,
    )
    with pytest.raises(ModelError, match=rf"(\('x|'c).*'{name}' \(int32\) differ in type|'{name}' is int32"):
        qengine.InferenceSession(model).run(None, {"x": X})
