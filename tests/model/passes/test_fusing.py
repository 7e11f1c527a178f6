"""Rules that fuse no functions: every operator rounds by itself, as on devices that compute one after the other."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from networks import network

import qengine
from qengine import SessionOptions, Target
from qengine.analysis.target_check import check_target
from qengine.model.graph import CHAIN_DOMAIN
from qengine.model.rules import Rules
from qengine.targets import names

X = (np.random.default_rng(0).standard_normal((2, 4, 6)) * 3).astype(np.float32)
LAST = {"axes": [-1], "keepdims": 1}
CONSTANTS = {"3": 3.0, "6": 6.0, "top": 6.0, "0": 0.0, "half": 0.5, "eps": 0.01}
CONSTANTS |= {"g": np.linspace(0.5, 1.5, 6, dtype=np.float32), "b": np.linspace(-1, 1, 6, dtype=np.float32)}
# Nodes from x to y, and the operator that they are by default.
SPELLED = {
    "swish": ([("Sigmoid", "x", "s"), ("Mul", "x s", "y")], "Swish"),
    "hard-swish": (
        [("Add", "x 3", "a"), ("Clip", "a 0 top", "c"), ("Mul", "x c", "m"), ("Div", "m 6", "y")],
        "HardSwish",
    ),
    "softmax": (
        [
            *(("ReduceMax", "x", "h", LAST), ("Sub", "x h", "d"), ("Exp", "d", "e")),
            *(("ReduceSum", "e axis", "t", {"keepdims": 1}), ("Div", "e t", "y")),
        ],
        "Softmax",
    ),
    "layer normalization": (
        [
            *(("ReduceMean", "x", "m", LAST), ("Sub", "x m", "c"), ("Mul", "c c", "s"), ("ReduceMean", "s", "v", LAST)),
            *(("Add", "v eps", "e"), ("Sqrt", "e", "r"), ("Div", "c r", "q"), ("Mul", "q g", "z"), ("Add", "z b", "y")),
        ],
        "LayerNormalization",
    ),
    "chain": ([("Tanh", "x", "t"), ("Mul", "t half", "h"), ("Exp", "h", "y")], None),
    "run": ([("Sub", "x b", "d"), ("Mul", "d g", "y")], "RowScaleShift"),
}
UNFUSED = ("cmsis-nn-q7", "tflite", "esp32-s3", "hls4ml")


def spelled(kind):
    nodes = SPELLED[kind][0]
    read = {name for node in nodes for name in node[1].split()}
    constants = {**CONSTANTS, "axis": np.int64([-1])}
    return network(
        nodes, inputs={"x": ["N", 4, 6]}, constants={k: v for k, v in constants.items() if k in read}, opset=13
    )


def operators(session):
    return [node.operator for node in session.optimized.nodes]


def real(codes, fmt):
    return np.ldexp(codes.astype(np.float32), -qengine.QFormat.of(fmt).fraction_bits)


def one_by_one(kind, formats, target):
    """Compute each operator in a session of its own, on the codes that the ones before gave."""
    model = onnx.load_from_string(spelled(kind))
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    values = {"x": X}
    for operator, reads, result, *attributes in SPELLED[kind][0]:
        read = dict.fromkeys(reads.split())
        fed = {name: values[name] for name in read if name in values}
        alone = network(
            [(operator, reads, result, *attributes)], outputs=(result,), opset=13,
            inputs={name: list(array.shape) for name, array in fed.items()},
            constants={name: constants[name] for name in read if name in constants},
        )  # fmt: skip
        own = {name: fmt for name, fmt in formats.items() if name in read or name == result}
        session = qengine.InferenceSession(alone, formats=own, target=target, isa="reference")
        values[result] = real(session.run(None, fed, raw=True)[0], formats[result])
    return values


@pytest.mark.parametrize("target", UNFUSED)
@pytest.mark.parametrize("kind", SPELLED)
def test_every_operator_rounds_by_itself(kind, target):
    model = spelled(kind)
    formats = dict(qengine.calibrate(model, [{"x": X}], target=target))
    wanted = one_by_one(kind, formats, target)
    names = [node[2] for node in SPELLED[kind][0]]
    assert set(names) <= formats.keys()
    for isa in ("reference", None):
        session = qengine.InferenceSession(model, formats=formats, target=target, isa=isa)
        for name, found in zip(names, session.run(names, {"x": X}, raw=True), strict=True):
            np.testing.assert_array_equal(real(found, formats[name]), wanted[name], err_msg=name)
        (last,) = session.run(None, {"x": X}, raw=True)
        np.testing.assert_array_equal(real(last, formats["y"]), wanted["y"])


@pytest.mark.parametrize("kind", SPELLED)
def test_by_default_it_is_one_operator(kind):
    (node,) = qengine.InferenceSession(spelled(kind)).optimized.nodes
    assert node.operator == SPELLED[kind][1] or node.domain == CHAIN_DOMAIN
    formats = qengine.calibrate(spelled(kind), [{"x": X}])
    inner = {one[2] for one in SPELLED[kind][0]} - {"y", "h"}  # "h", a maximum, has the format of x
    assert not inner & formats.keys()


@pytest.mark.parametrize("kind", SPELLED)
def test_sessions_of_one_model_have_the_passes_of_their_own_rules(kind):
    model = spelled(kind)
    fused = qengine.InferenceSession(model, qformat="Q4.3")
    options = replace(fused.options, rules={"fuses_functions": False})
    alone = qengine.InferenceSession(model, options)
    other = fused.with_options(options)
    assert operators(other) == operators(alone) != operators(fused)
    assert operators(other.in_float32()) == operators(other)
    assert operators(other.with_options(fused.options)) == operators(fused)
    for one, same in ((other, alone), (other.with_options(fused.options), fused)):
        np.testing.assert_array_equal(*(s.run(None, {"x": X}, raw=True)[0] for s in (one, same)))


def test_bounds_and_factors_go_into_linear_operators_still():
    nodes = [("Conv", "x W", "c"), ("Mul", "c k", "m"), ("Relu", "m", "r"), ("Add", "r r", "a"), ("Clip", "a 0 6", "y")]
    constants = {"W": np.ones((2, 3, 1, 1), np.float32), "k": 0.5, "0": 0.0, "6": 6.0}
    model = network(nodes, constants=constants)
    assert operators(qengine.InferenceSession(model, qformat="Q4.3", target="tflite")) == ["Conv", "Add"]


def test_bundled_targets_of_devices_fuse_nothing():
    assert {name for name in names() if Target.named(name).rules.fuses_functions} == {"onnx", "qonnx"}
    assert Rules().fuses_functions


def test_a_check_sees_the_operators_of_the_model():
    formats = dict(qengine.calibrate(spelled("swish"), [{"x": X}], target="cmsis-nn-q7"))
    assert not check_target(spelled("swish"), formats=formats, target="cmsis-nn-q7").violations
    found = check_target(spelled("swish"), formats=formats, target="cmsis-nn-q7", rules={"fuses_functions": True})
    assert "Swish" in " ".join(map(str, found.violations))


def test_graphs_inside_of_nodes_follow_the_rule():
    def body(name):
        nodes = [
            onnx.helper.make_node("Sigmoid", ["x"], [f"{name}_s"]),
            onnx.helper.make_node("Mul", ["x", f"{name}_s"], [name]),
        ]
        return onnx.helper.make_graph(nodes, name, [], [onnx.helper.make_tensor_value_info(name, 1, None)])

    model = network(
        [("If", "q", "y", {"then_branch": body("a"), "else_branch": body("b")})],
        inputs={"x": list(X.shape), "q": (np.bool_, [])},
    )
    feeds = [{"x": X, "q": np.array(flag)} for flag in (True, False)]
    formats = dict(qengine.calibrate(model, feeds, target="tflite"))
    assert {"a_s", "b_s"} <= formats.keys()
    (found,) = qengine.InferenceSession(model, formats=formats, target="tflite").run(None, feeds[0], raw=True)
    plain = {"x": formats["x"], "s": formats["a_s"], "y": formats["y"]}
    (wanted,) = qengine.InferenceSession(spelled("swish"), formats=plain, target="tflite").run(None, {"x": X}, raw=True)
    np.testing.assert_array_equal(found, wanted)


def test_formats_of_a_target_are_noted_where_functions_are_fused():
    formats = dict(qengine.calibrate(spelled("swish"), [{"x": X}], target="tflite"))
    session = qengine.InferenceSession(spelled("swish"), SessionOptions(formats=json.loads(json.dumps(formats))))
    assert operators(session) == ["Swish"]
