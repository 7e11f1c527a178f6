"""Graphs at a newer opset: the same bits for every reference case, and ONNX's own definitions for all operators."""

import importlib
import pkgutil
from functools import cache

import numpy as np
import onnx
import pytest
from model.ops import __path__ as ops_path
from networks import network, onnxruntime_session

import qengine
from qengine.errors import UnsupportedError
from qengine.model.graph import Node
from qengine.model.loader import load
from qengine.model.opset_conversion import at_opset, declared_rules
from qengine.model.opset_conversion.conversion import Conversion
from qengine.model.protos import model_proto
from qengine.model.schemas import schema

X = np.random.default_rng(3).standard_normal((2, 3, 4, 5)).astype(np.float32)


def free(graph):
    taken = graph.tensors()

    def fresh(wanted):
        while wanted in taken:
            wanted += "_"
        taken.add(wanted)
        return wanted

    return fresh


def converted(graph, version):
    return at_opset(graph, version, free(graph))


@cache
def reference_cases():
    modules = [one.name for one in pkgutil.iter_modules(ops_path) if one.name.startswith("test_")]
    cases = [getattr(importlib.import_module(f"model.ops.{name}"), "CASES", []) for name in modules]
    return [case for each in cases for case in each if not case.domain and case.operator in declared_rules()]


def test_reference_cases_keep_their_bits():
    wrong, count = [], 0
    for case in reference_cases():
        if case.attributes.get("spatial") == 0:  # refused: newer opsets have no such BatchNormalization
            continue
        for old in (one for one in case.versions() if one < 21):
            count += 1
            version = 13 if old < 13 and count % 2 else 21
            model, feeds = case.model(old, constant=bool(old % 2))
            graph = load(model)
            expected = qengine.InferenceSession(graph, isa="reference").run(None, feeds)
            found = qengine.InferenceSession(converted(graph, version), isa="reference").run(None, feeds)
            for ours, theirs in zip(found, expected, strict=True):
                if ours.dtype != theirs.dtype or not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
                    wrong.append(f"{case.operator} {case.attributes} {old}")
    assert count > 200
    assert not wrong, "\n".join(wrong)


# Operators that no handler serves, and what the cases of handlers do not have.
NODES = {
    "Hardmax": ([("Hardmax", "x", "y", {"axis": 2})], {}, 11),
    "Softmax of no rank": ([("Softmax", "x", "y", {"axis": -2})], {}, 11),
    "Scatter": ([("Scatter", "x i u", "y", {"axis": 3})], {"i": np.full((2, 3, 4, 1), 2), "u": X[..., :1] + 1}, 9),
    "GroupNormalization": (
        [("GroupNormalization", "x s b", "y", {"num_groups": 2})],
        {"s": np.float32([0.5, 2]), "b": np.float32([1, -1])},
        18,
    ),
    "ReduceL2": ([("ReduceL2", "x", "y", {"axes": [1, 3], "keepdims": 0})], {}, 13),
    "ReduceProd of all": ([("ReduceProd", "x", "y")], {}, 13),
    "Upsample by both": (
        [("Upsample", "x s", "y", {"mode": "nearest"})],
        {"s": np.float32([1, 1, 2, 1.5])},
        9,
    ),
    "Resize up and down": ([("Resize", "x s", "y")], {"s": np.float32([1, 2, 1.7, 0.6])}, 10),
    "RoiAlign": (
        [("RoiAlign", "x r n", "y", {"output_height": 2, "output_width": 3})],
        {"r": np.float32([[0, 0, 3, 2], [1, 1, 3.5, 3]]), "n": np.array([0, 1])},
        10,
    ),
    "TopK": ([("TopK", "x", "y i", {"k": 2, "axis": 1})], {}, 9),
    "DFT": ([("DFT", "x", "y", {"axis": 2})], {}, 17),
}


