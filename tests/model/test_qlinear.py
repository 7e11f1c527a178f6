import numpy as np
import onnx
import pytest
from model.passes.quantized_models import RNG, assert_bits_of_onnx, codes
from networks import network
from onnx import helper

import qengine
from qengine.errors import ModelError


def test_quantized_operators_are_three_in_one():
    """The integers of QLinearConv and QLinearMatMul, which onnx.reference computes in another way."""
    model = network(
        [
            ("QLinearConv", "x sx zx w sw zw sy zy b", "c", {"pads": [1, 1, 1, 1]}),
            ("QLinearMatMul", "c sy zy m sm zm so zo", "y"),
        ],
        inputs={"x": (np.uint8, [1, 3, 6, 5])},
        constants={
            "sx": np.float32(0.25), "zx": np.uint8(128), "w": codes((4, 3, 3, 3)), "zw": np.int8([0] * 4),
            "sw": np.exp2(-np.float32([7, 8, 9, 6])), "sy": np.float32(2.0), "zy": np.uint8(0),
            "b": codes(4, "int32", 9000), "m": codes((5, 6)), "sm": np.float32(2.0**-7), "zm": np.int8(0),
            "so": np.float32(4.0), "zo": np.int8(0),
        },
    )  # fmt: skip
    x = RNG.integers(0, 256, (1, 3, 6, 5)).astype(np.uint8)
    session = assert_bits_of_onnx(model, x, ["c", "y"], strict=True)
    assert len(session.formats) > 4


def test_operators_of_onnx_runtime_are_read_too():
    nodes = [
        ("QuantizeLinear", ("x", "s", "z"), "q"),
        ("QLinearAdd", ("q", "s", "z", "q", "s", "z", "t", "z"), "a"),
        ("QLinearConcat", ("t", "z", "a", "t", "z", "q", "s", "z"), "k"),
        ("QLinearGlobalAveragePool", ("k", "t", "z", "s", "z"), "p"),
        ("QLinearSigmoid", ("p", "s", "z", "u", "z8"), "g"),
        ("DequantizeLinear", ("g", "u", "z8"), "y"),
    ]
    own = {"QuantizeLinear", "DequantizeLinear"}
    protos = [
        helper.make_node(
            operator, inputs, [out], **({} if operator in own else {"domain": "com.microsoft"}),
            **({"axis": 1} if operator == "QLinearConcat" else {}),
            **({"channels_last": 0} if operator == "QLinearGlobalAveragePool" else {}),
        )
        for operator, inputs, out in nodes
    ]  # fmt: skip
    constants = {
        "s": np.float32(0.25), "t": np.float32(0.5), "u": np.float32(2.0**-8), "z": np.uint8(128), "z8": np.uint8(0)
    }  # fmt: skip
    graph = helper.make_graph(
        protos,
        "own",
        [helper.make_tensor_value_info("x", 1, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    x = RNG.uniform(-30, 30, (1, 2, 4, 4)).astype(np.float32)
    session = qengine.InferenceSession(model, strict=True)
    (found,) = session.run(None, {"x": x})

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    theirs = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(found, theirs.run(None, {"x": x})[0], strict=True)


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("place", [1, 4, 6])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_a_scale_that_means_nothing_is_an_error(domain, place, scale):
    """A scale of 0 with other scales that are powers of two, which are read as formats."""
    operator = "QLinearAdd" if domain else "QLinearMatMul"
    scales = {1: 0.25, 4: 0.5, 6: 0.25} | {place: scale}
    names = ["x", "s1", "z", "x", "s4", "z", "s6", "z"]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], name="node", domain=domain)],
        "scales",
        [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [2, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, None)],
        [
            onnx.numpy_helper.from_array(np.array(0, np.uint8), "z"),
            *(onnx.numpy_helper.from_array(np.float32(s), f"s{i}") for i, s in scales.items()),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    with pytest.raises(ModelError, match=r"node 'node.*scale.* is .*must be a finite number other than 0"):
        qengine.InferenceSession(model.SerializeToString()).run(None, {"x": np.ones((2, 2), np.uint8)})
