"""Nodes whose element types their handlers do not take."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from model.ops.cases import NEWEST, Case, each, f32, real
from onnx import helper

import qengine

X, GRID = real(1, 2, 5, 6), np.random.default_rng(0).uniform(-1.2, 1.2, (1, 4, 3, 2)).astype(np.float32)
SCALES = f32(1, 1, 2, 1.5)
INTEGERS = np.arange(-30, 30, dtype=np.int8).reshape(1, 2, 5, 6)


def rounded(operator, x, *inputs, **attributes):
    """Return the result on real numbers, rounded to the integers of x."""
    case = Case(operator, (x.astype(np.float32), *inputs), attributes)
    model, feeds = case.model(case.versions()[0], constant=False)
    (y,) = qengine.InferenceSession(model).run(None, feeds)
    info = np.iinfo(x.dtype)
    return (np.rint(y).clip(info.min, info.max).astype(x.dtype),)


TYPES = [
    # ONNX Runtime cuts integers off, and does not saturate; onnx.reference rounds them.
    *(
        Case("Resize", (x, None, SCALES), {"mode": mode}, follows="reference", opsets=(13, NEWEST))
        for x in (INTEGERS, INTEGERS.astype(np.uint8), 1000 * INTEGERS.astype(np.int32))
        for mode in ("linear", "cubic")
    ),
    # onnx.reference has neither of these.
    *(
        Case(
            operator,
            (INTEGERS, SCALES),
            {"mode": "linear"},
            expected=rounded(operator, INTEGERS, SCALES, mode="linear"),
            opsets=(9, 10),
        )
        for operator in ("Resize", "Upsample")
    ),
    *(
        Case(
            "GridSample", (X.astype(np.float16), GRID), {"mode": mode}, follows="onnxruntime", opsets=opsets, rtol=2e-3
        )
        for mode, opsets in (("bilinear", (16, 19)), ("nearest", (16, 19)), ("linear", (20, 21)), ("cubic", (20, 21)))
    ),
    Case("GridSample", (INTEGERS, GRID), {"mode": "nearest"}, follows="reference"),
    Case(
        "BatchNormalization",
        (X.astype(np.float16), real(2, seed=1), real(2, seed=2), real(2, seed=3), np.abs(real(2, seed=4))),
        follows="reference",
        rtol=2e-3,
        atol=2e-3,
        opsets=(15, NEWEST),
    ),
]


@pytest.mark.parametrize(**each(TYPES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "outputs"),
    [
        ("MaxPool", (X,), {"kernel_shape": [2, 2]}, 2),
        ("AveragePool", (X,), {"kernel_shape": [2, 2]}, 1),
        ("GlobalMaxPool", (X,), {}, 1),
        ("GlobalAveragePool", (X,), {}, 1),
        ("LogSoftmax", (X,), {}, 1),
        ("Resize", (X, None, SCALES), {"mode": "linear"}, 1),
        ("GridSample", (X, GRID), {}, 1),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_bfloat16_is_float32_rounded_once(operator, inputs, attributes, outputs):
    narrow = (inputs[0].astype(ml_dtypes.bfloat16), *inputs[1:])
    found = run(operator, narrow, attributes, outputs)
    wanted = run(operator, (narrow[0].astype(np.float32), *inputs[1:]), attributes, outputs)
    assert found[0].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found[0], wanted[0].astype(ml_dtypes.bfloat16))
    for one, other in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def run(operator, inputs, attributes, outputs):
    feeds = {f"x{i}": a for i, a in enumerate(inputs) if a is not None}
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(inputs)]
    given = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(operator, names, given, **attributes)],
        "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in given],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return qengine.InferenceSession(model).run(None, feeds)


def test_types_that_onnx_does_not_allow_are_an_error():
    model, feeds = Case("Conv", (X, real(3, 2, 2, 2).astype(np.float64))).model(11, constant=False)
    with pytest.raises(qengine.QEngineError, match=r"inputs .* differ in type|cannot run"):
        qengine.InferenceSession(model).run(None, feeds)
