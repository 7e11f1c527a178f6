"""Layouts of weights: blocks are the filters over what they read, and a linear operator declares nothing else."""

import numpy as np
import pytest

from qengine import InferenceSession
from qengine.analysis.inspection.counts import multiply_accumulates
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops.filters import ConvFilters, MatrixFilters, ScaleFilters, TransposedConvFilters
from qengine.model.ops.operator import Channels, find, operator, versions
from qengine.model.ops.signature import Bias, Weights
from qengine.model.steps import Linear, Tensor
from qengine.model.steps.forms import LinearForm, MatrixProduct
from qengine.quantization.correction import correct_bias, equalize, fold_graph, round_weights

from .cases import real
from .samples import Sample, for_samples, is_real


def linear_step(sample):
    (step,) = sample.steps()
    return step if isinstance(step, Linear) else None


LINEAR = for_samples(lambda one: one.op.facts.filters is not None and is_real(one))


@LINEAR
def test_blocks_are_the_filters_over_what_they_read(sample):
    step, filters, x, w = linear_step(sample), sample.op.facts.filters, *sample.arrays[:2]
    groups = filters.groups(sample.node, w.shape)
    if step is None or not groups:
        assert sample.operator in ("Gemm", "MatMul")
        return
    blocks = filters.blocks(sample.node, w, groups)
    np.testing.assert_array_equal(filters.from_blocks(sample.node, blocks, w.shape), w)
    outputs = blocks.shape[0] * blocks.shape[1]
    axis = filters.channel_axis(sample.node, w.ndim)
    assert w.shape[axis] * (groups if isinstance(filters, TransposedConvFilters) else 1) == outputs
    assert isinstance(step.product, LinearForm)
    patches = np.concatenate(list(step.product.patches(x, w.shape, groups)), axis=1)
    wanted = np.einsum("gpi,goi->pgo", patches, blocks.reshape(*blocks.shape[:2], -1).astype(np.float64))
    y = np.asarray(step.product(x.astype(np.float64), w.astype(np.float64)))
    channel = 1 if filters.channels is Channels.IMAGE else y.ndim - 1
    rows = np.moveaxis(y, channel, -1).reshape(-1, outputs)
    np.testing.assert_allclose(wanted.reshape(-1, outputs), rows, rtol=1e-4, atol=1e-4)


@LINEAR
def test_macs(sample):
    """Ones times ones sum to the number of products, with ones for the padding and nothing cut off."""
    step, filters = linear_step(sample), sample.op.facts.filters
    x, w = np.ones_like(sample.arrays[0], np.float64), np.ones_like(sample.arrays[1], np.float64)
    product, spatial = None if step is None else step.product, x.ndim - 2
    if isinstance(filters, ConvFilters):
        if isinstance(filters, TransposedConvFilters):
            parts = (product.strides, product.dilations, ((0, 0),) * spatial, (0,) * spatial, product.group)
        else:
            parts = (product.strides, product.dilations, ((0, 0),) * spatial, product.group)
            x = np.pad(x, [(0, 0), (0, 0), *product.pads], constant_values=1.0)
        count = type(product)(*parts)(x, w).sum()
    elif isinstance(filters, ScaleFilters):
        count = product(x, w).sum()
    else:
        a = x.T if sample.attributes.get("transA") else x
        count = np.matmul(a, w.T if sample.attributes.get("transB") else w).sum()
    (y,) = sample.steps()
    assert filters.macs(sample.node, sample.arrays[0].shape, w.shape, y.shape) == count


def test_macs_of_weights_of_unknown_shape():
    assert find(Node("MatMul", (), ())).facts.filters.macs(Node("MatMul", (), ()), (4, 3), None, (4, 6)) == 72
    for name in ("Conv", "ConvTranspose"):
        assert find(Node(name, (), ())).facts.filters.macs(Node(name, (), ()), (1, 3, 4, 4), None, (1, 2, 4, 4)) is None


def test_the_stride_of_inputs():
    """Where kernel and stride are equal, one tap of a transposed convolution meets each output."""
    x, w = np.ones((1, 3, 4, 4), np.float32), np.ones((3, 2, 2, 3), np.float32)
    sample = Sample("ConvTranspose", [x, w], {"strides": (2, 3)})
    filters = sample.op.facts.filters
    stride = filters.input_stride(sample.node)
    assert stride == 6
    (y,) = sample.run({})
    np.testing.assert_array_equal(y, np.full(y.shape, 3 * 2 * 3 / stride))
    assert find(Node("Conv", (), ())).facts.filters.input_stride(Node("Conv", (), (), {"strides": (2, 2)})) == 1


class RowFilters(MatrixFilters):
    """Weights (outputs, inputs) of an operator that has no attributes."""

    def _is_transposed(self, node):
        return True


@pytest.fixture
def linear_operator():
    """Declare a linear operator of ONNX for one test, and return its name."""

    @operator("Dense", filters=RowFilters())
    def dense(x: Tensor, w: Weights, b: Bias | None = None) -> Linear:
        shape = (x.shape[0], w.shape[0])
        return Linear(x, w, b, MatrixProduct(transposed_w=True), shape, (1,), 1, () if b is None else b.shape)

    yield "Dense"
    versions().pop(("", "Dense"))


def test_a_linear_operator_needs_its_declaration_alone(linear_operator):
    """Passes, formats for each channel, counts and all corrections take it as they take Gemm."""
    constants = {
        "w": real(6, 5) * np.exp2(np.arange(-3.0, 3.0, dtype=np.float32))[:, None],
        "v": real(4, 6, seed=1),
        "c": real(4),
        **{name: np.abs(real(6, seed=i)) + 0.5 for i, name in enumerate(["scale", "shift", "mean", "var"])},
    }
    nodes = (
        Node(linear_operator, ("x", "w"), ("a",)),
        Node("BatchNormalization", ("a", "scale", "shift", "mean", "var"), ("n",), version=15),
        Node("Relu", ("n",), ("r",), version=14),
        Node(linear_operator, ("r", "v", "c"), ("y",)),
    )
    x, y = (Value(name, np.dtype(np.float32), shape) for name, shape in (("x", (7, 5)), ("y", (7, 4))))
    graph = Graph("dense", (x,), (y,), nodes, constants)
    feeds = {"x": real(7, 5, seed=2)}
    (wanted,) = InferenceSession(graph).run(None, feeds)

    after = fold_graph(graph)
    assert [node.operator for node in after.nodes] == [linear_operator, "Relu", linear_operator]
    np.testing.assert_allclose(InferenceSession(after).run(None, feeds)[0], wanted, rtol=1e-4, atol=1e-4)
    assert multiply_accumulates(nodes[0], {"x": (7, 5), "w": (6, 5), "a": (7, 6)}) == 7 * 5 * 6
    equal = equalize(graph)
    assert [entry.is_done for entry in equal.entries] == [True, False]
    np.testing.assert_allclose(InferenceSession(equal.graph).run(None, feeds)[0], wanted, rtol=1e-4, atol=1e-4)
    formats = {"x": "Q3.12", "n": "Q6.9", "r": "Q6.9", "y": "Q9.6"}
    session = InferenceSession(after, formats=formats, per_channel=True, isa="reference")
    assert (session.formats["w"].axis, len(session.formats["w"].formats)) == (0, 6)
    for correct in (round_weights, correct_bias):
        found = correct(graph, {**formats, "w": "Q3.4", "v": "Q2.5"}, [feeds])
        assert [entry.is_done for entry in found.entries] == [True, True]
