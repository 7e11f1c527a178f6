"""One node, run by qengine, for tests of errors and of results that no other software gives."""

import numpy as np
import onnx
from onnx import helper

import qengine


def run(operator, inputs, attributes=None, *, version, outputs=1, domain="", fed=True):
    """Return the outputs of a node; None is an input that is left out.

    `fed` says whether the inputs are fed, or all constants but the first.
    """
    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    given = {name: a for name, a in zip(names, inputs, strict=True) if name}
    feeds = {name: a for name, a in given.items() if fed or name == "x0"}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in feeds.items()
    ]
    results = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(operator, names, results, name="node", domain=domain, **(attributes or {}))],
        "one",
        infos,
        [onnx.ValueInfoProto(name=name) for name in results],
        [onnx.numpy_helper.from_array(a, name) for name, a in given.items() if name not in feeds],
    )
    opsets = [helper.make_opsetid(domain, version)]
    if domain:
        opsets.append(helper.make_opsetid("", 23))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return qengine.InferenceSession(model.SerializeToString()).run(None, feeds)


def scalar(value, dtype=np.int64):
    """Return an array without axes."""
    return np.array(value, dtype)
