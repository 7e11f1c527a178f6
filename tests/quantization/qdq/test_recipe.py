"""Models quantized as a whole: read back they give the codes of the session, at other shapes than the data's too."""

import numpy as np
import onnx
import pytest
from networks import network, onnxruntime_session, weights
from onnx import TensorProto, helper, numpy_helper

import qengine
from qengine.errors import FormatError, OptionError

RNG = np.random.default_rng(5)


def numbers(*shape):
    return np.round(RNG.standard_normal(shape) * 8).astype(np.float32) / np.float32(8)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants=(), opset=17, functions=()):
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        outputs,
        [a if isinstance(a, TensorProto) else numpy_helper.from_array(np.asarray(a), n) for n, a in constants],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("my", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def check(proto, feeds, *others, bits=8, in_onnxruntime=True, **options):
    """Quantize on feeds, and compare session, file and ONNX Runtime on these and other feeds."""
    found = qengine.quantize_model(proto, [feeds], bits=bits, **options)
    assert found.check == "read back: the same codes on one sample"
    back = qengine.InferenceSession(found.model.SerializeToString(), isa="reference")
    assert back.notes == ()
    for one in (feeds, *others):
        expected = found.session.run(None, one, raw=True)
        for ours, theirs in zip(back.run(None, one, raw=True), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
        if in_onnxruntime:
            other = onnxruntime_session(found.model.SerializeToString())
            for ours, theirs in zip(found.session.run(None, one), other.run(None, one), strict=True):
                step = max(2.0**-6, 0.03 * np.abs(ours.astype(float)).max(initial=0))
                assert np.abs(ours.astype(float) - theirs).max(initial=0) <= step
    return found


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("operator", "opset", "scales"),
    [
        ("Upsample", 7, (1, 1, 2, 2)),
        ("Upsample", 9, (1, 1, 2, 2)),
        ("Upsample", 9, (1, 1, 3, 1)),
        ("Resize", 10, (1, 1, 2, 2)),
        ("Resize", 10, (1, 1, 0.5, 0.5)),
        ("Resize", 10, (1, 1, 0.75, 2.5)),
    ],
)
def test_resize_before_opset_11(operator, opset, scales, mode, bits):
    scales = np.float32(scales)
    given = ({"scales": scales.tolist()}, "x") if opset == 7 else ({}, "x s")
    proto = network(
        [(operator, given[1], "y", {"mode": mode, **given[0]})],
        inputs={"x": [2, 3, 8, 8]},
        constants={} if opset == 7 else {"s": scales},
        opset=opset,
    )
    check(proto, {"x": numbers(2, 3, 8, 8)}, bits=bits, in_onnxruntime=mode == "nearest" or bits == 8)


@pytest.mark.parametrize(("operator", "opset"), [("Upsample", 9), ("Resize", 10)])
def test_resize_before_opset_11_by_scales_that_shapes_decide(operator, opset):
    nodes = [
        ("Shape", "x", "s"),
        ("Slice", "s", "d", {"starts": [2], "ends": [9], "axes": [0]}) if opset == 9 else ("Slice", "s two nine", "d"),
        ("Cast", "d", "f", {"to": 1}),
        ("Div", "size f", "r"),
        ("Concat", "ones r", "c", {"axis": 0}),
        (operator, "x c", "y", {"mode": "nearest"}),
    ]
    constants = {"size": np.float32([16, 24]), "ones": np.ones(2, np.float32)}
    constants |= {} if opset == 9 else {"two": np.array([2]), "nine": np.array([9])}
    proto = network(nodes, inputs={"x": [2, 3, "h", "w"]}, constants=constants, opset=opset)
    check(proto, {"x": numbers(2, 3, 8, 8)}, {"x": numbers(2, 3, 16, 12)})


SHAPE_DECIDED = {
    "x / sqrt(width)": [
        ("Shape", "x", "s"),
        ("Gather", "s last", "d"),
        ("Cast", "d", "f", {"to": 1}),
        ("Sqrt", "f", "q"),
        ("Div", "x q", "y"),
    ],
    "x / sqrt(length), and sqrt(length) again": [
        ("Shape", "x", "s"),
        ("Gather", "s one", "d"),
        ("Cast", "d", "f", {"to": 1}),
        ("Sqrt", "f", "q"),
        ("Div", "x q", "z"),
        ("Sqrt", "q", "r"),
        ("Mul", "r z", "y"),
    ],
    "positions that are added": [("Shape", "x", "s"), ("Expand", "p s", "e"), ("Add", "x e", "y")],
    "a table cut to length": [
        ("Shape", "x", "s"),
        ("Gather", "s one", "d"),
        ("Unsqueeze", "d zeros", "e"),
        ("Slice", "table zeros e ones", "q"),
        ("Add", "x q", "y"),
    ],
    "a bound": [
        ("Shape", "x", "s"),
        ("Gather", "s last", "d"),
        ("Cast", "d", "f", {"to": 1}),
        ("Log", "f", "q"),
        ("Clip", "x - q", "y"),
    ],
    "weights": [
        ("Shape", "x", "s"),
        ("Slice", "s twos threes", "d"),
        ("Expand", "column d", "w"),
        ("MatMul", "x w", "y"),
    ],
    "an output as well": [
        ("Shape", "x", "s"),
        ("Gather", "s last", "d"),
        ("Cast", "d", "f", {"to": 1}),
        ("Sqrt", "f", "q"),
        ("Div", "x q", "y"),
    ],
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", SHAPE_DECIDED)
def test_real_numbers_that_shapes_decide(name, bits):
    constants = {
        "last": np.int64(-1),
        "one": np.int64(1),
        "zeros": np.array([0]),
        "ones": np.array([1]),
        "twos": np.array([2]),
        "threes": np.array([3]),
        "p": numbers(1, 1, 8),
        "table": numbers(1, 16, 8),
        "column": weights(8, 1),
    }
    proto = network(
        SHAPE_DECIDED[name],
        inputs={"x": ["n", "length", 8]},
        outputs=["y", "q"] if name == "an output as well" else ["y"],
        constants=constants,
        values={"y": ["n", "length", 8]},
    )
    found = check(proto, {"x": numbers(2, 3, 8)}, {"x": numbers(1, 5, 8)}, bits=bits, in_onnxruntime=bits == 8)
    qengine.InferenceSession(found.model, strict=True)


@pytest.mark.parametrize("opset", [7, 11, 13, 17, 21])
@pytest.mark.parametrize("bits", [8, 16])
def test_local_functions(opset, bits):
    nodes = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["o"])]
    swish = helper.make_function("my", "Swish", ["a"], ["o"], nodes, [helper.make_opsetid("", opset)])
    proto = model(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Swish", ["c"], ["y"], domain="my")],
        [value("x", [1, 3, 8, 8])],
        [value("y", [1, 4, 6, 6])],
        [("w", weights(4, 3, 3, 3))],
        opset,
        [swish],
    )
    check(proto, {"x": numbers(1, 3, 8, 8)}, bits=bits)


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT16", "INT32", "FLOAT8E4M3FN"])
@pytest.mark.parametrize("is_output", [False, True])
def test_weights_behind_a_cast(kind, is_output):
    stored = helper.make_tensor("w", getattr(TensorProto, kind), [2, 3, 1, 1], [2, 1, 3, 0, 1, 5])
    proto = model(
        [helper.make_node("Cast", ["w"], ["f"], to=1), helper.make_node("Conv", ["x", "f"], ["y"])],
        [value("x", [1, 3, 4, 4])],
        [value("y", [1, 2, 4, 4]), *([value("f", [2, 3, 1, 1])] if is_output else [])],
        [("w", stored)],
        opset=19,
    )
    check(proto, {"x": numbers(1, 3, 4, 4)})


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Relu", {}),
        ("Identity", {}),
        ("Sigmoid", {}),
        ("Softmax", {"axis": 1}),
        ("Flatten", {}),
        ("MaxPool", {"kernel_shape": [2, 2]}),
        ("ArgMax", {}),
        ("NonZero", {}),
        ("Shape", {}),
        ("Cast", {"to": TensorProto.INT64}),
    ],
)
@pytest.mark.parametrize("opset", [9, 17])
def test_a_single_node(operator, attributes, opset):
    proto = network([(operator, "x", "y", attributes)], inputs={"x": [2, 3, 4, 4]}, opset=opset)
    check(proto, {"x": numbers(2, 3, 4, 4)})


