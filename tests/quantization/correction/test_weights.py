"""Weights rounded for what layers compute: on the grid of their formats, and with less error in the outputs."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, QFormat, calibrate, zoo
from qengine.errors import FormatError, OptionError
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.qformat import finest_per_channel
from qengine.quantization.correction import fold_graph, round_weights
from qengine.quantization.correction.weights import on_grid

SAMPLE = zoo.find("digits").sample().feeds["image"]
ACTIVATIONS = {"x": "Q3.12", "y": "Q5.10"}


def correlated(*shape, seed=0):
    """Return inputs that are alike in all channels, as those of a network are."""
    rng = np.random.default_rng(seed)
    return (np.abs(rng.normal(size=(shape[0], 1, *shape[2:]))) + 0.3 * rng.normal(size=shape)).astype(np.float32)


LAYERS = {
    "conv": (("Conv", "x w", "y", {"pads": [1, 1, 1, 1]}), [4, 6, 9, 8], (5, 6, 3, 3), 0),
    "grouped": (("Conv", "x w", "y", {"group": 3}), [4, 6, 9, 8], (6, 2, 3, 3), 0),
    "depthwise": (("Conv", "x w", "y", {"group": 6}), [4, 6, 9, 8], (24, 1, 3, 3), 0),
    "transposed": (("ConvTranspose", "x w", "y", {"strides": [2, 2]}), [4, 6, 9, 8], (6, 4, 3, 3), 1),
    "transposed, grouped": (("ConvTranspose", "x w", "y", {"group": 2}), [4, 6, 9, 8], (6, 4, 3, 3), 1),
    "gemm": (("Gemm", "x w", "y"), [200, 16], (16, 24), 1),
    "gemm, transposed": (("Gemm", "x w", "y", {"transB": 1}), [200, 16], (24, 16), 0),
    "matmul": (("MatMul", "x w", "y"), [200, 16], (16, 24), 1),
}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_one_layer(name, per_channel):
    node, shape, filters, axis = LAYERS[name]
    w = weights(*filters) * np.exp2(np.arange(filters[axis]) % 4 / 2).reshape(-1, *(1,) * (len(filters) - 1 - axis))
    graph = load(network([node], inputs={"x": shape}, constants={"w": w.astype(np.float32)}))
    feeds = {"x": correlated(*shape)}
    form = finest_per_channel(w, 4, axis) if per_channel else QFormat.parse("Q2.1")
    formats = {**ACTIVATIONS, "w": form}
    found = round_weights(graph, formats, feeds)
    rounded = found.graph.constants["w"]
    np.testing.assert_array_equal(on_grid(rounded, form), rounded)
    assert rounded.dtype == np.float32
    assert np.abs(rounded - w).max() > 0
    wanted = InferenceSession(graph).run(None, feeds)[0]
    errors = [
        np.square(
            InferenceSession(replace(graph, constants={"w": one.astype(np.float32)})).run(None, feeds)[0] - wanted
        ).sum()
        for one in (on_grid(w, form), rounded)
    ]
    gain = 10 * np.log10(errors[0] / errors[1])
    assert gain > (0.05 if name == "depthwise" else 1.0)
    (entry,) = found.entries
    assert entry.is_done
    assert float(entry.text.split(" dB")[0]) == pytest.approx(gain, abs=0.3)
    assert found.formats["w"] == ([str(one) for one in form.formats] if per_channel else "Q2.1")


def digits(bits):
    graph = fold_graph(load(zoo.find("digits").path))
    return graph, calibrate(graph, [{"image": SAMPLE[:100]}], bits=bits, per_channel=False)


def test_a_session_of_the_result_has_the_same_weights():
    graph, formats = digits(5)
    found = round_weights(graph, formats, [{"image": SAMPLE[:50]}])
    session = InferenceSession(found.graph, formats=found.formats)
    chosen = InferenceSession(graph, formats=formats).formats
    for name in ("stem.weight", "block2.depthwise.weight", "classifier.weight"):
        assert session.formats[name] == chosen[name]
        np.testing.assert_array_equal(on_grid(found.graph.constants[name], chosen[name]), found.graph.constants[name])
        # Formats that a session chooses itself hold them too.
        own = InferenceSession(found.graph, formats=formats).formats[name]
        np.testing.assert_array_equal(on_grid(found.graph.constants[name], own), found.graph.constants[name])


@pytest.mark.parametrize(("bits", "least"), [(4, 3.5), (6, 3.0)])
def test_digits_lose_less(bits, least):
    graph, formats = digits(bits)
    found = round_weights(graph, formats, [{"image": SAMPLE[i : i + 50]} for i in range(0, 200, 50)])
    test = {"image": SAMPLE[200:500]}
    (real,) = InferenceSession(graph).run(None, test)
    before, after = (
        sqnr(real, InferenceSession(g, formats=f).run(None, test)[0])
        for g, f in ((graph, formats), (found.graph, found.formats))
    )
    assert after > before + least


def test_it_is_the_same_however_the_data_is_cut():
    graph, formats = digits(5)
    whole = round_weights(graph, formats, [{"image": SAMPLE[:20]}]).graph
    cut = round_weights(graph, formats, ({"image": SAMPLE[i : i + 5]} for i in range(0, 20, 5))).graph
    for name, array in whole.constants.items():
        np.testing.assert_array_equal(cut.constants[name], array)


def test_batchnorm_is_folded_first():
    graph = load(zoo.find("digits").path)
    _, chosen = digits(5)
    formats = {name: form for name, form in chosen.items() if not name.endswith(".weight")}
    found = round_weights(graph, formats, [{"image": SAMPLE[:20]}])
    assert not any(node.operator == "BatchNormalization" for node in found.graph.nodes)
    assert found.formats.keys() == chosen.keys() > formats.keys()


def test_weights_that_two_layers_share():
    nodes = [("Conv", "x w", "a"), ("Relu", "a", "r"), ("Conv", "r w", "y")]
    graph = load(network(nodes, constants={"w": weights(3, 3, 2, 2)}))
    found = round_weights(graph, {"x": "Q2.5", "a": "Q2.5", "y": "Q2.5", "w": "Q0.2"}, [{"x": correlated(1, 3, 6, 5)}])
    (entry,) = found.entries
    assert entry.is_done
    assert "and 1 more" in entry.layer
    np.testing.assert_array_equal(found.graph.constants["w"] * 4, np.rint(found.graph.constants["w"] * 4))


def test_layers_that_share_weights_beside_other_biases_count_together():
    """Two layers on one run are one layer on two runs."""
    w = weights(5, 3, 2, 2)
    x, z = correlated(2, 3, 6, 5), np.abs(weights(1, 3, 4, 4, seed=7)) * np.float32([2, 0.1, 1]).reshape(3, 1, 1)
    nodes = [("Conv", "x w b", "y"), ("Conv", "z w c", "u")]
    shapes = {"x": list(x.shape), "z": list(z.shape)}
    constants = {"w": w, "b": weights(5, seed=2), "c": weights(5, seed=3)}
    both = load(network(nodes, inputs=shapes, outputs=["y", "u"], constants=constants))
    formats = {"x": "Q3.4", "z": "Q3.4", "y": "Q5.2", "u": "Q5.2", "w": "Q1.1"}
    found = round_weights(both, formats, [{"x": x, "z": z}])
    one = load(network([("Conv", "x w", "y")], inputs={"x": ["n", 3, "h", "w"]}, constants={"w": w}))
    own = {name: formats[name] for name in "xyw"}
    together, alone = (round_weights(one, own, [{"x": each} for each in feeds]).graph for feeds in ((x, z), (x,)))
    np.testing.assert_array_equal(found.graph.constants["w"], together.constants["w"])
    assert not np.array_equal(together.constants["w"], alone.constants["w"])
    assert "and 1 more" in found.entries[0].layer


def test_damping_reaches_the_rounding():
    graph = load(network([("Conv", "x w", "y")], constants={"w": weights(8, 3, 3, 3)}))
    feeds, formats = {"x": correlated(1, 3, 6, 5)}, {**ACTIVATIONS, "w": "Q1.1"}
    usual, damped = (round_weights(graph, formats, feeds, **o).graph for o in ({}, {"damping": 10.0}))
    assert not np.array_equal(usual.constants["w"], damped.constants["w"])
    nearest = on_grid(weights(8, 3, 3, 3), QFormat.parse("Q1.1"))
    changed = np.count_nonzero(usual.constants["w"] != nearest)
    assert round_weights(graph, formats, feeds).entries[0].text.endswith(f"{changed} of 216 weights differ")


@pytest.mark.parametrize(
    ("off", "text"), [(0, "no error; 0 of 108 "), (2**-9, "0.0 dB less error than nearest; 0 of 108 ")]
)
def test_weights_on_the_grid_have_no_error(off, text):
    w = on_grid(weights(4, 3, 3, 3), QFormat.parse("Q2.5")).astype(np.float32)
    w[2, 1, 0, 0] += off
    graph = load(network([("Conv", "x w", "y")], constants={"w": w}))
    found = round_weights(graph, {"x": "Q3.2", "y": "Q5.2", "w": "Q2.5"}, {"x": correlated(1, 3, 6, 5)})
    assert found.entries[0].text == f"{text}weights differ"


def test_weights_that_are_infinite_are_left():
    w = weights(4, 3, 3, 3)
    w[1, 2, 0, 1] = -np.inf
    graph = load(network([("Conv", "x w", "y")], constants={"w": w}))
    found = round_weights(graph, {**ACTIVATIONS, "w": "Q1.1"}, {"x": correlated(1, 3, 6, 5)})
    assert [(entry.is_done, entry.text) for entry in found.entries] == [(False, "its weights are not all finite")]
    np.testing.assert_array_equal(found.graph.constants["w"], w)


def test_weights_that_are_read_in_two_ways_are_left():
    nodes = [("Gemm", "x w", "a"), ("Gemm", "a w", "y", {"transB": 1})]
    graph = load(network(nodes, inputs={"x": [2, 3]}, constants={"w": weights(3, 3)}))
    found = round_weights(graph, {"x": "Q2.5", "a": "Q2.5", "y": "Q2.5"}, [{"x": weights(2, 3)}])
    assert "read in different ways" in str(found.entries[0])
    np.testing.assert_array_equal(found.graph.constants["w"], weights(3, 3))


def test_errors():
    graph = load(network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)}))
    with pytest.raises(FormatError, match="no format for 'y'"):
        round_weights(graph, {"x": "Q2.5"}, [{"x": weights(1, 3, 6, 5)}])
    with pytest.raises(OptionError, match="at least one"):
        round_weights(graph, {"x": "Q2.5", "y": "Q2.5"}, [])


def test_weights_without_elements_are_left():
    nodes = [("MatMul", "x w", "m"), ("Concat", "x m", "y", {"axis": 1})]
    graph = load(network(nodes, inputs={"x": ["n", 3]}, constants={"w": np.zeros((3, 0), np.float32)}))
    data = [{"x": weights(4, 3)}]
    found = round_weights(graph, calibrate(graph, data, bits=8), data)
    assert [entry.is_done for entry in found.entries] == [False]
