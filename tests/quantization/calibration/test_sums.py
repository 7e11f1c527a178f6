"""Where results wrap, formats hold what a fused Relu or Clip bounds; where they saturate, nothing changes."""

import numpy as np
import onnx
import pytest
from networks import network, weights

import qengine
from qengine import CalibrationOptions, QFormat, SessionOptions, calibrate
from qengine.metrics.decibels import decibels
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.quantization.calibration import choose_formats, load_observation, observe, save_observation
from qengine.quantization.data_free import calibrate_without_data

RNG = np.random.default_rng(11)
FEEDS = [{"x": RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
BELOW = np.float32([-9, -5, -7, -6])
"""Biases by which sums are far below zero."""

STATISTICS = {
    "scale": np.float32([1, 2, 1, 1.5]),
    "B": BELOW,
    "mean": np.float32([0.5, 0, -1, 0]),
    "var": np.float32([2, 1, 4, 1]),
}
CONV = ("Conv", "x W b", "s", {"pads": [1, 1, 1, 1]})
NETWORKS = {
    "Conv+Relu": [CONV, ("Relu", "s", "r")],
    "Conv+Clip": [CONV, ("Clip", "s low high", "r")],
    "Conv+Clip above": [("Conv", "x W c", "s", {"pads": [1, 1, 1, 1]}), ("Clip", "s low high", "r")],
    "Conv+BatchNormalization+Relu": [
        ("Conv", "x W", "p", {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", "p scale B mean var", "s"),
        ("Relu", "s", "r"),
    ],
    "Add+Relu": [CONV, ("Conv", "x V", "o"), ("Add", "s o", "t"), ("Relu", "t", "r")],
    "Gemm+Relu": [("Flatten", "x", "f"), ("Gemm", "f G g", "s"), ("Relu", "s", "r")],
}
CONSTANTS = {
    "W": weights(4, 3, 3, 3),
    "V": weights(4, 3, 1, 1, seed=5),
    "b": BELOW,
    "c": -BELOW,
    "low": np.float32(0),
    "high": np.float32(2),
    "G": weights(192, 5, seed=6) * 0.3,
    "g": np.float32([-8, -6, -9, -3, -7]),
    **STATISTICS,
}


def model(name):
    nodes = NETWORKS[name]
    read = {text for node in nodes for text in node[1].split()}
    constants = {one: array for one, array in CONSTANTS.items() if one in read}
    nodes = [*nodes, ("Mul", "r k", "y")]
    return network(nodes, inputs={"x": [2, 3, 8, 8]}, outputs=["y"], constants=constants | {"k": np.float32(0.5)})


def sqnr(graph, formats, **options):
    exact, session = qengine.InferenceSession(graph), qengine.InferenceSession(graph, formats=formats, **options)
    pairs = [(exact.run(["r"], feed)[0], session.run(["r"], feed)[0]) for feed in FEEDS]
    return decibels(sum(float((a**2).sum()) for a, _ in pairs), sum(float(((a - b) ** 2).sum()) for a, b in pairs))


@pytest.mark.parametrize("name", NETWORKS)
def test_results_that_wrap_lose_no_more_than_those_that_saturate(name):
    graph, wraps = load(model(name)), {"target": "ap-fixed"}
    found = calibrate(graph, FEEDS, bits=10, method="max", **wraps)
    other = calibrate(graph, FEEDS, bits=10, method="max", unsigned=False, overflow="saturate", **wraps)
    own, saturated = (sqnr(graph, found.formats, **wraps, overflow=overflow) for overflow in (None, "saturate"))
    assert own == pytest.approx(saturated, abs=1)
    bits = QFormat.parse(found["r"]).integer_bits - QFormat.parse(other["r"]).integer_bits
    assert f"more integer bits: 'r' by {bits};" in " ".join(found.notes)
    assert own > sqnr(graph, other.formats, overflow="saturate", **wraps) - 6.1 * bits - 1
    assert own > sqnr(graph, other.formats, **wraps) + 10
    assert own > 15
    shorter = calibrate(graph, FEEDS, bits=6, method="mse", **wraps)
    assert QFormat.parse(shorter["r"]).integer_bits >= QFormat.parse(found["r"]).integer_bits


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("isa", [None, "reference"])
def test_results_that_saturate_have_the_same_formats_whether_sums_were_observed(name, isa):
    plain, given = (observe(model(name), FEEDS, isa=isa, overflow=overflow) for overflow in (None, "wrap"))
    assert plain.sums is None
    assert list(given.sums) == ["r"]
    assert list(plain.histograms) == list(given.histograms)
    for options in (CalibrationOptions(), CalibrationOptions(bits=5, method="max", target="onnx")):
        assert choose_formats(plain, options) == choose_formats(given, options)
    (node,) = [node for node in given.model.nodes if node.outputs == ("r",)]
    sums = [qengine.InferenceSession(model(name)).run(node.inputs[:1], feed)[0] for feed in FEEDS]
    assert given.sums["r"] == pytest.approx((min(map(np.min, sums)), max(map(np.max, sums))), rel=1e-5)


def test_the_overflow_of_the_runs_counts():
    graph = model("Conv+Relu")
    by_target = calibrate(graph, FEEDS, target="ap-fixed").formats
    assert calibrate(graph, FEEDS, overflow="wrap").formats == by_target
    assert calibrate(graph, FEEDS, session=SessionOptions(overflow="wrap")).formats == by_target
    assert calibrate(graph, FEEDS, session=SessionOptions(rules={"overflow": "wrap"})).formats == by_target
    assert calibrate(graph, FEEDS, overflow="saturate").formats == calibrate(graph, FEEDS).formats
    assert calibrate(graph, FEEDS, headroom=4.0, overflow="wrap").formats["r"] != by_target["r"]


def test_an_observation_without_sums_is_noted():
    observation = observe(model("Conv+Relu"), FEEDS)
    found = choose_formats(observation, target="ap-fixed")
    assert "results wrap, and the sums before 'r' were not observed" in " ".join(found.notes)


def test_a_file_keeps_the_sums(tmp_path):
    for overflow in ("wrap", None):
        observation = observe(model("Conv+Clip"), FEEDS, overflow=overflow)
        save_observation(observation, tmp_path / "o.npz", "key")
        assert load_observation(tmp_path / "o.npz", load(model("Conv+Clip")), "key").sums == observation.sums


def graph_of(model):
    return onnx.load_model_from_string(model).graph


def test_sums_inside_of_a_branch():
    then = [("Conv", "x W b", "s"), ("Relu", "s", "r")]
    constants = {"W": CONSTANTS["W"], "b": BELOW}
    inner = network(then, inputs={}, outputs=["r"], constants=constants)
    other = network([("Conv", "x W", "q")], inputs={}, outputs=["q"], constants={"W": -CONSTANTS["W"]})
    graph = network(
        [("ReduceSum", "x", "t", {"keepdims": 0}), ("Greater", "t zero", "is"),
         ("If", "is", "y", {"then_branch": graph_of(inner), "else_branch": graph_of(other)})],
        inputs={"x": [2, 3, 8, 8]}, outputs=["y"], constants={"zero": np.float32(-1e9)},
    )  # fmt: skip
    found = observe(graph, FEEDS, overflow="wrap")
    assert isinstance(found.model, Graph)
    assert found.sums["r"][0] < -9


def test_without_data_sums_are_those_of_the_statistics():
    graph = load(model("Conv+BatchNormalization+Relu"))
    each = (CalibrationOptions(overflow=overflow, unsigned=False) for overflow in ("wrap", "saturate"))
    wraps, saturates = (QFormat.parse(calibrate_without_data(graph, options)["r"]) for options in each)
    assert wraps.integer_bits > saturates.integer_bits
