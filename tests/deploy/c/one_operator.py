"""Sessions of models with few operators, for tests of single lowerings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import qengine


def node(op: str, *inputs: str, to: str = "y", **attributes: Any) -> onnx.NodeProto:
    """Return a node that computes one tensor."""
    return helper.make_node(op, [*inputs], [to], **attributes)


def session_of(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int],
    weights: Sequence[tuple[str, Any]] = (),
    outputs: Sequence[str] = ("y",),
    **options: Any,
) -> qengine.InferenceSession:
    """Return a reference session of a model with an input x of a shape."""
    kinds = {one.output[0]: onnx.TensorProto.INT64 if one.op_type == "ArgMax" else 1 for one in nodes}
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    out = [helper.make_tensor_value_info(name, kinds[name], None) for name in outputs]
    stored = [numpy_helper.from_array(np.asarray(a), name) for name, a in weights]
    graph = helper.make_graph([*nodes], "g", [value], out, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return qengine.InferenceSession(model.SerializeToString(), isa="reference", **options)
