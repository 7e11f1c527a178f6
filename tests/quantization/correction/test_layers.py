"""Layers of every layout: stacks of matrices, vectors, weights that stand first, weights with several readers."""

import numpy as np
import onnx
import pytest
from networks import network, run_onnxruntime, weights

from qengine import InferenceSession, calibrate
from qengine.model.loader import load
from qengine.quantization.correction import correct, equalize
from qengine.quantization.correction.layers import inner_layers, linear_layers
from qengine.quantization.correction.moments import observe_moments

# node, shape of x, shape of w
STACKS = {
    "stack": (("MatMul", "x w", "y"), [3, 5, 7], (3, 7, 4)),
    "stack, one x": (("MatMul", "x w", "y"), [5, 7], (3, 7, 4)),
    "stack of stacks": (("MatMul", "x w", "y"), [2, 1, 5, 7], (3, 7, 4)),
    "stack, partly shared": (("MatMul", "x w", "y"), [2, 3, 5, 7], (2, 1, 7, 4)),
    "stack, x is a vector": (("MatMul", "x w", "y"), [7], (3, 7, 4)),
    "vector": (("MatMul", "x w", "y"), [2, 5, 7], (7,)),
    "first": (("MatMul", "w x", "y"), [7, 5], (4, 7)),
    "first, a stack of x": (("MatMul", "w x", "y"), [3, 7, 5], (4, 7)),
    "first, a stack": (("MatMul", "w x", "y"), [2, 3, 7, 5], (3, 4, 7)),
    "first, x is a vector": (("MatMul", "w x", "y"), [7], (4, 7)),
    "first, a vector": (("MatMul", "w x", "y"), [7, 5], (7,)),
    "gemm, first": (("Gemm", "w x", "y"), [7, 5], (4, 7)),
    "gemm, first, transA": (("Gemm", "w x", "y", {"transA": 1}), [7, 5], (7, 4)),
    "gemm, first, both": (("Gemm", "w x", "y", {"transA": 1, "transB": 1}), [5, 7], (7, 4)),
    "gemm, first, transB": (("Gemm", "w x", "y", {"transB": 1}), [5, 7], (4, 7)),
}


def made(name, order="C"):
    node, shape, filters = STACKS[name]
    w = weights(*filters)
    graph = load(network([node], inputs={"x": shape}, constants={"w": w}))
    graph.constants["w"] = np.asarray(w, order=order)
    return graph, shape, filters


