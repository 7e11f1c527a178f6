import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.model.loader import load
from qengine.model.passes import optimize

X = weights(2, 3, 6, 5, seed=1, scale=2.0)
PADS = np.array([0, 0, 1, 2, 0, 0, 0, 3])
READERS = {
    "conv": ("Conv", "p W", "y"),
    "conv with pads": ("Conv", "p W", "y", {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "conv, VALID": ("Conv", "p W", "y", {"auto_pad": "VALID"}),
    "average pool": ("AveragePool", "p", "y", {"kernel_shape": [3, 4]}),
    "average pool that counts": (
        "AveragePool",
        "p",
        "y",
        {"kernel_shape": [3, 5], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    "max pool": ("MaxPool", "p", "y", {"kernel_shape": [4, 4], "strides": [2, 2]}),
}


def build(reader, pad=("Pad", "x pads fill", "p"), opset=17, outputs=("y",), **constants):
    given = {"W": weights(4, 3, 3, 3), "pads": PADS, "fill": -np.inf if reader[0] == "MaxPool" else 0.0} | constants
    return network([pad, reader], inputs={"x": ["N", 3, 6, 5]}, outputs=outputs, constants=given, opset=opset)


def operators(model):
    return [node.operator for node in optimize(load(model))[-1].nodes]


def check(model):
    (found,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_allclose(found, run_onnxruntime(model, {"x": X})[0], atol=1e-5)


@pytest.mark.parametrize("kind", READERS)
def test_it_goes_into_what_reads_it(kind):
    model = build(READERS[kind])
    assert operators(model) == [READERS[kind][0]]
    check(model)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("options", [{}, {"rounding": "floor", "overflow": "wrap"}])
def test_no_bit_changes(kind, options):
    """Beside a second reader it stays."""
    s = qengine.InferenceSession(build(READERS[kind]), qformat="Q2.5", **options)
    kept = qengine.InferenceSession(build(READERS[kind], outputs=("y", "p")), qformat="Q2.5", **options)
    assert len(kept._network.optimized.nodes) == 2
    np.testing.assert_array_equal(s.run(["y"], {"x": X}, raw=True)[0], kept.run(["y"], {"x": X}, raw=True)[0])
    np.testing.assert_array_equal(s.run(["p"], {"x": X}, raw=True)[0], kept.run(["p"], {"x": X}, raw=True)[0])


@pytest.mark.parametrize(
    ("pad", "opset", "constants"),
    [
        (("Pad", "x", "p", {"pads": PADS.tolist()}), 10, {}),
        (("Pad", "x", "p", {"pads": PADS.tolist(), "mode": "constant", "value": 0.0}), 9, {}),
        (("Pad", "x pads", "p"), 13, {}),
        (("Pad", "x pads - axes", "p"), 18, {"pads": np.array([1, 2, 0, 3]), "axes": np.array([2, -1])}),
        (("Pad", "x pads fill axes", "p"), 19, {"pads": np.array([2, 3]), "axes": np.array([3])}),
    ],
)
def test_every_way_to_write_it(pad, opset, constants):
    model = build(READERS["conv"], pad, opset, **constants)
    assert operators(model) == ["Conv"]
    check(model)


STAYS = {
    "as wide as the windows of a pool": (
        ("AveragePool", "p", "y", {"kernel_shape": [3, 3]}),
        ("Pad", "x pads", "p"),
        {},
    ),
    "another mode": (READERS["conv"], ("Pad", "x pads", "p", {"mode": "edge"}), {}),
    "another number": (READERS["conv"], ("Pad", "x pads fill", "p"), {"fill": 1.0}),
    "zeros before a max pool": (READERS["max pool"], ("Pad", "x pads fill", "p"), {"fill": 0.0}),
    "cropped": (READERS["conv"], ("Pad", "x pads", "p"), {"pads": np.array([0, 0, 1, -1, 0, 0, 0, 0])}),
    "channels": (
        ("AveragePool", "p", "y", {"kernel_shape": [2, 2]}),
        ("Pad", "x pads", "p"),
        {"pads": np.array([0, 1, 1, 1, 0, 0, 0, 0])},
    ),
    "a size that decides": (("Conv", "p W", "y", {"auto_pad": "SAME_UPPER"}), ("Pad", "x pads", "p"), {}),
    "a window that hangs over": (
        ("AveragePool", "p", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ("Pad", "x pads", "p"),
        {},
    ),
    "an average without its own padding": (
        ("AveragePool", "p", "y", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("Pad", "x pads", "p"),
        {},
    ),
    "transposed": (("ConvTranspose", "p V", "y"), ("Pad", "x pads", "p"), {"V": weights(3, 4, 2, 2)}),
}


@pytest.mark.parametrize("kind", STAYS)
def test_what_is_something_else_stays(kind):
    reader, pad, constants = STAYS[kind]
    model = build(reader, pad, **constants)
    assert operators(model) == ["Pad", reader[0]]
    check(model)


def test_widths_that_only_a_run_knows():
    model = network(
        [("Pad", "x pads", "p"), READERS["conv"]],
        inputs={"x": ["N", 3, 6, 5], "pads": (np.int64, [8])},
        constants={"W": weights(4, 3, 3, 3)},
    )
    assert operators(model) == ["Pad", "Conv"]
    (found,) = qengine.InferenceSession(model).run(None, {"x": X, "pads": PADS})
    np.testing.assert_allclose(found, run_onnxruntime(model, {"x": X, "pads": PADS})[0], atol=1e-5)


def test_it_is_not_taken_from_another_reader():
    model = network(
        [("Pad", "x pads", "p"), ("Conv", "p W", "a"), ("Conv", "p W", "b"), ("Add", "a b", "y")],
        inputs={"x": ["N", 3, 6, 5]},
        constants={"W": weights(4, 3, 3, 3), "pads": PADS},
    )
    assert operators(model) == ["Pad", "Conv", "Conv", "Add"]
    check(model)


def test_two_in_a_row():
    model = network(
        [("Pad", "x pads", "q"), ("Pad", "q pads", "p"), READERS["conv"]],
        inputs={"x": ["N", 3, 6, 5]},
        constants={"W": weights(4, 3, 3, 3), "pads": PADS},
    )
    assert operators(model) == ["Pad", "Conv"]
    check(model)
