"""LSTM, GRU and RNN as quantized models: read back with the same codes, and close to them in ONNX Runtime."""

import numpy as np
import onnx
import pytest
from networks import network, onnxruntime_session
from onnx import helper

import qengine
from qengine.errors import FormatError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
BOTH = "bidirectional"
TIME, BATCH, SIZE, HIDDEN = 6, 2, 5, 7


def model(operator, outputs="y h c", given="b", opset=17, **attributes):
    rng = np.random.default_rng(len(operator))
    n, gates = 2 if attributes.get("direction") == BOTH else 1, GATES[operator]

    def real(*shape):
        return rng.uniform(-0.7, 0.7, shape).astype(np.float32)

    arrays = {"w": real(n, gates * HIDDEN, SIZE), "r": real(n, gates * HIDDEN, HIDDEN)}
    arrays |= {"b": real(n, 2 * gates * HIDDEN)} if "b" in given else {}
    arrays |= {"h0": real(n, BATCH, HIDDEN)} if "h" in given else {}
    arrays |= {"p": real(n, 3 * HIDDEN)} if "p" in given else {}
    names = ["x", "w", "r", "b", "-", "h0", *(("-", "p") if operator == "LSTM" else ())]
    names = [name if name in {"x", *arrays} else "-" for name in names]
    kept = [name if name in outputs.split() else "-" for name in ("y", "h", "c")[: 3 if operator == "LSTM" else 2]]
    return network(
        [(operator, " ".join(names), " ".join(kept), {"hidden_size": HIDDEN, **attributes})],
        inputs={"x": [TIME, BATCH, SIZE]},
        outputs=[name for name in kept if name != "-"],
        constants=arrays,
        opset=opset,
    )


FEEDS = [{"x": np.random.default_rng(seed).normal(size=(TIME, BATCH, SIZE)).astype(np.float32)} for seed in range(3)]
CASES = {
    "LSTM": model("LSTM", given="bhp", direction=BOTH),
    "LSTM with the last states only": model("LSTM", outputs="h c"),
    "LSTM with the last cell only": model("LSTM", outputs="c"),
    "LSTM with bounds": model("LSTM", clip=0.9, given=""),
    "GRU": model("GRU", direction=BOTH, given="bh"),
    "GRU that resets after": model("GRU", outputs="y", linear_before_reset=1, direction="reverse"),
    "RNN of an old opset": model("RNN", outputs="h", opset=11),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", CASES)
def test_a_quantized_model_has_the_same_codes(name, bits):
    found = qengine.quantize_model(CASES[name], FEEDS, options=qengine.CalibrationOptions(bits=bits, per_channel=True))
    assert found.check == "read back: the same codes on one sample"
    assert len(found.notes) == 1
    back = qengine.InferenceSession(found.model.SerializeToString(), strict=True)
    other = onnxruntime_session(found.model.SerializeToString())
    for feeds in FEEDS:
        ours = back.run(None, feeds, raw=True)
        for a, b in zip(ours, found.session.run(None, feeds, raw=True), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
        for a, b in zip(back.run(None, feeds), other.run(None, feeds), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=0.1 if bits == 8 else 1e-3)


def test_in_a_branch():
    inner = onnx.load_from_string(model("LSTM", outputs="y")).graph
    constants = [*inner.initializer]
    branch = helper.make_graph(inner.node, "then", [], [helper.make_empty_tensor_value_info("y")])
    other = helper.make_graph(
        [helper.make_node("Identity", ["alternative"], ["z"])], "else", [], [helper.make_empty_tensor_value_info("z")]
    )
    alternative = helper.make_tensor("alternative", 1, [TIME, 1, BATCH, HIDDEN], np.zeros(TIME * BATCH * HIDDEN))
    made = helper.make_graph(
        [helper.make_node("If", ["condition"], ["result"], then_branch=branch, else_branch=other)],
        "model",
        [
            helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", 1, [TIME, BATCH, SIZE]),
        ],
        [helper.make_tensor_value_info("result", 1, [TIME, 1, BATCH, HIDDEN])],
        [*constants, alternative],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = [{**feeds, "condition": np.array(True)} for feeds in FEEDS]
    found = qengine.quantize_model(proto, feeds, options=qengine.CalibrationOptions(bits=16))
    assert found.check == "read back: the same codes on one sample"
    back = qengine.InferenceSession(found.model.SerializeToString())
    exact = qengine.InferenceSession(proto)
    for one in feeds:
        (ours,) = back.run(None, one)
        np.testing.assert_array_equal(ours, found.session.run(None, one)[0])
        np.testing.assert_allclose(ours, exact.run(None, one)[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("Q0.7 Q3.4", "the metadata of node 'the_y' .LSTM. have 2 formats, 3 are needed"),
        ("Q0.7 Q3.4 what", "the metadata of node 'the_y' .LSTM.: .*what"),
    ],
)
def test_formats_in_the_metadata_that_do_not_fit(metadata, message):
    proto = qengine.quantize_model(CASES["LSTM"], FEEDS, options=qengine.CalibrationOptions(bits=8)).model
    (node,) = [node for node in proto.graph.node if node.op_type == "LSTM"]
    node.metadata_props[0].value = metadata
    with pytest.raises(FormatError, match=message):
        qengine.InferenceSession(proto.SerializeToString())


def test_a_model_of_another_tool_computes_recurrent_nodes_on_real_numbers():
    proto = qengine.quantize_model(CASES["LSTM"], FEEDS, options=qengine.CalibrationOptions(bits=16)).model
    (node,) = [node for node in proto.graph.node if node.op_type == "LSTM"]
    del node.metadata_props[:]
    session = qengine.InferenceSession(proto.SerializeToString())
    (found, *_), (want, *_) = (
        session.run(None, FEEDS[0]),
        onnxruntime_session(proto.SerializeToString()).run(None, FEEDS[0]),
    )
    np.testing.assert_allclose(found, want, rtol=0, atol=2e-4)
    with pytest.raises(qengine.QEngineError, match="strict"):
        qengine.InferenceSession(proto.SerializeToString(), strict=True).run(None, FEEDS[0])


@pytest.mark.parametrize("writes", ["qdq", "qonnx"])
@pytest.mark.parametrize("operator", GATES)
def test_formats_of_a_calibration_name_states_that_nothing_reads(operator, writes):
    given = network(
        [(operator, "x w r", "y h", {"hidden_size": HIDDEN})],
        inputs={"x": [TIME, BATCH, SIZE]},
        constants={
            name: np.full((1, GATES[operator] * HIDDEN, size), 0.25, np.float32)
            for name, size in (("w", SIZE), ("r", HIDDEN))
        },
    )
    formats = qengine.calibrate(given, FEEDS).formats
    assert "h" in formats
    wanted = qengine.InferenceSession(given, formats=formats).run(["y"], FEEDS[0])
    written = qengine.quantize_model(given, formats=formats, writes=writes).model
    np.testing.assert_array_equal(qengine.InferenceSession(written).run(["y"], FEEDS[0]), wanted)
    with pytest.raises(FormatError, match="formats name 'hh', and the model has no such tensor"):
        qengine.quantize_model(given, formats={**formats, "hh": "Q1.6"}, writes=writes)
