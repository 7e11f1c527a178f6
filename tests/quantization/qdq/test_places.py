"""Tensors that are read in several ways, and graphs inside of nodes: written, and read back with the same bits."""

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import network
from onnx import helper, numpy_helper

import qengine
from qengine.errors import UnsupportedError
from qengine.quantization.qdq import quantized_model

RNG = np.random.default_rng(11)
BOUNDS = {"low": -0.3, "high": 0.4}
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1])


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


MODELS = {
    "a clip of an input": network([("Clip", "x low high", "y")], constants=BOUNDS),
    "a clip of rounded numbers": network(
        [("MaxPool", "x", "p", {"kernel_shape": [2, 2]}), ("Clip", "p low high", "c"), ("Conv", "c w", "y")],
        constants={**BOUNDS, "w": numbers(2, 3, 1, 1)},
    ),
    "a fill": network([("Pad", "x pads fill", "y")], constants={"pads": PADS, "fill": 0.3}),
    "a fill that is a factor too": network(
        [("Pad", "x pads fill", "p"), ("Mul", "p fill", "y")], constants={"pads": PADS, "fill": 0.3}
    ),
    "a bound of a function that is spelled": network(
        [("Add", "x three", "a"), ("Clip", "a zero six", "c"), ("Div", "c six", "s"), ("Mul", "s x", "y")],
        constants={"three": 3.0, "zero": 0.0, "six": 6.0},
    ),
    "scales that are factors too": network(
        [("Resize", "x - s", "r", {"mode": "nearest"}), ("Mul", "z s", "y")],
        inputs={"x": [1, 3, 6, 6], "z": [2, 4]},
        outputs=["r", "y"],
        constants={"s": np.array([1, 1, 1.3, 1.3], np.float32)},
    ),
    "a slope that is a factor too": network(
        [("PRelu", "x s", "p"), ("Mul", "p s", "y")], constants={"s": np.array([0.3], np.float32)}
    ),
    "an exponent that is a factor too": network([("Pow", "x two", "p"), ("Mul", "p two", "y")], constants={"two": 2.0}),
    "a bias that is a factor too": network(
        [("Conv", "x w b", "c"), ("Mul", "z b", "y")],
        inputs={"x": [1, 3, 6, 6], "z": [2, 4]},
        outputs=["c", "y"],
        constants={"w": numbers(4, 3, 1, 1), "b": numbers(4)},
    ),
    "weights that are an output": network(
        [("Conv", "x w", "y")], outputs=["w", "y"], constants={"w": numbers(4, 3, 1, 1)}
    ),
    "an input that is an output": network([("Relu", "x", "y")], outputs=["x", "y"]),
    "a bias that is an output": network(
        [("Conv", "x w b", "y")], outputs=["b", "y"], constants={"w": numbers(4, 3, 1, 1), "b": numbers(4)}
    ),
    "scales that are an output, read rounded and not": network(
        [("Mul", "z s", "y"), ("Resize", "x - s", "r", {"mode": "nearest"})],
        inputs={"x": [1, 3, 6, 6], "z": [2, 4]},
        outputs=["s", "r", "y"],
        constants={"s": np.array([1, 1, 1.3, 1.3], np.float32)},
    ),
    "a constant that is the only output": network(
        [("Relu", "x", "r")], outputs=["w"], constants={"w": numbers(4)}, values={"w": [4]}
    ),
    "weights that are a bias and data": network(
        [("Conv", "x w b", "c"), ("MatMul", "z w2", "m"), ("Add", "m b", "n"), ("Gemm", "n w2 b", "y")],
        inputs={"x": [1, 3, 6, 6], "z": [2, 4]},
        outputs=["c", "y"],
        constants={"w": numbers(4, 3, 1, 1), "b": numbers(4), "w2": numbers(4, 4)},
    ),
    "a slope that is an output": network(
        [("PRelu", "z s", "y")], inputs={"z": [2, 4]}, outputs=["y", "s"], constants={"s": np.array([0.3], np.float32)}
    ),
    "one initializer as weights and as bias": network(
        [("MatMul", "z w", "m"), ("Gemm", "m v w", "y")],
        inputs={"z": [4, 4]},
        constants={"w": numbers(4, 4), "v": numbers(4, 4)},
    ),
    "weights, data and a bias at once": network(
        [("MatMul", "z w", "m"), ("Add", "m w", "a"), ("Gemm", "a w w", "y")],
        inputs={"z": [4, 4]},
        outputs=["m", "y"],
        constants={"w": numbers(4, 4)},
    ),
    "one weight per channel on two axes": network(
        [("MatMul", "z w", "m"), ("Gemm", "m w", "y", {"transB": 1})],
        inputs={"z": [4, 4]},
        constants={"w": numbers(4, 4)},
    ),
    "a batchnorm of a matrix": network(
        [("BatchNormalization", "x g b m g", "y")],
        inputs={"x": [5, 3]},
        constants={"g": [1.0, 2.0, 3.0], "b": [0.5, -0.2, 0.1], "m": [0.1, 0.2, 0.3]},
    ),
    "a computed bound": network(
        [("Abs", "z", "a"), ("ReduceMax", "a", "m", {"keepdims": 0}), ("Clip", "x - m", "y")],
        inputs={"x": [1, 3, 6, 6], "z": [2, 4]},
    ),
    "a bound that is fed": network([("Clip", "x low", "y")], inputs={"x": [2, 3], "low": []}),
    "a sequence": network(
        [
            ("SplitToSequence", "x", "s", {"axis": 1}),
            ("ConcatFromSequence", "s", "c", {"axis": 1}),
            ("Conv", "c w", "y"),
        ],
        constants={"w": numbers(2, 3, 1, 1)},
    ),
}