def test_a_graph_without_nodes():
    found = check(model([], [value("x", [2])], [value("x", [2])]), {"x": numbers(2)})
    assert [one.name for one in found.model.graph.output] == ["x_dequantized"]


def test_outputs_that_are_constants_and_twice_there():
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [value("x", [2])],
        [value("y", [2]), value("c", [3]), value("y", [2])],
        [("c", numbers(3))],
    )
    check(proto, {"x": numbers(2)})


def branching():
    other = helper.make_graph(
        [helper.make_node("Mul", ["x", "q"], ["e"])],
        "else",
        [],
        [value("e", [2])],
        [numpy_helper.from_array(np.float32([0.3, 0.4]), "q")],
    )
    constant = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32([1.3, 0.7])))],
        "then",
        [],
        [value("k", [2])],
    )
    return model(
        [
            helper.make_node("If", ["c"], ["b"], then_branch=constant, else_branch=other),
            helper.make_node("Add", ["x", "b"], ["y"]),
        ],
        [value("c", [], TensorProto.BOOL), value("x", [2])],
        [value("y", [2])],
    )


@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.4"}])
def test_a_branch_that_no_data_took_has_formats(options):
    feeds = [{"c": np.asarray(choice), "x": numbers(2)} for choice in (True, False)]
    check(branching(), *feeds, **options)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("outside", ["Add", "Gemm", "Gather", "an output"])
