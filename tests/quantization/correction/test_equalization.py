"""Equalization: the outputs are those of before, both layers use the same range, and what is left says why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, calibrate, zoo
from qengine.data.golden import read_golden
from qengine.errors import UnsupportedError
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.quantization.correction import equalize, fold_graph
from qengine.quantization.correction.layers import linear_layers
from qengine.quantization.qdq import quantized_model

from .badly_scaled import badly_scaled_digits

FAMILIES = sorted((Path(__file__).parents[2] / "golden" / "families").glob("*.onnx"))
CONV, GEMM = (4, 3, 3, 3), (4, 6)
SCALES = 2.0 ** np.float32([-3, 0, 2, 4])
# Between a layer of 4 channels and the next: nodes from "a" to "r", what reads "r", and its weights.
CHAINS = {
    "relu": ([("Relu", "a", "r")], ("Conv", "r v", "y"), (5, 4, 2, 2)),
    "nothing": ([], ("Conv", "a v", "y"), (5, 4, 2, 2)),
    "leaky": ([("LeakyRelu", "a", "r", {"alpha": 0.2})], ("Conv", "r v", "y"), (5, 4, 2, 2)),
    "slopes": ([("PRelu", "a s", "r")], ("Conv", "r v", "y"), (5, 4, 2, 2)),
    "clip at 0": ([("Clip", "a zero -", "r")], ("Conv", "r v", "y"), (5, 4, 2, 2)),
    "grouped": ([("Relu", "a", "r")], ("Conv", "r v", "y", {"group": 2}), (6, 2, 2, 2)),
    "depthwise": ([("Relu", "a", "r")], ("Conv", "r v", "y", {"group": 4}), (8, 1, 2, 2)),
    "transposed": ([("Relu", "a", "r")], ("ConvTranspose", "r v", "y"), (4, 3, 2, 2)),
    "transposed, grouped": ([("Relu", "a", "r")], ("ConvTranspose", "r v", "y", {"group": 2}), (4, 3, 2, 2)),
    "pools": (
        [("MaxPool", "a", "p", {"kernel_shape": [2, 2]}), ("AveragePool", "p", "r", {"kernel_shape": [2, 1]})],
        ("Conv", "r v", "y"),
        (5, 4, 1, 1),
    ),
    "flatten": ([("Relu", "a", "f"), ("Flatten", "f", "r")], ("Gemm", "r v", "y"), (48, 3)),
    "flatten, transposed": ([("Flatten", "a", "r")], ("Gemm", "r v", "y", {"transB": 1}), (3, 48)),
    "reshape": ([("Reshape", "a shape", "r")], ("MatMul", "r v", "y"), (48, 3)),
    "mean": ([("ReduceMean", "a", "r", {"axes": [2, 3], "keepdims": 0})], ("Gemm", "r v", "y"), (4, 3)),
    "squeeze": ([("GlobalMaxPool", "a", "p"), ("Squeeze", "p axes", "r")], ("Gemm", "r v", "y"), (4, 3)),
}


def chain(name, first=None, filters=CONV):
    """Return a model of two layers with what is between them."""
    between, second, filters_after = CHAINS[name]
    constants = {
        "w": weights(*filters) * SCALES.reshape(-1, 1, 1, 1),
        "b": weights(4, seed=3),
        "v": weights(*filters_after, seed=4),
        "s": weights(4, 1, 1, seed=5),
        "zero": np.float32(0),
        "shape": np.int64([0, -1]),
        "axes": np.int64([2, 3]),
    }
    return load(network([first or ("Conv", "x w b", "a"), *between, second], constants=constants))


def ranges(graph):
    """Return what makes each channel between the two layers, and what reads it, at most."""
    first, second = linear_layers(graph)
    made = np.abs(first.blocks(graph.constants[first.weights])).max(axis=(2, 3)).ravel()
    read = np.abs(second.blocks(graph.constants[second.weights])).max(axis=(1, 3)).reshape(len(made), -1).max(axis=1)
    return made, read


def assert_alike(graph, other, feeds, tolerance=1e-5):
    for wanted, found in zip(
        InferenceSession(graph, isa="reference").run(None, feeds),
        InferenceSession(other, isa="reference").run(None, feeds),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name):
    graph = chain(name)
    found = equalize(graph)
    assert_alike(graph, found.graph, {"x": weights(1, 3, 6, 5)})
    made, read = ranges(found.graph)
    np.testing.assert_allclose(made, read, rtol=1e-5)
    before = ranges(fold_graph(graph))
    np.testing.assert_allclose(made, np.sqrt(before[0] * before[1]), rtol=1e-5)
    np.testing.assert_allclose(found.factors["a"], np.sqrt(before[0] / before[1]), rtol=1e-5)
    assert [entry.is_done for entry in found.entries] == [True, False]


@pytest.mark.parametrize(
    ("first", "filters"),
    [
        (("Conv", "x w", "a", {"group": 2}), (4, 1, 3, 3)),
        (("ConvTranspose", "x w b", "a", {"group": 2}), (2, 2, 3, 3)),
    ],
)
def test_grouped_first_layers(first, filters):
    constants = {"w": weights(*filters), "b": weights(4), "v": weights(5, 4, 2, 2) * SCALES.reshape(-1, 1, 1)}
    nodes = [first, ("Relu", "a", "r"), ("Conv", "r v", "y")]
    graph = load(network(nodes, inputs={"x": [1, 2, 6, 5]}, constants=constants))
    found = equalize(graph)
    assert_alike(graph, found.graph, {"x": weights(1, 2, 6, 5)})
    np.testing.assert_allclose(*ranges(found.graph), rtol=1e-5)


@pytest.mark.parametrize("operator", ["Gemm", "MatMul"])
def test_matrices(operator):
    constants = {
        "w": weights(3, 6),
        "b": weights(6),
        "v": weights(6, 2) * 2.0 ** np.arange(6, dtype=np.float32)[:, None],
    }
    nodes = [(operator, f"x w{' b' if operator == 'Gemm' else ''}", "a"), ("Relu", "a", "r"), (operator, "r v", "y")]
    graph = load(network(nodes, inputs={"x": [4, 3]}, constants=constants))
    found = equalize(graph)
    assert_alike(graph, found.graph, {"x": weights(4, 3)})
    np.testing.assert_allclose(*ranges(found.graph), rtol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([("Conv", "x w", "a"), ("Clip", "a zero six", "r"), ("Conv", "r v", "y")], "has bounds"),
        ([("Conv", "x w", "a"), ("Sigmoid", "a", "r"), ("Conv", "r v", "y")], r"\(Sigmoid\) is not known"),
        ([("Conv", "x w", "a"), ("Conv", "a v", "z"), ("Add", "z a", "y")], "'a' is read 2 times"),
        ([("Conv", "x w", "a"), ("Conv", "a v", "z"), ("Conv", "z v", "y")], "'v' is read 2 times"),
        ([("Conv", "x w", "a"), ("Relu", "a", "r"), ("Conv", "r x2", "y")], r"\(Conv\) is not known"),
        ([("Conv", "x w computed", "a"), ("Relu", "a", "r"), ("Conv", "r v", "y")], "bias 'computed' is computed"),
        ([("Conv", "x w", "a"), ("Flatten", "a", "r", {"axis": 2}), ("Gemm", "r n", "y")], r"\(Flatten\) is not known"),
        ([("Conv", "x w", "a"), ("MatMul", "a m", "y")], "does not read axis 1"),
        ([("Conv", "x w", "a"), ("Reshape", "a other", "r"), ("Gemm", "r m", "y")], r"\(Reshape\) is not known"),
        ([("Conv", "x w", "y")], "'y' is an output"),
    ],
)
def test_what_is_left_says_why(nodes, why):
    constants = {
        "w": weights(4, 3, 3, 3), "v": weights(4, 4, 1, 1), "m": weights(3, 4), "n": weights(12, 2),
        "zero": 0.0, "six": 6.0, "other": np.int64([-1, 3]), "one": np.ones(4, np.float32),
    }  # fmt: skip
    shapes = {"x": [1, 3, 6, 5], "x2": [4, 4, 1, 1], "c": [4]}
    extra = [("Add", "c one", "computed")]
    graph = load(network([*extra, *nodes], inputs=shapes, constants=constants))
    found = equalize(graph)
    assert not any(entry.is_done for entry in found.entries)
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(str(found.entries[0]))
    for name, array in fold_graph(graph).constants.items():
        np.testing.assert_array_equal(found.graph.constants[name], array)


def test_channels_of_no_use_stay():
    graph = chain("relu")
    constants = {name: array.copy() for name, array in graph.constants.items()}
    constants["w"][1], constants["v"][:, 2] = 0, 0
    found = equalize(replace(graph, constants=constants))
    np.testing.assert_array_equal(found.factors["r"][[1, 2]], 1.0)
    assert all(np.isfinite(array).all() for array in found.graph.constants.values() if array.dtype.kind == "f")


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_families_compute_what_they_did(path):
    graph = load(path)
    found = equalize(graph)
    assert_alike(graph, found.graph, read_golden(path.with_suffix(".npz"))[0])


def test_it_converges_on_a_chain_of_layers():
    found = equalize(load(next(path for path in FAMILIES if path.stem == "mobilenet_v1")))
    assert sum(entry.is_done for entry in found.entries) == 9
    assert 2 < found.rounds < 200
    again = equalize(found.graph)
    assert all(np.abs(np.log(factors)).max() < 0.01 for factors in again.factors.values())


@pytest.mark.parametrize(
    ("options", "rounds"),
    [
        ({}, 9),  # ln 2 4^-7 is the first factor within 1e-4
        ({"tolerance": 1e-3}, 7),
        ({"tolerance": 0.2}, 3),
        ({"tolerance": 0.17}, 4),
        ({"tolerance": float(np.log(16.0))}, 1),  # the factors of the first round are 16
        ({"most_rounds": 4}, 4),
        ({"most_rounds": 1}, 1),
    ],
)
def test_rounds_end_at_the_tolerance(options, rounds):
    """Ranges 2^8, 1 and 1 of three layers: round k changes the first pair by 2^(4^(2 - k)), and the second by half."""
    nodes = [("Conv", "x u", "a"), ("Conv", "a v", "c"), ("Conv", "c w", "y")]
    constants = {name: np.full((1, 1, 1, 1), value, np.float32) for name, value in (("u", 256), ("v", 1), ("w", 1))}
    graph = load(network(nodes, inputs={"x": [1, 1, 2, 2]}, constants=constants))
    found = equalize(graph, **options)
    assert found.rounds == rounds
    first, _, last = (np.log2(found.graph.constants[name].item()) for name in "uvw")
    assert first - last == pytest.approx(4.0 * 4.0 ** (1 - rounds) / 2, abs=1e-6)


def test_the_largest_bias_of_a_channel_counts():
    """A bias larger than its filter makes the range larger by bias / sum of the filter, whatever row it is in."""
    w, v = np.float32([[1, 2], [2, 8]]), np.float32([[1], [1]])
    bias = np.float32([[6, 1], [-12, 2]])
    nodes = [("Gemm", "x w b", "a"), ("Relu", "a", "r"), ("Gemm", "r v", "y")]
    graph = load(network(nodes, inputs={"x": [2, 2]}, constants={"w": w, "b": bias, "v": v}))
    found = equalize(graph)
    np.testing.assert_allclose(found.factors["a"], np.sqrt([2 * 12 / 3, 8]), rtol=1e-12)
    np.testing.assert_allclose(found.graph.constants["b"], bias / np.sqrt([8, 8]), rtol=1e-6)
    assert found.rounds == 2


def test_channels_of_very_different_scales():
    graph, images = badly_scaled_digits(), zoo.find("digits").sample().feeds["image"][:100]
    (real,) = InferenceSession(graph).run(None, {"image": images})
    fixed = []
    for one in (fold_graph(graph), equalize(graph).graph):
        formats = calibrate(one, [{"image": images}], bits=8, unsigned=True)
        fixed.append(InferenceSession(one, formats=formats).run(None, {"image": images})[0])
    assert sqnr(real, fixed[0]) < 5
    assert sqnr(real, fixed[1]) > 25


def test_a_quantized_model_is_refused():
    model = network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)})
    quantized = quantized_model(InferenceSession(model, qformat="Q3.4"))
    with pytest.raises(UnsupportedError, match="give the one before quantization"):
        equalize(load(quantized))
    with pytest.raises(UnsupportedError, match="quantized already"):
        equalize(InferenceSession(quantized).graph)


@pytest.mark.parametrize("smallest", [1e-4, 1e-8, 1e-38])
def test_a_channel_that_is_hardly_more_than_its_bias_stays_in_range(smallest):
    rng = np.random.default_rng(8)
    w, b, v = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 3, 3, 3), 8, (4, 8, 1, 1)))
    w[3] *= smallest
    nodes = [("Conv", "x w b", "c"), ("Relu", "c", "r"), ("Conv", "r v", "y")]
    graph = load(network(nodes, inputs={"x": [1, 3, 8, 8]}, constants={"w": w, "b": np.abs(b), "v": v}))
    feeds = {"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)}

    def largest(one):
        return np.abs(InferenceSession(one).run(["r"], feeds)[0]).max(axis=(0, 2, 3))

    assert largest(equalize(graph).graph)[3] < largest(graph).max()
