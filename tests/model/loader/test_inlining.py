from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from qengine.errors import UnsupportedError
from qengine.model.loader import load

from .models import branch, call, calling, function, info, leaky, listing, model, node, opset, reference, refused


def test_functions_are_inlined_under_the_names_of_the_model():
    nodes = [call("Leaky", ["x"], ["t"], slope=0.5, name="first"), call("Leaky", ["t"], ["y"], slope=0.25)]
    proto = calling(nodes, [leaky(attributes=["slope"])])
    before = proto.SerializeToString()
    assert listing(proto) == [
        ("LeakyRelu", ("x",), ("t__1",), {"alpha": 0.5}),
        ("Add", ("t__1", "x"), ("t",), {}),
        ("LeakyRelu", ("t",), ("t__2",), {"alpha": 0.25}),
        ("Add", ("t__2", "t"), ("y",), {}),
    ]
    assert [one.name for one in load(proto).nodes] == ["first/inner", "first", "inner", ""]
    assert proto.SerializeToString() == before
    assert load(proto).values["t"].shape == (2,)


def test_an_attribute_that_a_call_leaves_out():
    assert listing(calling([call("Leaky", ["x"], ["y"])], [leaky(defaults={"slope": 0.25})]))[0][3] == {"alpha": 0.25}
    assert listing(calling([call("Leaky", ["x"], ["y"])], [leaky(attributes=["slope"])]))[0][3] == {}


def test_functions_in_functions_hand_attributes_on():
    def outer(**kwargs):
        body = [reference(call("Leaky", ["X"], ["Y"]), "slope", "s")]
        return [function("Outer", ["X"], ["Y"], body, **kwargs), leaky(defaults={"slope": 0.125})]

    given = calling([call("Outer", ["x"], ["y"], s=0.5)], outer(attributes=["s"]))
    assert listing(given)[0][3] == {"alpha": 0.5}
    default = calling([call("Outer", ["x"], ["y"])], outer(defaults={"s": 0.25}))
    assert listing(default)[0][3] == {"alpha": 0.25}
    neither = calling([call("Outer", ["x"], ["y"])], outer(attributes=["s"]))
    assert listing(neither)[0][3] == {"alpha": 0.125}


def test_functions_with_branches_in_branches():
    inside = reference(node("LeakyRelu", ["X"], ["o"]), "alpha", "slope")
    then = branch("then", [call("Twice", ["X"], ["d"]), inside, node("Add", ["o", "d"], ["p"])], "p")
    pick = function(
        "Pick", ["X", "C"], ["Y"], [node("If", ["C"], ["Y"], then_branch=then, else_branch=then)], ["slope"]
    )
    twice = function("Twice", ["A"], ["B"], [node("Add", ["A", "A"], ["B"])])
    proto = calling(
        [call("Pick", ["x", "c"], ["o"], slope=0.5), call("Pick", ["o", "c"], ["y"], slope=0.25)],
        [pick, twice],
        inputs=[info("x"), info("c", (), TensorProto.BOOL)],
    )
    graph = load(proto)
    inner = graph.nodes[1].attributes["else_branch"]
    assert [one.operator for one in inner.nodes] == ["Add", "LeakyRelu", "Add"]
    assert inner.nodes[0].inputs == ("o", "o")
    assert inner.nodes[1].inputs == ("o",)
    assert inner.nodes[1].attributes == {"alpha": 0.25}
    assert inner.outputs[0].name == inner.nodes[2].outputs[0]


def test_a_graph_that_a_call_gives_keeps_the_names_of_the_caller():
    pick = node("If", ["C"], ["Y"], else_branch=branch("else", [node("Abs", ["X"], ["e"])], "e"))
    reference(pick, "then_branch", "body", onnx.AttributeProto.GRAPH)
    proto = calling(
        [
            node("Neg", ["x"], ["X"]),
            call("Pick", ["x", "c"], ["y"], body=branch("then", [node("Abs", ["X"], ["t"])], "t")),
        ],
        [function("Pick", ["X", "C"], ["Y"], [pick], ["body"])],
        inputs=[info("x"), info("c", (), TensorProto.BOOL)],
    )
    attributes = load(proto).nodes[1].attributes
    assert attributes["then_branch"].nodes[0].inputs == ("X",)
    assert attributes["else_branch"].nodes[0].inputs == ("x",)


