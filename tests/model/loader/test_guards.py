"""Models with which onnx's shape inference, left to itself, ends the process or does not end."""

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qengine.model.loader import load

from .models import node


def chain(nodes, inputs, version=17, constants=(), domains=()):
    """Return a model of nodes, with float inputs of some shapes, whose output is 'y'."""
    kinds = {"i": TensorProto.INT64, "s": TensorProto.STRING}
    infos = [
        helper.make_tensor_value_info(name, kinds.get(name[0], TensorProto.FLOAT), shape)
        for name, shape in inputs.items()
    ]
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", infos, [helper.make_empty_tensor_value_info("y")], held)
    opsets = [helper.make_opsetid("", version), *(helper.make_opsetid(*one) for one in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=3 if version < 10 else 10)


_LOST = node("Concat", ["s", "s"], ["t"], axis=9)  # its inference fails, so that 't' has no type
_LABELS = {"domain": "ai.onnx.ml", "keys_strings": ["a"], "values_int64s": [1]}

FATAL = {
    "EyeLike without a type": chain([_LOST, node("EyeLike", ["t"], ["y"], dtype=1)], {"s": [4]}),
    "RegexFullMatch without a type": chain([_LOST, node("RegexFullMatch", ["t"], ["y"], pattern="a")], {"s": [4]}, 20),
    "LabelEncoder without a type": chain(
        [_LOST, node("LabelEncoder", ["t"], ["y"], **_LABELS)], {"s": [4]}, domains=[("ai.onnx.ml", 2)]
    ),
    "GatherND before the first axis": chain(
        [node("GatherND", ["x", "i"], ["y"], batch_dims=-7)], {"x": [2, 2], "i": [2]}
    ),
    "GatherND by negative lengths": chain(
        [node("MaxPool", ["x"], ["m", "i"], kernel_shape=[9]), node("GatherND", ["x", "i"], ["y"])], {"x": [1, 1, 4]}
    ),
    "Einsum of four dots": chain([node("Einsum", ["x"], ["y"], equation="....")], {"x": [2]}),
    "Einsum of other letters": chain([node("Einsum", ["x"], ["y"], equation="not_larger")], {"x": [1] * 9}),
    "Expand to 2^31 axes": chain([node("Expand", ["x", "i"], ["y"])], {"x": [2], "i": [2**31]}, 11),
}


@pytest.mark.parametrize("model", FATAL.values(), ids=FATAL)
def test_inference_does_not_end_the_process(model):
    code = """
import sys
from qengine.errors import QEngineError
from qengine.model.loader import load
data = sys.stdin.buffer.read()
try:
    load(data)
except QEngineError:
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=model.SerializeToString(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_guarded_nodes_are_inferred_where_it_is_safe():
    einsum = node("Einsum", ["x", "z"], ["t"], equation="ij, jk->ik")
    after = [node("Relu", ["t"], ["u"]), node("Einsum", ["u"], ["y"], equation="...b->...")]
    (y,) = load(chain([einsum, *after], {"x": [2, 3], "z": [3, 4]})).outputs
    assert y.shape == (2,)
    (y,) = load(chain([node("GatherND", ["x", "i"], ["y"])], {"x": [2, 3, 4], "i": [5, 2]})).outputs
    assert y.shape == (5, 4)
    (y,) = load(chain([node("Expand", ["x", "i"], ["y"])], {"x": [2], "i": [3]}, 11)).outputs
    assert len(y.shape) == 3
