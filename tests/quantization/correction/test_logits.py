"""Range of logits: the one with the least cross-entropy among its neighbours."""

import numpy as np
import pytest
from networks import network, weights
from scipy.special import log_softmax, softmax

from qengine import InferenceSession, calibrate
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.qformat import QFormat
from qengine.quantization.correction.logits import fit_logits

W = weights(6, 10, scale=4.0)


def made(operator="Softmax", attributes=None, opset=17, shape=("n", 6), reshape=None):
    nodes = [("MatMul", "x w", "v"), (operator, "v", "y", attributes or {})]
    return load(network(nodes, inputs={"x": list(shape)}, constants={"w": W}, opset=opset))


def wanted(graph, data, formats, axis):
    """Return the fraction bits with the least cross-entropy, by SciPy."""
    given, costs = QFormat.parse(formats["v"]), {}
    for n in range(given.fraction_bits - 3, given.fraction_bits + 4):
        fmt, total = given.with_fraction_bits(n), 0.0
        for feeds in data:
            (v,) = InferenceSession(graph).run(["v"], feeds)
            q = (
                np.clip(np.rint(v.astype(np.float64) * 2.0**n), -(2 ** (fmt.bits - 1)), 2 ** (fmt.bits - 1) - 1)
                / 2.0**n
            )
            total -= (softmax(v.astype(np.float64), axis) * log_softmax(q, axis)).sum()
        costs[n] = total
    return min(costs, key=costs.get)


@pytest.mark.parametrize("bits", [4, 5, 8])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_the_least_cross_entropy(operator, bits):
    graph = made(operator)
    data = [{"x": weights(7, 6, seed=i, scale=1.0)} for i in range(5)]
    formats = {**calibrate(graph, data, bits=bits, method="max").formats}
    found = fit_logits(graph, formats, data)
    assert QFormat.parse(found.formats["v"]).fraction_bits == wanted(graph, data, formats, -1)
    assert {k: v for k, v in found.formats.items() if k != "v"} == {k: v for k, v in formats.items() if k != "v"}


def test_axes_of_older_models():
    # One Softmax over both last axes, up to opset 12.
    graph = made(attributes={"axis": 1}, opset=11, shape=("n", 3, 6))
    data = [{"x": weights(2, 3, 6, seed=i, scale=1.0)} for i in range(4)]
    formats = {**calibrate(graph, data, bits=5, method="max").formats}
    found = fit_logits(graph, formats, data)
    assert QFormat.parse(found.formats["v"]).fraction_bits == wanted(graph, data, formats, (1, 2))


def test_the_group_of_a_tensor_changes_as_one():
    nodes = [("MatMul", "x w", "u"), ("Reshape", "u s", "v"), ("Softmax", "v", "y")]
    constants = {"w": W, "s": np.array([-1, 5])}
    graph = load(network(nodes, inputs={"x": [4, 6]}, constants=constants))
    data = [{"x": weights(4, 6, seed=i, scale=1.0)} for i in range(4)]
    formats = {**calibrate(graph, data, bits=4, method="max").formats}
    found = fit_logits(graph, formats, data)
    assert found.formats["u"] == found.formats["v"] != formats["v"]
    InferenceSession(graph, formats=found.formats).run(None, data[0])


def test_other_outputs_stay():
    graph = load(network([("MatMul", "x w", "y")], inputs={"x": [4, 6]}, constants={"w": W}))
    formats = {"x": "Q3.4", "y": "Q5.2"}
    assert fit_logits(graph, formats, [{"x": weights(4, 6)}]).formats == formats
    with pytest.raises(OptionError, match="holds no feeds"):
        fit_logits(made(), {"x": "Q3.4", "v": "Q5.2", "y": "Q0.7"}, [])


def test_rows_without_numbers_do_not_count():
    graph = load(network([("Log", "x", "v"), ("Softmax", "v", "y")], inputs={"x": ["n", 5]}))
    rows = np.abs(weights(6, 5, scale=20.0))
    rows[1, 2] = 0  # -inf is as far below as can be
    others = np.array([[np.inf, 1, 1, 1, 1], [-1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], np.float32)
    formats = {"x": "Q5.2", "v": "Q4.0", "y": "Q0.7"}
    expected = fit_logits(graph, formats, [{"x": rows}]).formats
    assert expected["v"] != formats["v"]
    data = [{"x": np.concatenate([rows, others])}, {"x": others}, {"x": others[:0]}]
    assert fit_logits(graph, formats, data).formats == expected
