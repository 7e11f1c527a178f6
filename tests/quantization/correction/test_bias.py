"""Biases: with them the outputs of quantized weights are those of the weights on average."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.errors import ModelError, OptionError
from qengine.model.loader import load
from qengine.qformat import QFormat
from qengine.quantization.correction import correct_bias, expected_means, fold_graph, round_weights
from qengine.quantization.correction.weights import on_grid

from .test_moments import LAYERS

FORMATS = {"x": "Q3.12", "y": "Q5.10", "w": "Q1.1"}
B = weights(4)
COARSE = QFormat.parse("Q1.1")


def mean_error(graph, corrected, form, feeds, axis):
    """Return by how much outputs are off on average, with weights on the grid and without and with the correction."""
    (wanted,) = InferenceSession(graph, isa="reference").run(None, feeds)
    found = []
    for one in (graph, corrected):
        quantized = {**one.constants, "w": on_grid(graph.constants["w"], form).astype(np.float32)}
        (y,) = InferenceSession(replace(one, constants=quantized), isa="reference").run(None, feeds)
        error = np.moveaxis(y.astype(np.float64) - wanted, axis, 0)
        found.append(np.abs(error.reshape(error.shape[0], -1).mean(axis=1)).max())
    return found


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "matmul"])
def test_nothing_is_off_on_average(name, with_bias):
    (operator, inputs, *rest), shape, filters = LAYERS[name]
    axis = -1 if operator == "Gemm" else 1
    model = [(operator, inputs + (" b" if with_bias else ""), *rest)]
    plain = load(network([(operator, inputs, *rest)], inputs={"x": shape}, constants={"w": weights(*filters)}))
    x = np.abs(weights(*shape, seed=1))
    channels = InferenceSession(plain).run(None, {"x": x})[0].shape[axis]
    graph = load(network(model, inputs={"x": shape}, constants={"w": weights(*filters), "b": weights(channels)}))
    found = correct_bias(graph, FORMATS, [{"x": x}])
    before, after = mean_error(graph, found.graph, COARSE, {"x": x}, axis)
    assert before > 0.01
    assert after < 1e-5
    np.testing.assert_array_equal(found.graph.constants["w"], weights(*filters))
    assert len(found.graph.nodes[0].inputs) == 3
    assert found.entries[0].is_done
    InferenceSession(found.graph, formats=FORMATS).run(None, {"x": x})


def test_weights_that_were_rounded_are_compared_with_what_they_were():
    graph = load(network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)}))
    feeds = {"x": np.abs(weights(1, 3, 6, 5))}
    rounded = round_weights(graph, FORMATS, feeds)
    found = correct_bias(rounded.graph, rounded.formats, feeds, reference=graph)
    (wanted,), (y,) = (InferenceSession(one).run(None, feeds) for one in (graph, found.graph))
    assert np.abs((y - wanted).mean(axis=(0, 2, 3))).max() < 1e-6
    alone = correct_bias(rounded.graph, rounded.formats, feeds)
    assert all(np.abs(a).max() == 0 for name, a in alone.graph.constants.items() if name != "w")


def test_a_bias_that_two_layers_share_becomes_two():
    nodes = [("Conv", "x w b", "a"), ("Conv", "x v b", "y")]
    constants = {"w": weights(4, 3, 3, 3), "v": weights(4, 3, 3, 3, seed=3), "b": weights(4)}
    graph = load(network(nodes, outputs=["a", "y"], constants=constants))
    feeds = {"x": np.abs(weights(1, 3, 6, 5))}
    formats = {"x": "Q3.12", "a": "Q5.10", "y": "Q5.10", "w": "Q1.1", "v": "Q1.1"}
    found = correct_bias(graph, formats, feeds)
    names = [node.inputs[2] for node in found.graph.nodes]
    assert len(set(names)) == 2
    assert not np.array_equal(*(found.graph.constants[name] for name in names))


def test_a_bias_that_is_an_output_of_the_model_stays():
    graph = load(network([("Conv", "x w b", "y")], outputs=["y", "b"], constants={"w": weights(4, 3, 3, 3), "b": B}))
    feeds = {"x": np.abs(weights(1, 3, 6, 5))}
    found = correct_bias(graph, FORMATS, feeds)
    assert found.entries[0].is_done
    np.testing.assert_array_equal(found.graph.constants["b"], B)
    assert np.abs(found.graph.constants[found.graph.nodes[0].inputs[2]] - B).max() > 0.01


def normal_network(*between, second=("Conv", "r v", "y"), filters=(5, 4, 2, 2), **constants):
    norm = [("Conv", "x w", "c"), ("BatchNormalization", "c g b m s", "n")]
    parameters = {"g": [1.5, -0.5, 2, 0.1], "b": [0.5, 1, -1, 0.2], "m": [0, 0, 0, 0], "s": [1, 1, 1, 1]}
    arrays = {name: np.float32(value) for name, value in parameters.items()}
    identity = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    all_of_them = {"w": identity, "v": weights(*filters), **arrays, **constants}
    return load(network([*norm, *between, second], inputs={"x": ["n", 4, 8, 8]}, constants=all_of_them))


X = np.random.default_rng(3).normal(size=(500, 4, 8, 8)).astype(np.float32)
BETWEEN = {
    "nothing": [("Identity", "n", "r")],
    "relu": [("Relu", "n", "r")],
    "relu6": [("Clip", "n zero two", "r")],
    "above": [("Clip", "n - two", "r")],
    "leaky": [("LeakyRelu", "n", "r", {"alpha": 0.3})],
    "pool": [("Relu", "n", "p"), ("AveragePool", "p", "r", {"kernel_shape": [2, 2]})],
}
BOUNDS = {"zero": 0.0, "two": 2.0}


@pytest.mark.parametrize("name", BETWEEN)
def test_the_means_that_batchnorm_tells(name):
    graph = normal_network(*BETWEEN[name], **BOUNDS)
    means = expected_means(graph)
    for tensor, array in zip(("n", "r"), InferenceSession(graph).run(["n", "r"], {"x": X}), strict=True):
        np.testing.assert_allclose(means[tensor], array.mean(axis=(0, 2, 3), dtype=np.float64), atol=0.03)
    assert "c" not in means
    assert "y" not in means


@pytest.mark.parametrize(
    ("second", "filters"),
    [
        (("Conv", "r v", "y"), (5, 4, 2, 2)),
        (("Conv", "r v", "y", {"group": 4}), (8, 1, 2, 2)),
        (("ConvTranspose", "r v", "y", {"strides": [2, 2], "group": 2}), (4, 3, 2, 2)),
    ],
)
def test_biases_without_data(second, filters):
    graph = normal_network(("Relu", "n", "r"), second=second, filters=filters)
    formats = {"x": "Q3.4", "n": "Q3.4", "y": "Q5.2", "v": "Q1.1"}
    analytic = correct_bias(graph, formats, means=expected_means(graph))
    empirical = correct_bias(graph, formats, {"x": X})
    biases = [one.graph.constants[one.graph.nodes[-1].inputs[2]] for one in (analytic, empirical)]
    assert np.abs(biases[1]).max() > 0.05
    np.testing.assert_allclose(*biases, atol=0.05 * np.abs(biases[1]).max())
    assert [entry.is_done for entry in analytic.entries] == [False, True]
    assert "no BatchNormalization determines the means of 'x'" in str(analytic.entries[0])


def test_a_flatten_repeats_the_means():
    graph = normal_network(("Relu", "n", "p"), ("Flatten", "p", "r"), second=("Gemm", "r v", "y"), filters=(256, 3))
    formats = {"x": "Q3.4", "n": "Q3.4", "y": "Q5.2", "v": "Q1.1"}
    analytic = correct_bias(graph, formats, means=expected_means(graph)).graph.constants["y.bias"]
    empirical = correct_bias(graph, formats, {"x": X}).graph.constants["y.bias"]
    np.testing.assert_allclose(analytic, empirical, atol=0.05 * np.abs(empirical).max())


def test_what_is_left_says_why():
    nodes = [("MatMul", "x w", "a"), ("Gemm", "a v c", "y")]
    inputs = {"x": [2, 3], "c": [4]}
    graph = load(network(nodes, inputs=inputs, constants={"w": weights(3, 4), "v": weights(4, 4)}))
    formats = {"x": "Q2.5", "c": "Q2.5", "a": "Q2.5", "y": "Q2.5"}
    found = correct_bias(graph, formats, {"x": weights(2, 3), "c": weights(4)})
    assert [entry.is_done for entry in found.entries] == [False, False]
    assert "a MatMul has no bias" in found.entries[0].text
    assert "bias 'c' is computed" in found.entries[1].text
    assert found.graph.constants.keys() == fold_graph(graph).constants.keys()


@pytest.mark.parametrize(
    ("value", "mean", "reason"),
    [
        (0.5, [1.0, 2.0], "no BatchNormalization determines the means of 'x'"),
        (0.5, [1.0, np.inf, 0.0], "its weights or what it reads are not all finite"),
        (np.inf, [1.0, 2.0, 3.0], "its weights or what it reads are not all finite"),
    ],
)
def test_means_and_weights_of_no_use(value, mean, reason):
    w = weights(4, 3, 3, 3)
    w[1, 2, 0, 1] = value
    graph = load(network([("Conv", "x w b", "y")], constants={"w": w, "b": B}))
    found = correct_bias(graph, FORMATS, means={"x": mean})
    assert [(entry.is_done, entry.text) for entry in found.entries] == [(False, reason)]
    np.testing.assert_array_equal(found.graph.constants["b"], B)


def test_errors():
    graph = load(network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)}))
    feeds = {"x": weights(1, 3, 6, 5)}
    with pytest.raises(OptionError, match="either data or the means"):
        correct_bias(graph, FORMATS)
    with pytest.raises(OptionError, match="either data or the means"):
        correct_bias(graph, FORMATS, feeds, means={})
    other = load(network([("Conv", "x w", "y", {"pads": [1] * 4})], constants={"w": weights(5, 3, 3, 3)}))
    with pytest.raises(ModelError, match="another model"):
        correct_bias(graph, FORMATS, feeds, reference=other)
