"""One node: a model of it or the node itself, its results, and the comparison of tensors, sequences and maps."""

import numpy as np
import onnx
import pytest
from model.ops.cases import by_onnxruntime
from onnx import TensorProto, helper, numpy_helper

import qengine
from qengine.model.eager.single_node import compute
from qengine.model.graph import Node

ML = "ai.onnx.ml"


def model(operator, inputs=(), outputs=1, opset=20, domain="", types=None, fed=True, **attributes):
    """Return a model of one node, and its feeds; an input of None is left out.

    `types` gives the TypeProto of an input that its value does not; `fed` says whether the inputs are fed, or all
    constants but the first.
    """
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    given = {name: x for name, x in zip(names, inputs, strict=True) if name}
    feeds = {name: x for name, x in given.items() if fed or name == "x0"}
    attributes = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in attributes.items()}
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, names, results, name="node", domain=domain, **attributes)
    infos = [helper.make_value_info(name, (types or {}).get(name) or type_of(x)) for name, x in feeds.items()]
    constants = [numpy_helper.from_array(x, name) for name, x in given.items() if name not in feeds]
    graph = helper.make_graph([node], "node", infos, [onnx.ValueInfoProto(name=name) for name in results], constants)
    opsets = [helper.make_opsetid(domain, opset)] + [helper.make_opsetid("", 20)] * bool(domain)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(), feeds


def type_of(value):
    """Return the TypeProto of an array, or of a list of them; lengths are left open."""
    if isinstance(value, list):
        return helper.make_sequence_type_proto(type_of(value[0]))
    code = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_type_proto(code, [None] * value.ndim)


def map_type(key, value):
    """Return the TypeProto of a map."""
    return helper.make_map_type_proto(key, helper.make_tensor_type_proto(value, []))


def run(operator, inputs=(), outputs=1, **more):
    """Return what qengine computes."""
    built, feeds = model(operator, inputs, outputs, **more)
    return qengine.InferenceSession(built).run(None, feeds)


def check(operator, inputs=(), outputs=1, *, rtol=1e-5, **more):
    """Compare with ONNX Runtime."""
    built, feeds = model(operator, inputs, outputs, **more)
    theirs = by_onnxruntime(built, feeds)
    assert theirs is not None, "ONNX Runtime has no kernel"
    same(qengine.InferenceSession(built).run(None, feeds), theirs, rtol)


def same(ours, theirs, rtol=1e-5):
    """Compare arrays, lists and dicts."""
    if isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, rtol)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose([ours[key] for key in theirs], list(theirs.values()), rtol, 1e-6)
    elif theirs.dtype.kind == "f":
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol, 1e-6)
    else:
        np.testing.assert_array_equal(ours, theirs, strict=True)


def text(*words):
    """Return a vector of text."""
    return np.array(words, object)


def sequence_type(code=TensorProto.FLOAT):
    """Return the TypeProto of a sequence of tensors."""
    return helper.make_sequence_type_proto(helper.make_tensor_type_proto(code, None))


def scalar(value, dtype=np.int64):
    """Return an array without axes."""
    return np.array(value, dtype)


def alone(operator, inputs, attributes=None, version=17, outputs=1):
    """Return the outputs of a node that is computed without a model, which onnx would check before."""
    names = tuple("" if x is None else f"x{i}" for i, x in enumerate(inputs))
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in (attributes or {}).items()}
    node = Node(operator, names, tuple(f"y{i}" for i in range(outputs)), listed, "node", "", version)
    return compute(node, list(inputs), {})


def refused(error, reason, *node, **more):
    """Check that a node ends in an error of one line that names it."""
    with pytest.raises(error, match=rf"^node 'node' \(\w+\): .*{reason}"):
        alone(*node, **more)