def test_constants_that_a_branch_reads_in_another_way(outside, bits):
    """Weights and the bias of one branch are data of the other, and data, a table or an output of the model."""
    then = helper.make_graph([helper.make_node("Gemm", ["t", "m", "v"], ["a"])], "then", [], [value("a", ["n", 4])])
    nodes = [helper.make_node("Add", ["t", "v"], ["b"]), helper.make_node("MatMul", ["b", "m"], ["c"])]
    other = helper.make_graph(nodes, "else", [], [value("c", ["n", 4])])
    first = {
        "Add": [helper.make_node("Add", ["x", "v"], ["t"])],
        "Gemm": [helper.make_node("Gemm", ["x", "m", "v"], ["t"], transB=1)],
        "Gather": [
            helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
            helper.make_node("Gather", ["m", "i"], ["row"]),
            helper.make_node("Add", ["x", "row"], ["t"]),
        ],
        "an output": [helper.make_node("Tanh", ["x"], ["t"])],
    }[outside]
    branch = helper.make_node("If", ["choice"], ["y"], then_branch=then, else_branch=other)
    outputs = [value("y", ["n", 4]), *([value("v", [4]), value("m", [4, 4])] if outside == "an output" else [])]
    proto = model(
        [*first, branch],
        [value("x", ["n", 4]), value("choice", [], TensorProto.BOOL)],
        outputs,
        [("m", weights(4, 4)), ("v", weights(4))],
    )
    feeds = [{"x": numbers(3, 4), "choice": np.asarray(choice)} for choice in (True, False)]
    for per_channel in (False, True):
        found = qengine.quantize_model(proto, feeds, bits=bits, per_channel=per_channel)
        back = qengine.InferenceSession(found.model, isa="reference")
        for one in feeds:
            expected = found.session.run(None, one, raw=True)
            for ours, theirs in zip(back.run(None, one, raw=True), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs, strict=True)