def fed(session):
    """Multiples of 1/8: where there are ties, they are ties in float32 too."""
    return {v.name: np.asarray(np.round(8 * numbers(*v.shape)) / np.float32(8)) for v in session.get_inputs()}


def check_comes_back(model, qformat, feeds, *, as_onnxruntime=True, **options):
    session = qengine.InferenceSession(model, qformat=qformat, per_channel=True, isa="reference", **options)
    written = quantized_model(session)
    onnx.checker.check_model(written, full_check=True)
    back = qengine.InferenceSession(written, isa="reference")
    assert back.notes == ()
    assert session.rounded <= back.formats.keys()
    assert all(form == back.formats[name] for name, form in session.formats.items() if name in back.formats)
    expected = session.run(None, feeds)
    for theirs, ours in zip(expected, back.run(None, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    if as_onnxruntime:
        other = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
        for theirs, ours in zip(expected, other.run(None, feeds), strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
    return session, written


@pytest.mark.parametrize("qformat", ["Q3.4", "Q5.10"])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_read_in_several_ways(name, qformat):
    feeds = fed(qengine.InferenceSession(MODELS[name], isa="reference"))
    # Its nearest pixel is decided in float32, and the slope times a number is rounded there before it is here.
    check_comes_back(
        MODELS[name], qformat, feeds, as_onnxruntime=not name.startswith(("scales", "a slope")) and qformat == "Q3.4"
    )


def test_a_constant_that_is_one_number_keeps_its_name():
    session = qengine.InferenceSession(MODELS["a bias that is a factor too"], qformat="Q3.4")
    assert qengine.InferenceSession(quantized_model(session)).formats["b"] == session.formats["b"]


def inner(nodes, outputs, inputs=(), constants=()):
    return helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if node[3:] else {})) for node in nodes],
        "inner",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )


def outer(node, inputs, answer, constants=()):
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["r"]), node],
        "outer",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info("y", 1, answer)],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9).SerializeToString()