@pytest.mark.parametrize("name", STACKS)
def test_products_tell_the_energy_of_the_output(name):
    (node, shape, filters), w = STACKS[name], weights(*STACKS[name][2])
    model = network([node], inputs={"x": shape}, constants={"w": w})
    (layer,) = linear_layers(load(model))
    assert layer.weights == "w"
    assert layer.reads == "x"
    data = [{"x": weights(*shape, seed=seed)} for seed in (1, 2)]
    (found,) = observe_moments(InferenceSession(model, isa="reference"), [layer], data, products=True).values()
    blocks = layer.blocks(w.astype(np.float64))
    np.testing.assert_array_equal(layer.from_blocks(layer.blocks(w)), w)
    flat = blocks.reshape(*blocks.shape[:2], -1)
    outputs = [run_onnxruntime(model, one)[0].astype(np.float64) for one in data]
    energy = np.einsum("goi,gij,goj->", flat, found.products, flat)
    np.testing.assert_allclose(energy, sum((y**2).sum() for y in outputs), rtol=1e-5)
    np.testing.assert_allclose(np.einsum("goi,gi->", flat, found.sums), sum(y.sum() for y in outputs), rtol=1e-3)
    # A number for each filter lies where the filter's outputs are: moving w by 1 moves each output by the sum of x.
    if outputs[0].ndim > 1 and len(filters) > 1 and len(shape) > 1:
        each = np.arange(1.0, 1 + np.prod(layer.block_shape[:2])).reshape(layer.block_shape[:2])
        moved = layer.from_blocks(np.broadcast_to(each[..., None, None], layer.block_shape)).astype(np.float32)
        (y,) = run_onnxruntime(network([node], inputs={"x": shape}, constants={"w": moved}), {"x": np.ones(shape, "f")})
        np.testing.assert_allclose(y, np.broadcast_to(7 * layer.as_bias(each), y.shape), rtol=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", STACKS)
def test_rounding_helps(name, order):
    graph, shape, _ = made(name, order)
    # Inputs that depend on each other, where there is something to gain.
    data = [{"x": np.asarray(np.abs(weights(*shape, seed=i)) + 1, order=order)} for i in range(6)]
    exact = InferenceSession(graph)

    def noise(recipe):
        found = correct(graph, lambda g: calibrate(g, data, bits=16, weight_bits=4), data, recipe)
        fixed = InferenceSession(found.graph, formats=found.formats)
        return sum(float(((exact.run(None, f)[0] - fixed.run(None, f)[0]) ** 2).sum()) for f in data)

    assert noise("fold+round") < 0.8 * noise("fold")
    assert noise("best") <= noise("fold")


def test_a_matmul_has_the_bias_of_the_add_after_it():
    nodes = [("MatMul", "x w", "a"), ("Add", "a b", "c"), ("Relu", "c", "y")]
    graph = load(network(nodes, inputs={"x": [3, 5, 16]}, constants={"w": weights(16, 6), "b": weights(6)}))
    data = [{"x": np.abs(weights(3, 5, 16, seed=i))} for i in range(4)]
    for recipe in ("fold+bias", "fold+bias=full"):
        found = correct(graph, lambda g: calibrate(g, data, bits=16, weight_bits=3, unsigned=False), data, recipe)
        plain = correct(graph, lambda g: calibrate(g, data, bits=16, weight_bits=3, unsigned=False), data, "fold")

        def error(one):
            exact, fixed = InferenceSession(graph), InferenceSession(one.graph, formats=one.formats)
            off = [fixed.run(["c"], f)[0].astype(np.float64) - exact.run(["c"], f)[0] for f in data]
            return np.abs(np.mean(off, axis=(0, 1, 2))).max()

        assert any(entry.is_done for entry in found.entries if entry.correction.startswith("bias"))
        assert error(found) < 0.3 * error(plain)


def test_weights_that_something_else_reads_stay():
    nodes = [("Gather", "w i", "r"), ("MatMul", "r w", "y")]
    constants = {"w": weights(8, 8)}
    graph = load(network(nodes, inputs={"i": (np.int64, [5])}, constants=constants))
    data = [{"i": np.array([1, 2, 3, 4, i])} for i in range(4)]
    found = correct(graph, lambda g: calibrate(g, data, bits=6), data, "fold+round")
    np.testing.assert_array_equal(found.graph.constants["w"], constants["w"])
    assert "by something else" in found.entries[-1].text


def test_layers_of_a_branch_are_named():
    branch = network([("MatMul", "x w", "z")], inputs={}, outputs=["z"], constants={"w": weights(4, 4)})
    body = onnx.load_from_string(branch).graph
    nodes = [("If", "c", "y", {"then_branch": body, "else_branch": body})]
    graph = load(network(nodes, inputs={"x": [3, 4], "c": (np.bool_, [])}))
    assert len(inner_layers(graph)) == 2
    data = [{"x": weights(3, 4, seed=i), "c": np.array(True)} for i in range(3)]
    for recipe in ("fold+equalize", "fold+round", "fold+bias", "fold+bias=full"):
        found = correct(graph, lambda g: {**calibrate(g, data, bits=8).formats}, data, recipe)
        told = [entry for entry in found.entries if "graph inside of a node" in entry.text]
        assert len(told) == 2, recipe
    assert not [entry for entry in equalize(graph).entries if entry.is_done]
