"""Nodes that contradict the definition of their operator, which onnx's C++ code would trust."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from qengine.model.loader import load
from qengine.model.loader.validation import MAX_AXES

from .models import node, refused


def one(operator, inputs, outputs, version=17, domain="", **attributes):
    """Return a model of one node; inputs are shapes of float tensors, or arrays that are constants."""
    names = [f"i{k}" if shape is not None else "" for k, shape in enumerate(inputs)]
    given = list(zip(names, inputs, strict=True))
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in given
        if isinstance(shape, list)
    ]
    held = [
        helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape, a.ravel())
        for name, a in given
        if isinstance(a, np.ndarray)
    ]
    made = node(operator, names, outputs, name="n", domain=domain, **attributes)
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
    opsets = [helper.make_opsetid("", version if not domain else 17)]
    opsets += [helper.make_opsetid(domain, version)] if domain else []
    return helper.make_model(helper.make_graph([made], "g", infos, ends, held), opset_imports=opsets, ir_version=10)


FOUND = [
    # Both end the process in onnx 1.23: SIGSEGV and SIGABRT.
    (one("LayerNormalization", [[3, 4], [4]], ["y", "m", "s"], axis=4294867296), "'axis' holds 4294867296, beyond 32"),
    (one("Split", [[6]], ["a", "b", "c"], 18, num_outputs=2), "has 3 outputs, and its num_outputs is 2"),
    (one("Conv", [[1, 1, 4, 4], [1, 1, 2, 2]], ["y"], strides=[1 << 58, 1]), "'strides' holds 288230376151711744"),
    (one("Relu", [[2], [2]], ["y"]), "has 2 inputs, and Relu takes 1 at opset 17"),
    (one("Add", [[2]], ["y"]), "has 1 inputs, and Add takes 2"),
    (one("Concat", [], ["y"], axis=0), "has 0 inputs, and Concat takes 1 or more"),
    (one("TopK", [[4], np.array([2])], ["a", "b", "c"]), "has 3 outputs, and TopK takes 2"),
    (one("Add", [None, [2]], ["y"]), "input 'A' is missing"),
    (one("Relu", [[2]], ["y"], alpha=1.0), "attribute 'alpha', which does not exist at opset 17; there are none"),
    (one("Softmax", [[2]], ["y"], axes=1), "did you mean 'axis'"),
    (one("Softmax", [[2]], ["y"], axis=1.0), "'axis' is of type FLOAT, and INT is needed"),
    (one("Concat", [[2]], ["y"]), "attribute 'axis' is missing"),
    (one("Squeeze", [[1, 2]], ["y"], 11, axes=[0, -(2**40)]), "'axes' holds -1099511627776"),
    (one("LinearRegressor", [[1, 2]], ["y"], 1, "ai.onnx.ml", coefficients=[1.0], targets=2**40), "'targets' holds"),
]


@pytest.mark.parametrize(("model", "reason"), FOUND, ids=[str(k) for k in range(len(FOUND))])
def test_a_node_that_contradicts_its_definition(model, reason):
    refused(model, "node 'n'", reason)


def test_a_node_inside_of_graphs_and_functions():
    inner = helper.make_graph([node("Relu", ["x", "x"], ["t"])], "b", [], [helper.make_empty_tensor_value_info("t")])
    model = one("If", [np.array(True)], ["y"], then_branch=inner, else_branch=inner)
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]))
    refused(model, "node 't' (Relu)", "has 2 inputs")
    called = one("F", [[2]], ["y"], 1, "own")
    body = [node("Split", ["a"], ["b", "c", "d"], num_outputs=2)]
    imports = [helper.make_opsetid("", 17)]
    called.functions.append(helper.make_function("own", "F", ["a"], ["b"], body, imports))
    refused(called, "(Split)", "'num_outputs', which does not exist at opset 17")


ALLOWED = [
    one("Slice", [[4]], ["y"], 9, starts=[0], ends=[2**63 - 1]),
    one("Shape", [[4]], ["y"], start=0, end=2**63 - 1),
    one("Constant", [], ["y"], value_ints=[2**62]),
    one("Dropout", [[2]], ["y", ""]),
    one("Clip", [[2], None, np.array(3, np.float32)], ["y"]),
    one("Clip", [[2], None, None], ["y"]),
    one("LabelEncoder", [[2]], ["y"], 2, "ai.onnx.ml", keys_floats=[1.0], values_int64s=[2**62], default_int64=2**62),
    one("Anything", [[2]] * 9, ["y"], 1, "own", axis=2**62),
]


@pytest.mark.parametrize("model", ALLOWED, ids=[str(k) for k in range(len(ALLOWED))])
def test_what_is_allowed(model):
    assert len(load(model).outputs) == 1


def test_more_axes_than_numpy_has():
    assert load(one("Relu", [[1] * MAX_AXES], ["y"])).outputs
    refused(one("Relu", [[1] * (MAX_AXES + 1)], ["y"]), "'i0' has 65 axes, more than 64")
    assert load(one("Relu", [np.ones([1] * MAX_AXES, np.float32)], ["y"])).outputs
    wide = one("Relu", [np.ones(1, np.float32)], ["y"])
    wide.graph.initializer[0].dims.extend([1] * MAX_AXES)
    refused(wide, "65 axes, more than 64")


@pytest.mark.parametrize("version", [2**31, 2**40, 2**62])
def test_an_opset_beyond_32_bits(version):
    refused(one("Scaler", [[1, 2]], ["y"], version, "ai.onnx.ml"), f"imports opset {version} of 'ai.onnx.ml'")