def branches():
    """Weights from around, and its own of one name; a BatchNormalization; a tensor from around as the answer."""
    statistics = [(name, np.abs(numbers(3)) + np.float32(0.5)) for name in ("g", "m", "v")]
    then = inner(
        [
            ("Conv", ["r", "w", "b"], ["c"]),
            ("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
            ("Relu", ["n"], ["t"]),
            ("Conv", ["t", "k"], ["u"]),
        ],
        ["u"],
        constants=[("k", numbers(3, 3, 1, 1))],
    )
    other = inner(
        [
            ("Conv", ["r", "k"], ["c"]),
            ("ReduceMax", ["c"], ["most"], {"keepdims": 0}),
            ("Greater", ["most", "zero"], ["g2"]),
            ("If", ["g2"], ["d"], {"then_branch": inner([], ["r"]), "else_branch": inner([], ["c"])}),
            ("Add", ["d", "b3"], ["u"]),
        ],
        ["u"],
        constants=[("k", numbers(3, 3, 1, 1)), ("zero", np.float32(0)), ("b3", numbers(3, 1, 1))],
    )
    node = helper.make_node("If", ["c0"], ["y"], then_branch=then, else_branch=other)
    constants = [("w", numbers(3, 3, 1, 1)), ("b", numbers(3)), *statistics]
    return outer(node, [("x", 1, [1, 3, 4, 4]), ("c0", 9, [])], [1, 3, 4, 4], constants)


@pytest.mark.parametrize("qformat", ["Q3.4", "Q5.10"])
@pytest.mark.parametrize("condition", [True, False])
def test_branches_have_pairs_of_their_own(qformat, condition):
    feeds = {"x": numbers(1, 3, 4, 4), "c0": np.asarray(condition)}
    formats = {"w": "Q1.6", "u": "Q2.5" if qformat == "Q3.4" else "Q4.11"}
    _, written = check_comes_back(branches(), qformat, feeds, as_onnxruntime=qformat == "Q3.4", formats=formats)
    (found,) = (node for node in written.graph.node if node.op_type == "If")
    assert all("QuantizeLinear" in {node.op_type for node in one.g.node} for one in found.attribute)


def test_an_output_of_any_rank():
    graph = outer(helper.make_node("Reshape", ["r", "s"], ["y"]), [("x", 1, [2, 3]), ("s", 7, ["k"])], None)
    session = qengine.InferenceSession(graph, qformat="Q3.4")
    back = qengine.InferenceSession(quantized_model(session))
    feeds = {"x": numbers(2, 3), "s": np.array([3, 2, 1])}
    np.testing.assert_array_equal(back.run(None, feeds)[0], session.run(None, feeds)[0], strict=True)


@pytest.mark.parametrize("qformat", ["Q3.4", "Q5.10"])
def test_a_loop_has_pairs_of_its_own(qformat):
    body = inner(
        [
            ("Mul", ["s", "half"], ["a"]),
            ("Add", ["a", "r"], ["next"]),
            ("Identity", ["goes"], ["on"]),
        ],
        ["on", "next", "s"],
        inputs=[("i", 7, []), ("goes", 9, []), ("s", 1, [2, 3])],
    )
    graph = outer(
        helper.make_node("Loop", ["n", "", "x"], ["last", "y"], body=body),
        [("x", 1, [2, 3])],
        ["n", 2, 3],
        [("half", np.float32(0.55)), ("n", np.int64(3))],
    )
    formats = {"s": "Q1.6" if qformat == "Q3.4" else "Q1.14", "next": "Q2.5" if qformat == "Q3.4" else "Q2.13"}
    check_comes_back(graph, qformat, {"x": numbers(2, 3)}, as_onnxruntime=qformat == "Q3.4", formats=formats)


BODIES = {
    "a chain": [("Softplus", ["s"], ["soft"]), ("Tanh", ["soft"], ["bent"]), ("Neg", ["bent"], ["next"])],
    "a sequence": [
        ("SplitToSequence", ["s"], ["q"]),
        ("ConcatFromSequence", ["q"], ["c"], {"axis": 0}),
        ("Neg", ["s"], ["bent"]),
        ("Add", ["c", "bent"], ["next"]),
    ],
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_types_inside_is_written_as_it_runs(name):
    """The writer infers the types, but passes may not: they would make one table of a chain that a run rounds twice."""
    body = inner(
        [*BODIES[name], ("Identity", ["goes"], ["on"])],
        ["on", "next", "bent"],
        inputs=[("i", 7, []), ("goes", 9, []), ("s", 1, [2, 3])],
    )
    graph = outer(
        helper.make_node("Loop", ["n", "", "x"], ["last", "y"], body=body),
        [("x", 1, [2, 3])],
        ["n", 2, 3],
        [("n", np.int64(2))],
    )
    check_comes_back(graph, "Q3.4", {"x": numbers(2, 3)}, as_onnxruntime=False)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            network([("Relu", "x", "y")], inputs={"x": (np.float64, [2])}, values={"y": (np.float64, [2])}),
            "'x' is float64, and a quantized model rounds float32: convert",
        ),
    ],
    ids=["float64"],
)
def test_what_cannot_be_written_is_refused(model, reason):
    with pytest.raises(UnsupportedError, match=reason):
        quantized_model(qengine.InferenceSession(model, qformat="Q3.4"))