def test_functions_compute_what_they_do_in_onnxruntime():
    runtime = pytest.importorskip("onnxruntime")
    nodes = [call("Leaky", ["x"], ["t"], slope=0.5), call("Leaky", ["t"], ["y"])]
    proto = calling(nodes, [leaky(defaults={"slope": 0.25})])
    flat = model([node(n.operator, n.inputs, n.outputs, **n.attributes) for n in load(proto).nodes])
    expected, found = (
        runtime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": np.array([-3, 2], np.float32)}
        )
        for one in (proto, flat)
    )
    np.testing.assert_array_equal(found, expected)


def test_optional_parameters_of_functions():
    body = [node("Clip", ["X", "", "B"], ["Y"]), node("Relu", ["X"], ["Z"])]
    proto = calling([call("Two", ["x"], ["", "y"])], [function("Two", ["X", "B"], ["Y", "Z"], body)])
    assert [one[1:3] for one in listing(proto)] == [(("x", "", ""), ("Y",)), (("x",), ("y",))]


def test_a_function_that_passes_an_input_on():
    proto = calling([call("Same", ["x"], ["y"])], [function("Same", ["X"], ["X"], [node("Relu", ["X"], ["u"])])])
    assert [one[:3] for one in listing(proto)] == [("Relu", ("x",), ("u",)), ("Identity", ("x",), ("y",))]


def test_overloads_of_a_function():
    functions = [
        function("G", ["X"], ["Y"], [node(operator, ["X"], ["Y"])], overload=operator) for operator in ("Relu", "Abs")
    ]
    proto = calling([call("G", ["x"], ["a"], overload="Abs"), call("G", ["a"], ["y"], overload="Relu")], functions)
    assert [one[0] for one in listing(proto)] == ["Abs", "Relu"]


def test_domains_that_only_a_function_imports():
    made = function("G", ["X"], ["Y"], [node("Magic", ["X"], ["Y"], domain="z")])
    made.opset_import.append(opset("z", 4))
    assert load(calling([call("G", ["x"], ["y"])], [made])).nodes[0].version == 4


def test_functions_that_are_not_sound():
    one = [call("G", ["x"], ["y"], name="c")]

    def body(*nodes, **kwargs):
        return [function("G", ["X"], ["Y"], list(nodes), **kwargs)]

    fine = node("Relu", ["X"], ["Y"])
    load(calling(one, body(fine)))
    refused(calling(one, body(call("G", ["X"], ["Y"]))), "calls itself")
    refused(
        calling(one, [*body(call("H", ["X"], ["Y"])), function("H", ["X"], ["Y"], [call("G", ["X"], ["Y"])])]),
        "itself",
    )
    refused(calling(one, body(fine) * 2), "two local functions")
    refused(calling(one, body(node("Relu", ["x"], ["Y"]))), "'x'", "nothing produces")
    refused(calling(one, body(node("Relu", ["X"], ["Z"]))), "'G'", "output 'Y'")
    refused(calling(one, body(reference(node("Relu", ["X"], ["Y"]), "a", "b"))), "'G'", "'b'")
    refused(calling([call("G", ["x", "x"], ["y"], name="c")], body(fine)), "node 'c' (f.G)", "more inputs")
    refused(calling([call("G", ["x"], ["y", "z"], name="c")], body(fine)), "node 'c' (f.G)", "outputs")
    refused(calling([call("G", ["x"], ["y"], name="c", a=1)], body(fine)), "node 'c' (f.G)", "attributes")
    refused(calling(one, body(fine, version=11)), "'G'", "opset 11", "17", error=UnsupportedError)


def test_functions_that_explode_or_are_too_deep(monkeypatch):
    def chain(length, calls):
        links = []
        for i in range(length):
            names = ["X", *(f"t{k}" for k in range(calls - 1)), "Y"]
            links.append(function(f"G{i}", ["X"], ["Y"], [call(f"G{i + 1}", [a], [b]) for a, b in pairwise(names)]))
        return [*links, function(f"G{length}", ["X"], ["Y"], [node("Relu", ["X"], ["Y"])])]

    load(calling([call("G0", ["x"], ["y"])], chain(3, 2)))
    monkeypatch.setattr("qengine.model.loader.inlining._MAX_NODES", 2000)
    refused(calling([call("G0", ["x"], ["y"])], chain(40, 2)), "inlined")
    assert [one.operator for one in load(calling([call("G0", ["x"], ["y"])], chain(60, 1))).nodes] == ["Relu"]
    refused(calling([call("G0", ["x"], ["y"])], chain(2000, 1)), "more than 64 deep")
