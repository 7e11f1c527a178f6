"""QONNX models: read as formats and rules, and equal in all codes to what QONNX's definitions give."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from model.passes.qonnx_models import ROUND, Builder, RandomNetwork, expected

import qengine
from qengine.errors import ModelError, QEngineError, UnsupportedError
from qengine.qformat import Rounding

RNG = np.random.default_rng(5)


def sessions(model, **options):
    return [qengine.InferenceSession(model, isa=isa, **options) for isa in ("reference", None)]


def assert_defined(model, feeds, names, **options):
    """Compare tensors with the definitions, bit for bit, on both kernels; return a session."""
    wanted = expected(model, feeds, names)
    for session in sessions(model, **options):
        for name, ours, theirs in zip(names, session.run(names, feeds), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs, name, strict=True)
    return session


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_are_computed_in_integers_as_they_are_defined(seed):
    network = RandomNetwork(seed)
    model, feeds = network.build(), network.feeds()
    session = assert_defined(model, feeds, network.b.quantized)
    real = [event.tensor.name for event in session.trace(feeds) if event.tensor.format is None]
    assert real == []


@pytest.mark.parametrize("seed", range(15))
def test_random_networks_whose_output_is_not_rounded(seed):
    network = RandomNetwork(seed, rounds_output=False)
    model, feeds = network.build(), network.feeds()
    assert_defined(model, feeds, [*network.b.quantized, network.tensor])


@pytest.mark.parametrize("seed", range(100))
def test_random_networks_equal_the_execution_of_qonnx(seed):
    pytest.importorskip("qonnx", reason="the package qonnx, which executes QONNX models, is not installed")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    network = RandomNetwork(seed)
    proto, feeds = onnx.load_from_string(network.build()), network.feeds()
    for one in proto.opset_import:
        one.version = 2 if one.domain else one.version  # that of a Trunc with a scale of its output
    wanted = execute_onnx(ModelWrapper(proto).transform(InferShapes()), feeds, return_full_exec_context=True)
    for session in sessions(proto.SerializeToString()):
        for name, ours in zip(network.b.quantized, session.run(network.b.quantized, feeds), strict=True):
            np.testing.assert_array_equal(ours, wanted[name], name)


@pytest.mark.parametrize("mode", list(ROUND))
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16])
def test_every_rounding_and_range(mode, narrow, signed, bits):
    b = Builder()
    numbers = np.float32(np.arange(-80, 81) / 32) * 2.0 ** min(bits, 7)
    names = [b.quant("x", 2, bits, signed=signed, narrow=narrow, mode=mode, operator="IntQuant" if narrow else "Quant")]
    names.append(b.weights("w", numbers, 2, bits, signed=signed, narrow=narrow, mode=mode.lower()))
    b.node("Add", " ".join(names), "sum")
    names.append(b.quant("sum", 1, 12, mode=mode))
    model = b.model(inputs={"x": [161]}, outputs=[names[-1]])
    spelled = onnx.load_from_string(model)
    for node in spelled.graph.node:  # the definitions here know one name, and capitals
        node.op_type = node.op_type.replace("IntQuant", "Quant")
        for attribute in node.attribute:
            attribute.s = attribute.s.upper()
    wanted = expected(spelled.SerializeToString(), {"x": numbers}, names)
    for session in sessions(model, strict=True):
        for name, ours, theirs in zip(names, session.run(names, {"x": numbers}), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs, name, strict=True)


def test_formats_rules_and_codes():
    b = Builder()
    x = b.quant("x", 3, 4, mode="FLOOR")
    w = b.weights("w", [[[[0.3]]], [[[-2.0]]]], np.array([2, 1]).reshape(2, 1, 1, 1), 3, narrow=1, mode="CEIL")
    b.node("Conv", f"{x} {w} {b.quant(b.constant('b', [0.11, -0.3]), 5, 12)}", "c")
    b.node("Relu", "c", "r")
    y = b.quant("r", 2, 3, signed=0, mode="HALF_UP")
    session = qengine.InferenceSession(b.model(inputs={"x": [1, 1, 1, 3]}, outputs=[y]))
    found = {name: str(fmt) for name, fmt in session.formats.items()}
    assert found.items() >= {"x": "Q0.3", "c": "UQ1.2", w: "Q3 n=1..2 per channel"}.items()
    codes = session.run([w, y], {"x": np.zeros((1, 1, 1, 3), np.float32)}, raw=True)
    assert codes[0].ravel().tolist() == [2, -3]
    assert codes[1].dtype == np.uint8
    rules = session.rules.tensors
    assert rules["x"].rounding is Rounding.FLOOR
    assert rules["c"].rounding is Rounding.HALF_AWAY
    assert session.notes == ()
    assert not session.in_float32().formats


def test_a_rounding_that_is_given_replaces_that_of_each_node():
    b = Builder()
    y = b.quant("x", 1, 4, mode="FLOOR", narrow=1)
    model = b.model(inputs={"x": [3]}, outputs=[y])
    x = np.float32([0.3, -0.3, -9])

    def found(**options):
        return qengine.InferenceSession(model, **options).run(None, {"x": x})[0].tolist()

    assert found() == [0, -0.5, -3.5]
    assert found(rounding="ceil") == [0.5, 0, -3.5]
    assert found(overflow="saturate") == [0, -0.5, -4]
    assert found(rules={"tensors.x.rounding": "half_even"}) == [0.5, -0.5, -3.5]
    assert found(qformat="Q4.1") == [0.5, -0.5, -9]


@pytest.mark.parametrize("domain", ["onnx.brevitas", "finn.custom_op.general"])
def test_older_domains(domain):
    b = Builder(domain)
    y = b.quant("x", 1, 4, mode="DOWN")
    session = qengine.InferenceSession(b.model(inputs={"x": [4]}, outputs=[y]))
    (found,) = session.run(None, {"x": np.float32([-0.9, 0.9, 9, -9])})
    assert found.tolist() == [-0.5, 0.5, 3.5, -4]


def test_a_tensor_with_several_roundings_is_rounded_by_each():
    b = Builder()
    x = b.quant("x", 4, 8)
    b.node("Conv", f"{x} {b.weights('w', RNG.normal(size=(3, 2, 3, 3)), 4, 5)}", "c")
    one, other = b.quant("c", 3, 6, mode="FLOOR"), b.quant("c", 3, 6, mode="CEIL")
    again, coarse = b.quant(one, 3, 6, narrow=1, mode="CEIL"), b.quant(one, 1, 6, mode="HALF_UP")
    b.node("Concat", f"{one} {other} {again} {coarse}", "k", axis=1)
    model = b.model(inputs={"x": [1, 2, 6, 5]}, outputs=[b.quant("k", 2, 7, mode="UP")])
    assert_defined(model, {"x": np.float32(RNG.normal(0, 3, (1, 2, 6, 5)))}, b.quantized)


@pytest.mark.parametrize(
    ("bits", "out", "attributes"),
    [
        (10, (3, 4), {"rounding_mode": "FLOOR"}),
        (10, (4, 6), {"rounding_mode": "ROUND", "signed": 1, "narrow": 1}),
        (10, (7, 8), {"signed": 0, "rounding_mode": "CEIL"}),
        (10, (2, 3), {"signed": 0, "narrow": 1, "rounding_mode": "UP"}),
        (8, (None, 4), {"rounding_mode": "HALF_DOWN"}),
        (9, (None, 10), {}),
    ],
)
def test_bits_are_dropped_after_an_average(bits, out, attributes):
    b = Builder()
    x = b.quant("x", 3, 6)
    b.node("AveragePool", x, "a", kernel_shape=[2, 2])
    y = b.trunc("a", 5, bits, *out, **attributes)
    model = b.model(inputs={"x": [1, 2, 9, 9]}, outputs=[y])
    assert_defined(model, {"x": np.float32(RNG.uniform(-4, 4, (1, 2, 9, 9)))}, [x, y], strict=True)


@pytest.mark.parametrize("mode", list(ROUND))
@pytest.mark.parametrize("n", [1, 5, 8])
def test_a_real_bias_is_added_unrounded(mode, n):
    """Sums of 5 fraction bits and biases of up to 23; to fewer bits, to as many, and to more."""
    b = Builder()
    x = b.quant("x", 3, 8)
    w = b.weights("w", RNG.integers(-4, 4, (8, 2, 3, 3)) / 4, 2, 4)
    bias = np.ldexp(RNG.integers(-200, 200, 8) * 4096 + np.array([0, 1, 2048, 4095, 0, 2049, 512, 2047]), -17)
    for i, values in enumerate((bias, bias + 2.0**-18)):  # some with a fraction, and all
        b.node("Conv", f"{x} {w} {b.constant(f'b{i}', values)}", f"c{i}")
        b.quant(f"c{i}", n, 12, mode=mode)
    names = b.quantized[-1], b.quantized[-2]
    model = b.model(inputs={"x": [1, 2, 12, 12]}, outputs=names)
    session = assert_defined(model, {"x": np.float32(RNG.normal(0, 4, (1, 2, 12, 12)))}, list(names), strict=True)
    assert not session.notes


def test_a_bound_that_is_no_code_is_applied_before_the_rounding():
    b = Builder()
    b.node("Conv", f"{b.quant('x', 3, 6)} {b.weights('w', RNG.normal(size=(3, 2, 3, 3)), 3)}", "c")
    b.node("Clip", f"c {b.constant('low', -0.3)} {b.constant('high', 0.4)}", "k")
    y = b.quant("k", 3, 5, mode="FLOOR")
    model = b.model(inputs={"x": [1, 2, 6, 6]}, outputs=[y])
    assert_defined(model, {"x": np.float32(RNG.normal(size=(1, 2, 6, 6)))}, b.quantized)


def test_what_is_not_rounded_has_an_exact_format_if_a_word_holds_it():
    b = Builder()
    x = b.quant("x", 3, 5)
    for name, bits in (("short", 4), ("long", 12)):
        w = b.weights(f"w_{name}", RNG.normal(0, 1, (3, 2, 3, 3)), np.array([bits, 2, 3]).reshape(3, 1, 1, 1), bits)
        b.node("Conv", f"{x} {w} {b.constant(f'b_{name}', [0.375, -2.5, 0.125])}", name)
    b.node("Relu", "short", "r")
    b.node("AveragePool", x, "mean", kernel_shape=[2, 4])
    b.node("AveragePool", x, "third", kernel_shape=[1, 3])
    b.node("Add", f"{x} {x}", "twice")
    b.node("Mul", f"{x} {b.bipolar('twice', 2)}", "product")
    b.node("Sub", "product twice", "difference")
    names = ["r", "long", "mean", "third", "twice", "product", "difference"]
    model = b.model(inputs={"x": [1, 2, 9, 9]}, outputs=names)
    feeds = {"x": np.float32(RNG.normal(0, 1, (1, 2, 9, 9)))}
    session = assert_defined(model, feeds, [name for name in names if name != "third"])
    found = {event.tensor.name: event.tensor.format for event in session.trace(feeds)}
    shown = {name: str(found[name]) for name in names}
    assert shown == {
        "r": "Q5.7",
        "long": "None",
        "mean": "Q1.6",
        "third": "None",
        "twice": "Q2.3",
        "product": "Q1.5",
        "difference": "Q3.5",
    }


def changed(**changes):
    """Return a model of one Quant, with inputs or attributes changed; None removes them."""
    b = Builder()
    b.quant("x", 2, 4, out="q")
    proto = onnx.load_from_string(b.model(inputs={"x": [1, 3, 4, 4]}, outputs=["q"]))
    (node,) = proto.graph.node
    for key, value in changes.items():
        if key in ("scale", "zero", "width"):
            name = {"scale": "q_s", "zero": "q_z", "width": "q_b"}[key]
            (tensor,) = [one for one in proto.graph.initializer if one.name == name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value), name))
        elif key == "inputs":
            node.input[:] = value
        elif key == "domain":
            proto.opset_import[1].domain = node.domain = value
        else:
            kept = [one for one in node.attribute if one.name != key]
            del node.attribute[:]
            node.attribute.extend(kept)
            if value is not None:
                node.attribute.append(onnx.helper.make_attribute(key, value))
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"scale": np.float32(0.3)}, UnsupportedError, "scale is 0.3, and no Qm.n has that step.*POWER_OF_TWO"),
        ({"scale": np.float32(np.nan)}, ModelError, "scale is nan"),
        ({"scale": np.float32(-1)}, ModelError, "scale is -1"),
        ({"scale": np.float32(0)}, ModelError, "scale is 0"),
        ({"scale": np.zeros(0, np.float32)}, ModelError, "scale is no number"),
        ({"scale": np.float32([[[1]], [[2]], [[1]]])}, UnsupportedError, "one scale for the tensor"),
        ({"scale": np.ones((1, 1, 1, 1, 1), np.float32)}, ModelError, "shape .* of 4 axes"),
        ({"scale": np.float32(2.0**120)}, UnsupportedError, "-120 fraction bits"),
        ({"scale": np.bool_(1)}, ModelError, "elements of type bool"),
        ({"zero": np.float32(3)}, UnsupportedError, "zero_point is 3.*symmetric"),
        ({"zero": np.float32(np.nan)}, ModelError, "zero_point is nan"),
        ({"width": np.float32(0)}, ModelError, "bit_width is 0"),
        ({"width": np.float32(3.5)}, ModelError, "bit_width is 3.5"),
        ({"width": np.float32(17)}, UnsupportedError, "17 bits; .* up to 16"),
        ({"width": np.float32(64)}, UnsupportedError, "bit_width is 64"),
        ({"width": np.float32([2, 3])}, UnsupportedError, "bit_width .* is not one number"),
        ({"width": np.float32(np.inf)}, ModelError, "bit_width is inf"),
        ({"signed": None}, ModelError, "no attribute 'signed'"),
        ({"narrow": 2}, ModelError, "'narrow' is 2"),
        ({"narrow": "yes"}, ModelError, "'narrow' is 'yes'"),
        ({"rounding_mode": "STOCHASTIC"}, UnsupportedError, "'STOCHASTIC' has no rule; there are ROUND"),
        ({"rounding_mode": 3}, UnsupportedError, "3 has no rule"),
        ({"axis": 1}, UnsupportedError, "'axis' has no meaning here; there are signed, narrow, rounding_mode"),
        ({"inputs": ["x", "q_s", "q_z"]}, ModelError, "3 inputs"),
        ({"inputs": ["x", "q_s", "", "q_b"]}, ModelError, "4 inputs"),
        ({"inputs": ["x", "x", "q_z", "q_b"]}, UnsupportedError, "scale 'x' is computed by the model"),
        ({"domain": "my.own"}, UnsupportedError, "my.own.Quant"),
    ],
)
def test_what_no_format_says_is_refused_by_name(changes, error, text):
    with pytest.raises(error, match=text) as raised:
        qengine.InferenceSession(changed(**changes))
    assert "'the_q'" in str(raised.value) or "domain" in changes
    assert "\n" not in str(raised.value)


def test_damaged_models_give_named_errors():
    """Whatever single byte is changed."""
    model = changed()
    for place in range(0, len(model), 3):
        damaged = bytearray(model)
        damaged[place] ^= int(RNG.integers(1, 256))
        with suppress(QEngineError):
            qengine.InferenceSession(bytes(damaged)).run(None, {"x": np.ones((1, 3, 4, 4), np.float32)})


def test_graphs_inside_of_nodes_are_computed_as_they_are_defined():
    quant = Builder()
    y = quant.quant("x", 2, 4, mode="FLOOR")
    inner = onnx.load_from_string(quant.model(inputs={"x": [4]}, outputs=[y])).graph
    del inner.input[:]
    branch = onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    graph = onnx.helper.make_graph(
        [branch],
        "g",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (("x", 1, [4]), ("c", 9, []))],
        [onnx.helper.make_tensor_value_info("z", 1, [4])],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(quant.domain, 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    x = np.float32([-0.3, 0.3, 1.3, -9])
    (found,) = qengine.InferenceSession(model).run(None, {"x": x, "c": np.bool_(1)})
    assert found.tolist() == [-0.5, 0.25, 1.25, -2]
