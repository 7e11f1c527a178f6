"""If whose condition is known when a run is planned: its branch is a part of the plan."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from random_graphs import random_program

from qengine import InferenceSession
from qengine.analysis.report import compare
from qengine.model.ops.operator import NeedsRun
from qengine.quantization.calibration import choose_formats, observe

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def branch(name, *nodes, constants=(), output="z"):
    made = [helper.make_node(kind, inputs.split(), outputs.split(), **(rest[0] if rest else {}))
            for kind, inputs, outputs, *rest in nodes]  # fmt: skip
    values = [numpy_helper.from_array(np.asarray(array), key) for key, array in constants]
    return helper.make_graph(made, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], values)


def model(nodes, then, other, *, more_inputs=(), condition="condition"):
    graph = helper.make_graph(
        [
            *(helper.make_node(kind, inputs.split(), outputs.split(), **rest) for kind, inputs, outputs, rest in nodes),
            helper.make_node("If", [condition], ["y"], then_branch=then, else_branch=other),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "M"]), *more_inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([2]), "two"), numpy_helper.from_array(np.float32([[3.0]]), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


BY_SHAPE = [("Shape", "x", "shape", {"start": 0, "end": 1}), ("Equal", "shape two", "condition", {})]
DOUBLED = branch("then", ("Add", "x x", "z"))
SCALED = branch("else", ("Mul", "x w", "t"), ("Add", "t c", "z"), constants=[("c", np.float32([0.5]))])


def planned(session, feeds):
    plan = session.plan(session.check_feeds(feeds))
    return [bound_step.node.operator for bound_step in plan.steps]


def test_the_shape_decides():
    session = InferenceSession(model(BY_SHAPE, DOUBLED, SCALED))
    assert planned(session, {"x": X}) == ["Add", "Identity"]
    assert planned(session, {"x": X[:1]}) == ["Mul", "Add", "Identity"]
    np.testing.assert_allclose(session.run(None, {"x": X})[0], X + X)
    np.testing.assert_allclose(session.run(None, {"x": X[:1]})[0], X[:1] * 3 + np.float32(0.5), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "kind"), [(np.int64, TensorProto.INT64), (bool, TensorProto.BOOL)])
def test_a_single_integer_or_boolean_decides(dtype, kind):
    rate = helper.make_tensor_value_info("rate", kind, [])
    nodes = [("Cast", "rate", "condition", {"to": TensorProto.BOOL})]
    session = InferenceSession(model(nodes, DOUBLED, SCALED, more_inputs=[rate]))
    for value in (1, 0, 1):
        (y,) = session.run(None, {"x": X, "rate": np.array(value, dtype)})
        np.testing.assert_allclose(y, X + X if value else X * 3 + np.float32(0.5), rtol=1e-6)
    assert planned(session, {"x": X, "rate": np.array(1, dtype)}) == ["Add", "Identity"]


def test_data_decides_in_a_run_only():
    nodes = [("ReduceSum", "x", "s", {"keepdims": 0}), ("Greater", "s zero", "condition", {})]
    proto = onnx.load_from_string(model(nodes, DOUBLED, SCALED))
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    session = InferenceSession(proto)
    with pytest.raises(NeedsRun):
        session.plan({"x": X})
    for x in (np.abs(X), -np.abs(X)):
        (y,) = session.run(None, {"x": x})
        np.testing.assert_allclose(y, x + x if x.sum() > 0 else x * 3 + np.float32(0.5), rtol=1e-6)


def test_a_branch_inside_of_a_branch():
    inner = branch("inner", ("Neg", "t", "u"), output="u")
    inner_other = branch("inner else", ("Abs", "t", "v"), output="v")
    nested = helper.make_node("If", ["condition"], ["z"], then_branch=inner, else_branch=inner_other)
    outer = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["t"]), nested],
        "then",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    session = InferenceSession(model(BY_SHAPE, outer, DOUBLED))
    np.testing.assert_allclose(session.run(None, {"x": X})[0], -3 * X, rtol=1e-6)
    assert planned(session, {"x": X}) == ["Mul", "Neg", "Identity", "Identity"]


def test_a_branch_that_only_hands_on_what_is_around_it():
    same = branch("then", ("Identity", "x", "z"))
    session = InferenceSession(model(BY_SHAPE, same, DOUBLED))
    (y,) = session.run(None, {"x": X})
    np.testing.assert_array_equal(y, X)
    assert not np.shares_memory(y, X)


def test_a_branch_that_no_plan_holds_runs_by_itself():
    then = branch("then", ("NonZero", "x", "n"), ("Cast", "n", "z", {"to": TensorProto.FLOAT}))
    session = InferenceSession(model(BY_SHAPE, then, DOUBLED))
    with pytest.raises(NeedsRun):
        session.plan({"x": X})
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], np.nonzero(X))


def test_two_branches_may_have_the_same_names():
    again = helper.make_node("If", ["condition"], ["q"], then_branch=DOUBLED, else_branch=SCALED)
    proto = onnx.load_from_string(model(BY_SHAPE, DOUBLED, SCALED))
    proto.graph.node.append(again)
    proto.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, None))
    y, q = InferenceSession(proto).run(None, {"x": X})
    np.testing.assert_array_equal(y, q)
    np.testing.assert_array_equal(y, X + X)


@pytest.mark.parametrize("isa", ["reference", None])
def test_a_branch_that_gives_a_constant_is_counted_and_compared(isa):
    """Float32 knows it before a run, and has no step for it; fixed point computes it."""
    constant = branch("else", constants=[("z", np.float32([[0.5, -0.25, 0.75]]))])
    proto = onnx.load_from_string(model(BY_SHAPE, DOUBLED, constant))
    proto.graph.node.append(helper.make_node("Add", ["x", "y"], ["sum"]))
    proto.graph.output[0].name = "sum"
    given = proto.SerializeToString()
    formats = choose_formats(observe(given, [{"x": X[:1]}], isa=isa), bits=8).formats
    assert formats["y"] == "Q0.7"
    session = InferenceSession(given, formats=formats, isa=isa)
    found = compare(session, session.in_float32(), {"x": X[:1]})
    (one,) = [tensor for tensor in found.tensors if tensor.name == "y"]
    assert (one.elements, one.largest, one.sqnr_db) == (3, 96, np.inf)


@pytest.mark.parametrize("seed", [5423, 5927])
def test_formats_name_what_a_branch_inside_a_graph_gives(seed):
    program = random_program(seed)
    formats = choose_formats(observe(program.model, program.feeds), bits=8).formats
    session = InferenceSession(program.model, formats=formats)
    for feeds in program.feeds:
        session.run(None, feeds)