def test_a_loop_of_constants_has_formats():
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["s", "k"], ["m"]),
            helper.make_node("Tanh", ["m"], ["s2"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("s", [2])],
        [value("on", [], TensorProto.BOOL), value("s2", [2])],
        [numpy_helper.from_array(np.float32([0.7, 0.9]), "k")],
    )
    proto = model(
        [
            helper.make_node("Loop", ["n", "", "c"], ["l"], body=body),
            helper.make_node("Sigmoid", ["l"], ["r"]),
            helper.make_node("Add", ["x", "r"], ["y"]),
        ],
        [value("x", [2])],
        [value("y", [2])],
        [("n", np.int64(3)), ("c", np.float32([1.5, -2.1]))],
    )
    check(proto, {"x": numbers(2)})


@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Gemm transB", "Gemm transA"])
def test_the_best_recipe_of_matrices(operator):
    name, *transposed = operator.split()
    w = weights(4, 8) if "transB" in transposed else weights(8, 4)
    shape = [8, 64] if "transA" in transposed else [64, 8]
    attributes = dict.fromkeys(transposed, 1)
    proto = network([(name, "x w", "t", attributes), ("Relu", "t", "y")], inputs={"x": shape}, constants={"w": w})
    check(proto, {"x": numbers(*shape)}, recipe="best")


def test_formats_without_data():
    """The check has a sample that is made up; what open lengths decide needs a format."""
    constants, given = {"one": np.int64(1)}, {"x": "Q3.4", "y": "Q3.4"}
    open_nodes = [*SHAPE_DECIDED["x / sqrt(length), and sqrt(length) again"][:4], ("Div", "x q", "y")]
    proto = network(open_nodes, inputs={"x": ["n", "length", 8]}, constants=constants)
    with pytest.raises(FormatError, match=r"'q' follows from lengths of axes, .* or give a qformat for the rest"):
        qengine.quantize_model(proto, formats=given)
    for more in ({"formats": {**given, "q": "Q3.4"}}, {"formats": given, "qformat": "Q3.4"}, {"qformat": "Q3.4"}):
        assert qengine.quantize_model(proto, **more).check == "read back: the same codes on a sample that was made up"
    fixed = network(open_nodes, inputs={"x": [2, 3, 8]}, constants=constants)
    found = qengine.quantize_model(fixed, formats=given)
    assert str(found.session.formats["q"]) == "Q1.6"
    onnx.checker.check_model(found.model)


def test_a_format_for_the_rest_keeps_those_of_parts():
    nodes = [("Sigmoid", "x", "r"), ("Concat", "r x", "y", {"axis": 1})]
    proto, feeds = network(nodes, inputs={"x": [2, 3, 4]}), {"x": np.float32(numbers(2, 3, 4))}
    formats = {"x": "Q3.4", "r": "Q0.7"}
    for options in ({"formats": formats}, {}):
        found = check(proto, feeds, qformat="Q3.4", in_onnxruntime=False, **options)
        assert len(found.session.formats["y"].formats) == 2


def test_what_is_missing_is_asked_for():
    with pytest.raises(OptionError, match="formats are needed, or a qformat, or data"):
        qengine.quantize_model(branching())


def test_a_note_says_where_other_runtimes_may_differ():
    nodes = [("Softmax", "x", "s"), ("LayerNormalization", "s g", "y")]
    built = network(nodes, constants={"g": np.ones(5, np.float32)})
    found = qengine.quantize_model(built, [{"x": numbers(1, 3, 6, 5)}])
    (note,) = found.notes
    assert note.startswith("2 operators on rows, such as Softmax, computed by integers here")


@pytest.mark.parametrize("bits", [8, 16])
def test_bounds_in_a_chain_are_no_codes(bits):
    bounds = {"low": np.float32(0.6415227), "high": np.float32(2.4061177)}
    nodes = [("Transpose", "x", "t"), ("Clip", "t low high", "c"), ("LeakyRelu", "c", "l"), ("Sigmoid", "l", "y")]
    proto = network(nodes, inputs={"x": [3, 8]}, constants=bounds)
    check(proto, {"x": 3 * numbers(3, 8)}, bits=bits)
