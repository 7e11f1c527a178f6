"""Every operator of ONNX has a handler or an evaluator at every opset, or is refused by name."""

import onnx
import pytest
from onnx import TensorProto, helper

import qengine
from qengine.model.contrib import expansions
from qengine.model.eager.single_node import is_computable
from qengine.model.graph import RUNS_GRAPHS, Node
from qengine.model.ops.operator import find

REFUSED = {
    ("ai.onnx.preview.training", "Gradient"): "it has no definition without the graph that it differentiates",
}
OLDEST = 7
"""Oldest opset of ONNX's own domain that a session runs; the loader rewrites models of older ones."""

DEFINED = [
    (one.domain, one.name, version)
    for one in onnx.defs.get_all_schemas_with_history()
    for version in {max(one.since_version, OLDEST if not one.domain else 1)}
    if not one.deprecated and onnx.defs.get_schema(one.name, version, one.domain).since_version == one.since_version
]


@pytest.mark.parametrize(("domain", "name", "version"), DEFINED, ids=lambda part: str(part) or "onnx")
def test_something_computes_every_operator(domain, name, version):
    node = Node(name, (), (), domain=domain, version=version)
    is_run = name in RUNS_GRAPHS or name == "Constant"  # the sections run the first, the loader reads the second
    has_handler = not find(node).is_delegated or (domain, name) in expansions()
    assert (is_run or has_handler or is_computable(node)) == ((domain, name) not in REFUSED)


@pytest.mark.parametrize(("domain", "name"), REFUSED)
def test_what_is_refused_is_named_before_the_run(domain, name):
    node = helper.make_node(name, ["x"], ["y"], domain=domain, xs=["x"], y="x")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    graph = helper.make_graph([node], "g", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    with pytest.raises(qengine.QEngineError, match=name):
        qengine.InferenceSession(helper.make_model(graph, opset_imports=opsets, ir_version=9))
