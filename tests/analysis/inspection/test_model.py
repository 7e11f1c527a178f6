"""What a model is made of, told before it runs: kinds, parameters, multiply-accumulates, shapes, warnings."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from networks import network, weights
from onnx import helper
from random_graphs import OPERATORS, random_case

from qengine import InferenceSession, zoo
from qengine.analysis.inspection import MEANINGS, inspect_model
from qengine.errors import FeedError, FormatError, ModelError, QEngineError, UnsupportedError

DIGITS, SRCNN = zoo.bundled("digits.onnx"), zoo.bundled("srcnn.onnx")
FACTOR = {"factor": np.array([1, 1, 3, 3], np.float32)}


def kinds_of(found):
    """Return the kind of every node by its first output."""
    return {node.outputs[0]: node.kind for node in found.nodes}


def counts(found):
    return {(one.operator, one.kind): one.count for one in found.operators}


def test_srcnn():
    found = inspect_model(SRCNN, FACTOR, {"input": (1, 3, 100, 100)})
    pixels = 300 * 300
    assert {node.outputs[0]: node.macs for node in found.nodes} == {
        "upscaled": 0,
        "conv1": pixels * 64 * 3 * 81,
        "relu1": 0,
        "conv2": pixels * 32 * 64,
        "relu2": 0,
        "output": pixels * 3 * 32 * 25,
    }
    assert found.macs == 1_800_000_000
    assert found.parameters == 64 * 3 * 81 + 64 + 32 * 64 + 32 + 3 * 32 * 25 + 3
    assert found.parameter_bytes == 4 * found.parameters
    assert counts(found) == {("Conv", "integer"): 3, ("Relu", "fused"): 2, ("Resize", "integer"): 1}
    assert [one.shape for one in found.outputs] == [(1, 3, 300, 300)]
    assert found.opsets == {"": 17}
    assert found.warnings == ()


def test_digits():
    found = inspect_model(DIGITS, shapes={"image": (2, 1, 28, 28)})
    stem = 14 * 14 * 16 * 9
    block1 = 14 * 14 * (16 * 9 + 32 * 16)
    block2 = 7 * 7 * (32 * 9 + 48 * 32)
    block3 = 7 * 7 * (48 * 9 + 64 * 48)
    assert found.macs == 2 * (stem + block1 + block2 + block3 + 10 * 64)
    weights_and_norms = (
        16 * 9 + (16 + 32 + 48) * 9 + (32 * 16 + 48 * 32 + 64 * 48) + 4 * (16 + 16 + 32 + 32 + 48 + 48 + 64)
    )
    assert found.parameters == weights_and_norms + 64 * 10 + 10
    assert counts(found) == {
        ("BatchNormalization", "fused"): 7,
        ("Clip", "fused"): 7,
        ("Conv", "integer"): 7,
        ("Flatten", "moves"): 1,
        ("Gemm", "integer"): 1,
        ("GlobalAveragePool", "integer"): 1,
    }
    assert all(a.count >= b.count for a, b in pairwise(found.operators))


def test_an_open_batch_is_counted_as_one_sample_and_said_so():
    found = inspect_model(DIGITS)
    assert found.macs == inspect_model(DIGITS, shapes={"image": (1, 1, 28, 28)}).macs == 418512
    assert [node.macs for node in found.nodes if node.operator == "Gemm"] == [640]
    assert found.outputs[0].shape == ("N", 10)  # the length stays open
    (warning,) = found.warnings
    assert "the batch of input 'image' is open (N x 1 x 28 x 28)" in warning
    assert "--shape image=8,1,28,28" in warning
    assert inspect_model(DIGITS, shapes={"image": (8, 1, 28, 28)}).macs == 8 * found.macs


@pytest.mark.parametrize("shape", [["N", "L"], ["N"], [2, "N", 3]])
def test_open_lengths_leave_figures_out_and_say_what_to_give(shape):
    found = inspect_model(network([("MatMul", "x x", "y")], inputs={"x": shape}))
    assert found.macs is None
    (warning,) = found.warnings
    listed = ", ".join(map(str, shape))
    assert f"input 'x' (float32 [{listed}])" in warning
    assert f"--shape x={listed.replace(', ', ',')}" in warning


def test_a_batch_that_several_inputs_have():
    model = network(
        [("Add", "x z", "s"), ("MatMul", "s w", "y")],
        inputs={"x": ["N", 3], "z": ["N", 3]},
        constants={"w": np.ones((3, 4), np.float32)},
    )
    assert inspect_model(model).macs == 12
    assert inspect_model(model, {"x": np.ones((5, 3), np.float32)}).macs == 60  # one gives the batch of the other


def test_an_input_whose_elements_decide_shapes():
    (warning,) = inspect_model(SRCNN, shapes={"input": (1, 3, 8, 8)}).warnings
    assert "elements of input 'factor'" in warning
    assert "-i factor=VALUE" in warning
    (other,) = inspect_model(SRCNN, FACTOR).warnings
    assert "that of input 'input'" in other


@pytest.mark.parametrize(
    ("nodes", "constants", "inputs", "macs"),
    [
        (
            [("Conv", "x w", "y", {"group": 2, "strides": [2, 2], "pads": [1] * 4})],
            {"w": (6, 2, 3, 3)},
            [1, 4, 8, 6],
            4 * 3 * 6 * 18,
        ),
        ([("ConvTranspose", "x w", "y", {"strides": [2, 2]})], {"w": (4, 5, 3, 3)}, [2, 4, 3, 3], 2 * 9 * 4 * 45),
        ([("Gemm", "x w", "y", {"transA": 1})], {"w": (3, 7)}, [3, 5], 5 * 7 * 3),
        ([("Gemm", "x w", "y", {"transB": 1})], {"w": (7, 5)}, [3, 5], 3 * 7 * 5),
        ([("MatMul", "x w", "y")], {"w": (5, 7)}, [2, 3, 5], 2 * 3 * 7 * 5),
        ([("MatMul", "x w", "y")], {"w": (5,)}, [3, 5], 3 * 5),
        ([("Add", "x w", "y")], {"w": (5,)}, [3, 5], 0),
    ],
)
def test_multiply_accumulates(nodes, constants, inputs, macs):
    arrays = {name: weights(*shape) for name, shape in constants.items()}
    found = inspect_model(network(nodes, inputs={"x": inputs}, constants=arrays))
    assert found.macs == macs
    assert found.parameters == sum(array.size for array in arrays.values())


KINDS = network(
    [
        ("Shape", "x", "lengths"),
        ("Gather", "lengths zero", "batch"),
        ("Concat", "batch rest", "flat", {"axis": 0}),
        ("Reshape", "x flat", "r"),
        ("Transpose", "w", "wt"),
        ("MatMul", "r wt", "m"),
        ("Abs", "m", "a"),
        ("Softmax", "a", "s"),
        ("Gather", "s picks", "g", {"axis": 1}),
        ("Greater", "g half", "c"),
        ("Not", "c", "y"),
        ("Exp", "x", "dead"),
    ],
    inputs={"x": ["N", 3, 4]},
    constants={
        "zero": np.int64([0]),
        "rest": np.int64([12]),
        "w": weights(5, 12),
        "picks": np.int64([0, 2]),
        "half": 0.5,
        "idle": [1.0, 2.0],
    },
)
EXPECTED = {
    "lengths": "shape",
    "batch": "shape",
    "flat": "shape",
    "r": "moves",
    "wt": "shape",
    "m": "integer",
    "a": "integer",
    "s": "integer",
    "g": "moves",
    "c": "island",
    "y": "integer",
    "dead": "unused",
}


@pytest.mark.parametrize("shapes", [{}, {"x": (2, 3, 4)}])
def test_kinds(shapes):
    found = inspect_model(KINDS, shapes=shapes)
    assert kinds_of(found) == EXPECTED
    assert set(EXPECTED.values()) <= MEANINGS.keys()
    assert found.parameters == 5 * 12 + 1  # not what decides shapes and places, nor what nothing reads
    warnings = "\n".join(found.warnings)
    assert "computes these in float32, and --strict refuses them: node 'the_c' (Greater)" in warnings
    assert "not needed for any output: node 'the_dead' (Exp)" in warnings
    assert "constants that no node reads: 'idle'" in warnings
    assert [str(node) for node in found.of_kind("island")] == ["node 'the_c' (Greater)"]


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_an_operator_of_several_kinds_is_judged_by_its_attributes(alpha):
    model = network([("Gemm", "x z", "y", {"alpha": alpha})], inputs={"x": ["N", 3], "z": [3, 4]})
    assert kinds_of(inspect_model(model)) == {"y": "integer" if alpha == 1.0 else "island"}


def test_islands_are_those_of_the_run():
    operators = ["Mod", "Softmax", "Abs", "LogSoftmax", "Mod", "Sigmoid"]
    names = ["x", *map(str, range(len(operators) - 1)), "y"]
    model = network(
        [
            (op, *((f"{a} k", b, {"fmod": 1}) if op == "Mod" else (a, b)))
            for op, (a, b) in zip(operators, pairwise(names), strict=True)
        ],
        constants={"k": 0.5},
    )
    session = InferenceSession(model, qformat="Q3.12")
    plan = session.plan({"x": np.zeros((1, 3, 6, 5), np.float32)})
    told = [str(node) for node in inspect_model(model).of_kind("island")]
    assert told == [str(bound.node) for bound in plan.steps if bound.is_island]
    assert len(told) == 2
    with pytest.raises(UnsupportedError, match="strict"):
        InferenceSession(model, qformat="Q3.12", strict=True).run(None, {"x": np.zeros((1, 3, 6, 5), np.float32)})


@pytest.mark.parametrize("start", range(0, 5))
def test_shapes_and_islands_of_random_graphs_are_those_of_their_plans(start):
    for seed in range(start, 2 * len(OPERATORS), 5):
        case = random_case(seed)
        session = InferenceSession(case.model, formats=case.formats, **case.options)
        names = sorted(session.graph.tensors() - session.graph.constants.keys() - session.graph.added)
        plan = session.plan(case.feeds, names)
        found = inspect_model(case.model, case.feeds)
        islands = {name for node in found.of_kind("island") for name in node.outputs}
        assert islands == {b.output.name for b in session.plan(case.feeds).steps if b.is_island}, case.trail
        shapes = {one.name: one.shape for one in found.tensors}
        assert {name: shapes[name] for name in names} == {name: plan.outputs[name].shape for name in names}, case.trail
        assert "unsupported" not in kinds_of(found).values()


def test_batch_normalization_that_stays():
    model = network(
        [("BatchNormalization", "x s b m v", "n"), ("Relu", "n", "y")],
        constants={name: np.ones(3, np.float32) for name in "sbmv"},
    )
    assert kinds_of(inspect_model(model)) == {"n": "integer", "y": "fused"}
    computed = network(
        [("Relu", "m", "mean"), ("BatchNormalization", "x s b mean v", "y")],
        inputs={"x": [1, 3, 6, 5], "m": [3]},
        constants={name: np.ones(3, np.float32) for name in "sbv"},
    )
    assert kinds_of(inspect_model(computed)) == {"mean": "moves", "y": "island"}


def test_nearest_keeps_the_format_and_other_modes_compute():
    for mode, kind in (("nearest", "moves"), ("linear", "integer")):
        model = network([("Resize", "x - s", "y", {"mode": mode})], constants={"s": [1.0, 1.0, 2.0, 2.0]})
        found = inspect_model(model)
        assert kinds_of(found) == {"y": kind}
        assert found.outputs[0].shape == (1, 3, 12, 10)


def test_what_is_not_supported_is_a_warning_and_the_rest_is_told():
    model = network(
        [
            ("Conv", "x w", "c"),
            ("Relu", "c", "r"),
            ("Det", "r", "d"),
            ("Mod", "d k", "y", {"fmod": 1}),
            ("Foo", "y", "z"),
        ],
        inputs={"x": ["N", 3, 4, 4]},
        outputs=("z",),
        constants={"w": weights(4, 3, 3, 3), "k": 0.5},
    )
    found = inspect_model(model, shapes={"x": (2, 3, 4, 4)})
    assert kinds_of(found) == {"c": "integer", "r": "fused", "d": "delegated", "y": "island", "z": "unsupported"}
    assert found.macs == 2 * 2 * 2 * 4 * 27
    assert "operator not supported: Foo-17; replace them before the export" in found.warnings
    assert {one.name: one.shape for one in found.tensors}["y"] == (2, 4)


def test_what_follows_from_an_unknown_shape():
    model = network([("Foo", "x", "f"), ("Conv", "f w", "y")], constants={"w": weights(4, 3, 3, 3)})
    found = inspect_model(model)
    assert found.macs is None
    assert any("shapes that depend on 'f' are unknown" in warning for warning in found.warnings)


def test_nodes_in_the_branches_of_an_if():
    shape = [1, 3, 6, 5]
    results = {name: [_shaped(name, shape)] for name in ("t", "e", "y")}
    then = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Softmax", ["p"], ["t"], name="inner")]
    branches = {
        "then_branch": helper.make_graph(then, "then", [], results["t"], value_info=[_shaped("p", shape)]),
        "else_branch": helper.make_graph([helper.make_node("Add", ["seen", "z"], ["e"])], "else", [], results["e"]),
    }
    inputs = {"x": shape, "c": (np.bool_, [])}
    nodes = [("Exp", "x", "seen"), ("MatMul", "x w", "dead")]
    proto = onnx.load_from_string(network(nodes, inputs=inputs, constants={"w": weights(5, 5), "z": weights(5)}))
    proto.graph.node.append(helper.make_node("If", ["c"], ["y"], name="if", **branches))
    proto.graph.output[0].CopyFrom(results["y"][0])
    found = inspect_model(proto)
    within = {node.outputs[0]: node.within for node in found.nodes}
    assert within == {"seen": "", "dead": "", "y": "", "p": "if", "t": "if", "e": "if"}
    told = kinds_of(found)
    assert (told["seen"], told["dead"], told["p"], told["t"]) == ("integer", "unused", "integer", "integer")
    assert told["y"] in ("control", "unsupported")
    macs = {node.outputs[0]: node.macs for node in found.nodes}
    assert macs["dead"] == macs["p"] == 3 * 6 * 5 * 5
    assert found.macs == 0  # of what every run computes
    assert found.parameters == 5 * 5 + 5
    assert not any("no node reads" in warning for warning in found.warnings)
    assert any("bodies of control flow" in warning for warning in found.warnings)


def _shaped(name, shape):
    return helper.make_tensor_value_info(name, 1, shape)


def test_what_constants_decide_is_not_multiplied_in_a_run():
    model = network(
        [("MatMul", "a b", "w"), ("MatMul", "x w", "y")],
        inputs={"x": [7, 3]},
        constants={"a": weights(3, 4), "b": weights(4, 2)},
    )
    found = inspect_model(model)
    assert kinds_of(found) == {"w": "shape", "y": "integer"}
    assert found.macs == 7 * 2 * 3
    assert found.parameters == 3 * 4 + 4 * 2


def test_an_initializer_that_may_be_fed():
    model = network(
        [("Reshape", "x s", "y")], inputs={"x": [2, 6]}, constants={"s": np.int64([4, 3])}, overridable=("s",)
    )
    assert inspect_model(model).outputs[0].shape == (4, 3)
    assert inspect_model(model, {"s": np.int64([6, 2])}).outputs[0].shape == (6, 2)
    with pytest.raises(FeedError, match="no input 'z'"):
        inspect_model(model, {"z": np.int64([6, 2])})


def test_formats_and_what_they_lose():
    found = inspect_model(
        SRCNN, FACTOR, {"input": (1, 3, 10, 10)}, qformat="Q4.3", formats={"relu1": "UQ1.7", "conv1.weight": "Q-8.15"}
    )
    formats = {one.name: str(one.format) for one in found.tensors if one.format is not None}
    session = InferenceSession(SRCNN, qformat="Q4.3", formats={"relu1": "UQ1.7", "conv1.weight": "Q-8.15"})
    assert formats == {name: str(form) for name, form in session.formats.items()}
    assert (formats["input"], formats["relu1"], formats["conv1.weight"]) == ("Q4.3", "UQ1.7", "Q-8.15")
    assert any(
        "elements of constant 'conv1.weight' saturate in Q-8.15" in warning.replace(",", "")
        for warning in found.warnings
    )
    assert {one.format for one in inspect_model(SRCNN).tensors} == {None}


def test_a_run_that_would_fail():
    model = network([("Reshape", "x s", "y")], inputs={"x": ["N", 3]}, constants={"s": np.int64([2, 5])})
    (warning,) = inspect_model(model, shapes={"x": (2, 3)}).warnings
    assert warning.startswith("a run would fail: node 'the_y' (Reshape)")


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"shapes": {"x": (1, 3, 6, 5)}}, FeedError, "no input 'x'; its inputs are 'image'"),
        ({"shapes": {"image": (1, 1, 28, 27)}}, FeedError, "needs shape"),
        ({"shapes": {"image": (1, 28, 28)}}, FeedError, "needs 4 axes"),
        ({"shapes": {"image": (1 << 40, 1, 28, 28)}}, UnsupportedError, "more than 1,073,741,824 elements"),
        ({"inputs": {"image": np.zeros((1, 1, 28, 28))}}, FeedError, "needs dtype float32"),
        ({"qformat": "Q40.3"}, FormatError, "44 bits"),
        ({"formats": {"relu": "Q4.3", "stam": "Q4.3"}}, FormatError, "'stam'"),
        ({"weight_qformat": "Q0.7"}, QEngineError, "give a qformat"),
    ],
)
def test_what_is_refused(options, error, reason):
    with pytest.raises(error, match=reason):
        inspect_model(DIGITS, **options)


def test_a_file_that_is_no_model():
    with pytest.raises(ModelError, match="is not an ONNX model"):
        inspect_model(b"no model at all")
