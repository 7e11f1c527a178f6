"""Numbers of a model that become factors of several operators."""

import numpy as np
import onnx
from onnx import helper

import qengine


def test_a_scalar_that_became_factors_of_several_lengths():
    """torch writes a number once for all operators; with the constants after it, it is a factor of each channel."""
    nodes = [
        *(helper.make_node("Mul", ["x", "two"], ["a"]), helper.make_node("Add", ["a", "eight"], ["p"])),
        *(helper.make_node("Mul", ["y", "two"], ["b"]), helper.make_node("Add", ["b", "four"], ["q"])),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [3, k]) for n, k in zip(names, (8, 4), strict=True)]
        for names in ("xy", "pq")
    )
    constants = {"two": np.float32(2), "eight": np.arange(8, dtype=np.float32), "four": np.arange(4, dtype=np.float32)}
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": np.ones((3, 8), np.float32), "y": np.ones((3, 4), np.float32)}
    found = qengine.calibrate(model.SerializeToString(), [feeds], bits=8)
    assert found.formats["two"] == "Q2.5"
