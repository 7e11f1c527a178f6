"""Moments of what layers read: with the weights they give the sums of the outputs that ONNX Runtime computes."""

import weakref

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

from qengine import InferenceSession
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.correction import fold_all_but_batchnorm
from qengine.quantization.correction.layers import linear_layers
from qengine.quantization.correction.moments import key_of, observe_moments

IMAGE = [2, 4, 7, 6]
LAYERS = {
    "conv": (("Conv", "x w", "y", {"pads": [1, 2, 0, 1], "strides": [2, 1], "dilations": [1, 2]}), IMAGE, (6, 4, 3, 2)),
    "grouped": (("Conv", "x w", "y", {"group": 2, "pads": [1, 1, 1, 1]}), IMAGE, (6, 2, 3, 3)),
    "depthwise": (("Conv", "x w", "y", {"group": 4, "auto_pad": "SAME_UPPER"}), IMAGE, (8, 1, 3, 3)),
    "1-d": (("Conv", "x w", "y", {"strides": [3]}), [3, 4, 20], (5, 4, 4)),
    "transposed": (("ConvTranspose", "x w", "y", {"strides": [2, 3], "pads": [1, 0, 1, 2]}), IMAGE, (4, 5, 3, 3)),
    "transposed, grouped": (
        ("ConvTranspose", "x w", "y", {"group": 2, "dilations": [2, 1], "strides": [2, 2], "output_padding": [1, 0]}),
        IMAGE,
        (4, 3, 3, 2),
    ),
    "gemm": (("Gemm", "x w", "y"), [5, 7], (7, 3)),
    "gemm, transposed": (("Gemm", "x w", "y", {"transA": 1, "transB": 1}), [7, 5], (3, 7)),
    "matmul": (("MatMul", "x w", "y"), [2, 3, 5, 7], (7, 4)),
}


def output_sums(y, node, groups):
    """Return the sum and the sum of squares of each output channel, as (groups, outputs)."""
    axis = -1 if node[0] in ("Gemm", "MatMul") else 1
    y = np.moveaxis(y.astype(np.float64), axis, 0)
    y = y.reshape(y.shape[0], -1)
    return y.sum(axis=1).reshape(groups, -1), np.square(y).sum(axis=1).reshape(groups, -1)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("strip", [16 << 20, 1])
def test_sums_and_products(name, strip, monkeypatch):
    monkeypatch.setattr("qengine.model.steps.forms._STRIP_BYTES", strip)
    node, shape, filters = LAYERS[name]
    w = weights(*filters)
    model = network([node], inputs={"x": shape}, constants={"w": w})
    data = [{"x": weights(*shape, seed=seed)} for seed in (1, 2)]
    (layer,) = linear_layers(load(model))
    (found,) = observe_moments(InferenceSession(model, isa="reference"), [layer], data, products=True).values()
    blocks = layer.blocks(w.astype(np.float64))
    np.testing.assert_array_equal(layer.from_blocks(layer.blocks(w)), w)
    flat = blocks.reshape(*blocks.shape[:2], -1)
    wanted = [output_sums(run_onnxruntime(model, one)[0], node, layer.groups) for one in data]
    sums, squares = (sum(part) for part in zip(*wanted, strict=True))
    np.testing.assert_allclose(np.einsum("goi,gi->go", flat, found.sums), sums, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.einsum("goi,gij,goj->go", flat, found.products, flat), squares, rtol=1e-4, atol=1e-3)
    positions = run_onnxruntime(model, data[0])[0].size // (layer.block_shape[0] * layer.block_shape[1])
    assert found.count == 2 * positions


def test_a_normalization_of_its_own():
    norm = ("BatchNormalization", "x g b m v", "y")
    parameters = {name: np.abs(weights(4, seed=i)) for i, name in enumerate("gbmv")}
    model = network([norm], inputs={"x": ["n", 4, 5]}, constants=parameters)
    graph = fold_all_but_batchnorm(load(model))
    (layer,) = linear_layers(graph)
    x = weights(3, 4, 5)
    (found,) = observe_moments(InferenceSession(graph, isa="reference"), [layer], [{"x": x}], products=True).values()
    np.testing.assert_allclose(found.sums[:, 0], x.sum(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.products[:, 0, 0], np.square(x).sum(axis=(0, 2)), rtol=1e-5)


def test_in_fixed_point_they_are_sums_of_codes():
    model = network(
        [("Pad", "x pads", "p"), ("Conv", "p w", "y")],
        constants={"w": weights(4, 3, 3, 3), "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1])},
    )
    session = InferenceSession(model, qformat="Q2.5", isa="reference")
    x = weights(1, 3, 6, 5)
    (found,) = observe_moments(session, linear_layers(session.graph), [{"x": x}], products=True).values()
    codes = np.rint(np.clip(x * 32, -128, 127))
    assert found.sums[0, 4] == codes[0, 0].sum()  # the middle tap sees every pixel
    assert found.products[0, 4, 4] == np.square(codes[0, 0]).sum()
    assert found.count == 30


def test_layers_that_share_weights_are_taken_together():
    model = network(
        [("Conv", "x w", "a"), ("Relu", "a", "r"), ("Conv", "r w", "y")], constants={"w": weights(3, 3, 1, 1)}
    )
    session = InferenceSession(model, isa="reference")
    layers = linear_layers(session.graph)
    (found,) = observe_moments(session, layers, [{"x": weights(1, 3, 6, 5)}]).values()
    assert key_of(layers[0], session.graph) == key_of(layers[1], session.graph)
    assert found.count == 60


def test_feeds_are_let_go_one_by_one():
    model = network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)})
    session = InferenceSession(model, isa="reference")
    alive = []

    def feeds():
        for seed in range(6):
            x = weights(1, 3, 6, 5, seed=seed)
            alive.append(weakref.ref(x))
            yield {"x": x}
            del x
            assert sum(one() is not None for one in alive) <= 1

    observe_moments(session, linear_layers(session.graph), feeds())
    assert len(alive) == 6


@pytest.mark.parametrize(("data", "message"), [([], "holds no feeds"), (3, "iterable of feeds")])
def test_what_is_no_data(data, message):
    model = network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)})
    session = InferenceSession(model, isa="reference")
    with pytest.raises(OptionError, match=message):
        observe_moments(session, linear_layers(session.graph), data)
