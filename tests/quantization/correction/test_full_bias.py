"""Biases that see every rounding: in fixed point the mean of each layer's output is that in float32."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, calibrate
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.correction import correct, full_bias
from qengine.quantization.correction.full_bias import correct_full_bias

NODES = [
    ("Conv", "x w1", "a", {"pads": [1, 1, 1, 1]}),
    ("Relu", "a", "b"),
    ("Conv", "b w2 b2", "c", {"group": 2}),
    ("Sigmoid", "c", "d"),
    ("ConvTranspose", "d w3", "e", {"strides": [2, 2]}),
    ("GlobalAveragePool", "e", "f"),
    ("Flatten", "f", "g"),
    ("Gemm", "g w4 b4", "y", {"transB": 1}),
]
CONSTANTS = {
    **{"w1": weights(8, 3, 3, 3), "w2": weights(6, 4, 3, 3, seed=1), "b2": weights(6)},
    **{"w3": weights(6, 5, 2, 2, seed=2), "w4": weights(4, 5, seed=3), "b4": weights(4)},
}
GRAPH = load(network(NODES, inputs={"x": ["n", 3, 7, 6]}, constants=CONSTANTS, outputs=["a", "c", "e", "y"]))
DATA = [{"x": np.abs(weights(2, 3, 7, 6, seed=i))} for i in range(5)]


def formats_of(graph):
    return calibrate(graph, DATA, bits=12, weight_bits=3)


def errors(graph, formats, data=DATA):
    """Return by how much the channels of each layer's output are off on average, at most."""
    found = {}
    exact, fixed = InferenceSession(GRAPH), InferenceSession(graph, formats=formats)
    for name in ("a", "c", "e", "y"):
        off = [fixed.run([name], f)[0].astype(np.float64) - exact.run([name], f)[0] for f in data]
        channels = np.moveaxis(np.array(off), 2, 0)
        found[name] = np.abs(channels.reshape(len(channels), -1).mean(axis=1)).max()
    return found


def test_each_layer_is_right_on_average_after_all_before_it():
    plain = correct(GRAPH, formats_of, DATA, "fold")
    found = correct(GRAPH, formats_of, DATA, "fold+bias=full")
    before, after = errors(plain.graph, plain.formats), errors(found.graph, found.formats)
    assert all(one > 0.02 for one in before.values())
    assert all(one < 0.003 for one in after.values()), after  # a step of 12 bits
    assert sum(entry.is_done for entry in found.entries) == 1 + 4
    # Without the roundings before a layer, later layers are not.
    alone = correct(GRAPH, formats_of, DATA, "fold+bias")
    assert errors(alone.graph, alone.formats)["y"] > 3 * after["y"]


def test_it_starts_from_what_weights_were_before_they_were_rounded():
    found = correct(GRAPH, formats_of, DATA, "fold+round+bias=full")
    assert all(one < 0.003 for one in errors(found.graph, found.formats).values())


def test_memory_bounds_the_runs(monkeypatch):
    monkeypatch.setattr(full_bias, "_MOST_BYTES", 0)
    found = correct(GRAPH, formats_of, DATA, "fold+bias=full")
    first = errors(found.graph, found.formats, DATA[:1])
    assert all(one < 0.003 for one in first.values())


def test_runs_of_another_shape_take_part():
    data = [*DATA[:2], {"x": np.abs(weights(1, 3, 7, 6, seed=9))}]
    found = correct_full_bias(GRAPH, formats_of(GRAPH), data)
    assert sum(entry.is_done for entry in found.entries) == 4


def test_where_the_data_decides_nothing_is_done():
    nodes = [("NonZero", "x", "i"), ("Cast", "i", "j", {"to": 1}), ("MatMul", "w j", "y")]
    graph = load(network(nodes, inputs={"x": [4]}, constants={"w": weights(3, 1)}))
    data = [{"x": np.array([1, 0, 2, 3], np.float32)}]
    found = correct(graph, lambda g: calibrate(g, data, bits=8), data, "fold+bias=full")
    assert not any(entry.is_done for entry in found.entries[1:])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (7, 1), (7, 3)])
def test_a_bias_for_all_filters_becomes_one_for_each(shape):
    constants = {"w": weights(3, 6), "b": weights(*shape)}
    graph = load(network([("Gemm", "x w b", "y", {"transB": 1})], inputs={"x": [7, 6]}, constants=constants, opset=11))
    data = [{"x": np.abs(weights(7, 6, seed=i))} for i in range(3)]
    found = correct_full_bias(graph, calibrate(graph, data, bits=12, weight_bits=3), data)
    assert [entry.is_done for entry in found.entries] == [True]
    fixed = InferenceSession(found.graph, formats=found.formats)
    off = [fixed.run(None, f)[0] - InferenceSession(graph).run(None, f)[0] for f in data]
    assert np.abs(np.mean(off, axis=(0, 1))).max() < 0.003


def test_no_feeds():
    with pytest.raises(OptionError, match="holds no feeds"):
        correct_full_bias(GRAPH, formats_of(GRAPH), [])
