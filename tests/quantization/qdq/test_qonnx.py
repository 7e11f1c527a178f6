"""QONNX out: what is written has the session's codes, by its definitions and in the package qonnx, and is read back."""

import numpy as np
import onnx
import pytest
from model.passes.qonnx_models import RandomNetwork, expected
from networks import network

import qengine
from qengine.errors import OptionError, UnsupportedError
from qengine.quantization.qdq import quantize_model, quantized_model

RNG = np.random.default_rng(3)
X = np.float32(RNG.normal(0, 1.5, (1, 3, 8, 8)))
FORMATS = {"x": "Q1.2", "c": "Q2.3", "d": "UQ2.1", "p": "Q3.4", "k": "Q2.2", "y": "Q5.4", "w": "Q0.3"}
NAMED = ["half_even", "half_away", "half_zero", "floor", "ceil", "away", "trunc"]


def small():
    constants = {
        "w": RNG.normal(0, 0.4, (4, 3, 3, 3)),
        "b": RNG.normal(size=4),
        "v": RNG.normal(0, 0.4, (4, 1, 3, 3)),
        "g": RNG.normal(0, 0.4, (32, 5)),
        "a": RNG.normal(size=5),
    }
    return network(
        [
            ("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]}),
            ("Conv", "c v", "d", {"group": 4, "pads": [1, 1, 1, 1]}),
            ("Relu", "d", "r"),
            ("AveragePool", "r", "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("MaxPool", "c", "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Add", "p m", "s"),
            ("Concat", "s p", "k", {"axis": 1}),
            ("MaxPool", "k", "n", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Flatten", "n", "f"),
            ("MatMul", "f g", "h"),
            ("Add", "h a", "y"),
        ],
        inputs={"x": [1, 3, 8, 8]},
        constants={name: np.float32(array) for name, array in constants.items()},
        values={"y": (np.float32, [1, 5])},
    )


def options(rounding, **more):
    return {"qformat": "Q3.3", "formats": {k: v for k, v in FORMATS.items() if k != "k"}, "rounding": rounding, **more}


@pytest.mark.parametrize("overflow", ["saturate", "symmetric"])
@pytest.mark.parametrize("rounding", NAMED)
def test_the_written_model_is_defined_to_have_the_codes_of_the_session(rounding, overflow):
    session = qengine.InferenceSession(small(), **options(rounding, overflow=overflow, per_channel=True))
    model = quantized_model(session, "qonnx").SerializeToString()
    (wanted,) = session.run(None, {"x": X})
    np.testing.assert_array_equal(expected(model, {"x": X})[0], wanted)
    for isa in ("reference", None):
        back = qengine.InferenceSession(model, isa=isa)
        raw, ours = back.run(None, {"x": X}, raw=True), session.run(None, {"x": X}, raw=True)
        np.testing.assert_array_equal(raw[0], ours[0], strict=True)
        for name in ("c", "p", "s"):
            np.testing.assert_array_equal(back.run([name], {"x": X}, raw=True), session.run([name], {"x": X}, raw=True))


def test_kinds_of_operators_have_their_own_rounding():
    rules = {
        "linear.rounding": "floor",
        "mean.rounding": "half_away",
        "add.rounding": "ceil",
        "inputs.rounding": "trunc",
    }
    session = qengine.InferenceSession(small(), qformat="Q3.2", rules={**rules, "tensors.c.rounding": "away"})
    model = quantized_model(session, "qonnx")
    (wanted,) = session.run(None, {"x": X})
    np.testing.assert_array_equal(expected(model.SerializeToString(), {"x": X})[0], wanted)
    modes = {
        node.input[0].removesuffix("_real"): attribute.s.decode()
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "rounding_mode"
    }
    assert {name: modes[name] for name in ("x", "c", "r", "p", "s")} == {
        "x": "DOWN",
        "c": "UP",
        "r": "FLOOR",
        "p": "HALF_UP",
        "s": "CEIL",
    }


@pytest.mark.parametrize("seed", range(12))
def test_a_model_that_was_read_is_written_with_the_same_codes(seed):
    random = RandomNetwork(seed)
    session, feeds = qengine.InferenceSession(random.build()), random.feeds()
    written = quantized_model(session, "qonnx").SerializeToString()
    (wanted,) = session.run(None, feeds)
    np.testing.assert_array_equal(expected(written, feeds)[0], wanted)
    np.testing.assert_array_equal(qengine.InferenceSession(written).run(None, feeds)[0], wanted)


@pytest.mark.parametrize("rounding", ["half_even", "floor", "half_zero"])
def test_the_package_executes_what_is_written(rounding):
    pytest.importorskip("qonnx", reason="the package qonnx, which executes QONNX models, is not installed")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    session = qengine.InferenceSession(small(), **options(rounding))
    model = ModelWrapper(quantized_model(session, "qonnx")).transform(InferShapes())
    (found,) = execute_onnx(model, {"x": X}).values()
    np.testing.assert_array_equal(found, session.run(None, {"x": X})[0])


def test_formats_are_chosen_and_the_result_is_checked():
    digits = qengine.zoo.find("digits")
    feeds = [digits.sample().feeds]
    quantized = quantize_model(
        digits.path, feeds, bits=5, writes="qonnx", session=qengine.SessionOptions(rounding="trunc")
    )
    assert quantized.check == "read back: the same codes on one sample"
    widths = {onnx.numpy_helper.to_array(one).item() for one in quantized.model.graph.initializer if "bits" in one.name}
    assert widths == {5, 32}
    assert quantized.notes == ()


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (
            {"rounding": "half_up"},
            UnsupportedError,
            "'x' is rounded half_up, for which QONNX has no name; it has half_even",
        ),
        ({"overflow": "wrap"}, UnsupportedError, "'x' overflows by wrap; in QONNX all saturates"),
        ({"accumulator_bits": 20}, OptionError, "nothing for accumulator"),
    ],
)
def test_rules_that_qonnx_has_no_name_for_are_refused(given, error, text):
    session = qengine.InferenceSession(small(), qformat="Q3.4", **given)
    with pytest.raises(error, match=text):
        quantized_model(session, "qonnx")


def test_what_pairs_cannot_say_is_refused():
    session = qengine.InferenceSession(small(), qformat="Q1.2")
    with pytest.raises(Exception, match=r"of 4 bits; .* one of QONNX \(--as qonnx\) in any"):
        quantized_model(session)
    with pytest.raises(OptionError, match="writes is 'finn'; there are qdq, qonnx"):
        quantized_model(session, "finn")
