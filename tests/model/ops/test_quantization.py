import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.errors import ModelError
from qengine.model.ops.quantization import stored_format

from .cases import Case, each, f32, real, scalar

# Ties, and values beyond every range; 0.5 is a power of two, 0.3 is none.
X = np.float32([[-300, -64.25, -0.75, -0.25, 0], [0.25, 0.75, 1.25, 63.9, 40000.0]])
CODES = np.arange(-128, 128, dtype=np.int8).reshape(2, 128)

CASES = [
    *(
        Case("QuantizeLinear", (X, scalar(step), scalar(zero, kind)))
        for step in (0.5, 0.3, 4.0)
        for zero, kind in ((0, np.int8), (3, np.int8), (128, np.uint8), (0, np.uint8), (7, np.uint8))
    ),
    *(
        Case("QuantizeLinear", (X, scalar(step), scalar(zero, kind)), opsets=(21, 28), follows="reference")
        for step in (2.0**-8, 0.01)
        for zero, kind in ((0, np.int16), (32768, np.uint16), (5, np.uint16))
    ),
    Case("QuantizeLinear", (X, scalar(0.25))),
    Case("QuantizeLinear", (X, scalar(0.25)), {"output_dtype": 3}),
    Case("QuantizeLinear", (X, f32(0.5, 0.3), np.int8([0, 2])), {"axis": 0}),
    Case("QuantizeLinear", (real(2, 3, 2), f32(0.5, 0.25, 0.125), np.uint8([0, 1, 128]))),
    *(
        case
        for inputs, attributes in (
            ((CODES, scalar(0.5), scalar(0, np.int8)), {}),
            ((CODES, scalar(0.3), scalar(3, np.int8)), {}),
            ((CODES, scalar(0.5), scalar(3, np.int8)), {}),
            ((CODES, scalar(0.25)), {}),
            ((CODES.view(np.uint8), scalar(0.25), scalar(128, np.uint8)), {}),
            ((CODES.view(np.uint8), scalar(0.1), scalar(7, np.uint8)), {}),
            ((np.int32([[-(2**31), 2**31 - 1, 5]]), scalar(2.0**-20)), {}),
            ((CODES, f32(0.5, 0.3), np.int8([0, 2])), {"axis": 0}),
        )
        for case in (
            Case("DequantizeLinear", inputs, attributes, opsets=(19, 28)),
            # onnx.reference begins with opset 19
            Case("DequantizeLinear", inputs, attributes, opsets=(10, 18), follows="onnxruntime"),
        )
    ),
    Case("DequantizeLinear", (CODES.astype(np.int16) * 250, scalar(0.5), scalar(0, np.int16)), opsets=(21, 28)),
]


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        ("int8", 0.125, 0, "Q4.3"),
        ("uint8", 0.125, 128, "Q4.3"),
        ("uint8", 2.0**-8, 0, "UQ0.8"),
        ("int16", 2.0**-15, 0, "Q0.15"),
        ("uint16", 4.0, 32768, "Q17.-2"),
        ("int4", 1.0, 0, "Q3.0"),
        ("int8", 0.1, 0, None),
        ("int8", 0.125, 1, None),
        ("uint8", 0.125, 127, None),
        ("int8", -0.125, 0, None),
        ("int8", 0.0, 0, None),
        ("int32", 0.125, 0, None),
        ("int8", 2.0**-149, 0, "Q-142.149"),
    ],
)
def test_stored_format(dtype, scale, zero_point, expected):
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    found = stored_format(kind, scale, zero_point)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear"])
@pytest.mark.parametrize("is_fed", [False, True])
def test_a_scale_that_is_no_scale(scale, operator, is_fed):
    dtype = np.dtype(np.float32 if operator == "QuantizeLinear" else np.int8)
    inputs, constants = {"x": (dtype, [2])}, {"s": np.float32(scale), "z": np.int8(0)}
    feeds = {"x": np.ones(2, dtype)}
    if is_fed:
        inputs["s"], feeds["s"] = (np.float32, []), constants.pop("s")
    session = InferenceSession(network([(operator, "x s z", "y")], inputs=inputs, constants=constants))
    if operator == "DequantizeLinear" and is_fed and scale == 0:  # as DynamicQuantizeLinear gives it for zeros
        np.testing.assert_array_equal(session.run(None, feeds)[0], f32(0, 0))
        return
    with pytest.raises(ModelError, match=r"scale 's' is (0.0|nan|inf), and must be a finite number other than 0"):
        session.run(None, feeds)


def test_one_channel_of_weights_may_have_the_scale_0():
    codes = np.int8([[1, 2], [3, 4]])
    nodes, scales = [("DequantizeLinear", "x s", "y", {"axis": 0})], {"s": f32(0, 0.5)}
    made = network(nodes, inputs={"x": (np.int8, [2, 2])}, constants=scales)
    assert InferenceSession(made).run(None, {"x": codes})[0].tolist() == [[0, 0], [1.5, 2]]