@pytest.mark.parametrize("name", NODES)
def test_nodes_keep_their_meaning(name):
    """The converted graph gives what ONNX Runtime makes of the old one, here and there."""
    nodes, constants, opset = NODES[name]
    x = X[..., :1] if name == "DFT" else np.repeat(X, 2, 1)[:, :4] if name == "GroupNormalization" else X
    inputs = {"x": ["n", "c", "h", "w"][: x.ndim - 1] + ([1] if name == "DFT" else ["w"])}
    model = network(nodes, inputs=inputs, constants=constants, opset=opset)
    graph = load(model)
    expected = onnxruntime_session(model).run(None, {"x": x})
    new = converted(graph, 21)
    assert {node.version for node in new.nodes} == {21}
    found = qengine.InferenceSession(new).run(None, {"x": x})
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    model = model_proto(new, {"": 21})
    model.graph.output[0].type.tensor_type.elem_type = 1
    theirs = onnxruntime_session(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(theirs[0], expected[0], rtol=1e-5, atol=1e-5)


def test_resize_with_computed_scales():
    """Whether an axis grows is known in a run only."""
    model = network([("Resize", "x s", "y")], inputs={"x": list(X.shape), "s": [4]}, opset=10)
    graph = load(model)
    session, other = qengine.InferenceSession(graph), qengine.InferenceSession(converted(graph, 13))
    for scales in ([1, 1, 2, 3], [1, 1, 0.5, 0.4], [1, 1, 0.6, 2.5]):
        feeds = {"x": X, "s": np.float32(scales)}
        np.testing.assert_array_equal(other.run(None, feeds)[0], session.run(None, feeds)[0], strict=True)


@pytest.mark.parametrize("target", [7, 13, 21])
def test_every_operator_has_an_equal_or_a_rule(target):
    """Attributes and inputs of every older definition exist at the newer opset, or there is a rule."""
    missing, oldest = [], 1 if target == 7 else 7
    for operator in sorted({one.name for one in onnx.defs.get_all_schemas() if not one.domain}):
        for version in range(oldest, target):
            old, new = schema(operator, version, ""), schema(operator, target, "")
            if (
                old is None
                or old.deprecated
                or old.since_version == new.since_version
                or any(version < to <= target for to, _ in declared_rules().get(operator, ()))
            ):
                continue
            gone = new is None or new.deprecated or set(old.attributes) - set(new.attributes)
            inputs = [] if gone else [one.name for one in new.inputs][: len(old.inputs)]
            same = inputs == [one.name for one in old.inputs] or operator == "BatchNormalization"  # only renamed
            if gone or not same:
                missing.append(f"{operator}-{version}")
    assert missing == []


@pytest.mark.parametrize(
    ("nodes", "opset", "reason"),
    [
        ([("BatchNormalization", "x s s s s", "y", {"spatial": 0})], 7, "spatial=0"),
        ([("BatchNormalization", "x s s s s", "y m v")], 9, "it trains"),
        ([("Dropout", "x", "y m")], 7, "its mask has another type"),
        ([("Relu", "x", "y", {"axes": [1]})], 11, r"its attribute 'axes' is gone"),
    ],
)
def test_what_has_no_equal_is_refused(nodes, opset, reason):
    operator, inputs, outputs, *rest = nodes[0]
    node = Node(operator, tuple(inputs.split()), tuple(outputs.split()), *rest, name="it", version=opset)
    graph = load(network([("Relu", "x", "y")]))
    with pytest.raises(UnsupportedError, match=reason):
        at_opset(type(graph)("g", (), (), (node,), {}), 21, lambda name: name)


def test_a_changed_default_is_written_out():
    node = Node("GridSample", ("x", "g"), ("y",), version=16)
    graph = type(load(network([("Relu", "x", "y")])))("g", (), (), (node,), {})
    (found,) = at_opset(graph, 21, lambda name: name).nodes
    assert found.attributes["mode"] == "linear"
    assert Conversion(graph, str, lambda one: one.values).dtype("x") == np.float32
