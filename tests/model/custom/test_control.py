"""Registered operators in the graphs of If and Loop."""

import numpy as np
import onnx
import pytest
from networks import weights
from onnx import helper

from qengine import InferenceSession, quantize, register_operator
from qengine.kernels.isa import available

ISAS = ["reference", available()[0].name]
X = weights(1, 3, 6, 5, seed=1, scale=1.0)


def choice():
    def branch(sign):
        node = helper.make_node("Blend", ["c"], ["b"], domain="my.domain", factor=sign * 0.75)
        return helper.make_graph([node], "branch", [], [helper.make_empty_tensor_value_info("b")])

    nodes = [
        helper.make_node("Relu", ["x"], ["c"]),
        helper.make_node("If", ["p"], ["y"], then_branch=branch(1), else_branch=branch(-1)),
    ]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 6, 5]),
        helper.make_tensor_value_info("p", onnx.TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize("isa", ISAS)
def test_inside_of_an_if(isa):
    @register_operator("Blend", domain="my.domain")
    def blend(x, *, factor: float):
        return x * np.float32(factor) + x.sum(axis=1, keepdims=True) / 16

    @blend.fixed_point
    def _(x, *, factor):
        return x.codes * round(factor * 256) + x.codes.sum(axis=1, keepdims=True) * 16, x.fraction_bits + 8

    c = np.maximum(X, 0)
    codes = np.maximum(quantize(X, "Q3.4"), 0).astype(np.int64)
    float32, fixed = InferenceSession(choice(), isa=isa), InferenceSession(choice(), qformat="Q3.4", isa=isa)
    for p, factor in ((True, 0.75), (False, -0.75)):
        feeds = {"x": X, "p": np.bool_(p)}
        np.testing.assert_array_equal(
            float32.run(None, feeds)[0], c * np.float32(factor) + c.sum(axis=1, keepdims=True) / 16
        )
        total = codes * int(factor * 256) + codes.sum(axis=1, keepdims=True) * 16
        np.testing.assert_array_equal(fixed.run(None, feeds, raw=True)[0], quantize(total / 2**12, "Q3.4"), strict=True)


def repeated():
    """A Loop around two operators, of which one reads a tensor and a constant of the graph around it."""
    body = helper.make_graph(
        [
            helper.make_node("Halve", ["s"], ["h"], domain="my.domain"),
            helper.make_node("Affine", ["h", "k", "c"], ["s_out"], domain="my.domain"),
            helper.make_node("Identity", ["go_in"], ["go"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, [4]),
        ],
        [
            helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("s_out", onnx.TensorProto.FLOAT, [4]),
        ],
    )
    nodes = [helper.make_node("Neg", ["x"], ["c"]), helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4]),
        helper.make_tensor_value_info("n", onnx.TensorProto.INT64, []),
    ]
    constant = onnx.numpy_helper.from_array(np.float32(0.75), "k")
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")], [constant])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def test_inside_of_a_loop_with_what_is_around_it():
    @register_operator("Halve", domain="my.domain")
    def halve(x):
        return x / 2

    @halve.fixed_point
    def _(x):
        return x.codes, x.fraction_bits + 1

    @register_operator("Affine", domain="my.domain")
    def affine(x, k, c):
        return x * k + c

    formats = set()

    @affine.fixed_point
    def _(x, k, c):
        formats.add((str(x.format), str(k.format), str(c.format)))
        n = x.fraction_bits + k.fraction_bits
        return x.codes * k.codes + (c.codes << (n - c.fraction_bits)), n

    x = np.float32([1, 2, 3.25, -4])
    feeds, s = {"x": x, "n": np.int64(3)}, x
    for _ in range(3):
        s = s / 2 * np.float32(0.75) - x
    np.testing.assert_array_equal(InferenceSession(repeated()).run(None, feeds)[0], s)
    session = InferenceSession(repeated(), qformat="Q3.4", formats={"c": "Q3.8"}, strict=True)
    codes = np.rint(x * 16)
    for _ in range(3):  # 0.75 is 96 / 128, and x is exact in its format
        codes = np.clip(np.rint((np.rint(codes / 2) * 96 - x * 2**11) / 2**7), -128, 127)
    np.testing.assert_array_equal(session.run(None, feeds, raw=True)[0], codes.astype(np.int8), strict=True)
    assert formats == {("Q3.4", "Q0.7", "Q3.8")}
