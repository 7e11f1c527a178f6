"""Attention and FlexAttention against ONNX Runtime, and against their equations where it has no kernel."""

import numpy as np
import pytest
from model.eager.nodes import run
from model.ops.cases import Case, each, i64, real

from qengine.errors import ModelError, QEngineError

Q, K, V = real(2, 3, 4, 8), real(2, 3, 5, 8), real(2, 3, 5, 6)
PAST = (real(2, 3, 2, 8, seed=1), real(2, 3, 2, 6, seed=1))
ALLOWED = np.random.default_rng(0).random((2, 3, 4, 5)) > 0.4
ALLOWED[0, 0, 0] = False  # a query that attends no key
HALF = {"rtol": 4e-3, "atol": 4e-3}


def case(inputs, attributes=None, follows="both", **given):
    return Case("Attention", inputs, attributes or {}, outputs=4, follows=follows, **given)


CASES = [
    case((Q, K, V)),
    case((Q, K, V), {"scale": 0.3}),
    *(
        # onnx.reference returns capped scores as raw ones.
        case((Q, K, V, real(4, 5)), {"qk_matmul_output_mode": mode, "softcap": 0.7}, "both" if mode else "onnxruntime")
        for mode in range(4)
    ),
    *(case((Q, K, V, ALLOWED), {"is_causal": c, "qk_matmul_output_mode": 3}) for c in (0, 1)),
    case((Q, K, V, np.zeros((4, 5), bool)), {"qk_matmul_output_mode": 3}),
    *(case((Q, K, V, real(*shape))) for shape in ((4, 5), (3, 4, 5), (1, 4, 5), (2, 1, 4, 5), (1, 1, 4, 5))),
    # ONNX Runtime refuses these before opset 25, and 24.
    *(case((Q, K, V, real(*shape)), opsets=(25, 25)) for shape in ((5,), (1, 5), (3, 1, 5), (2, 3, 1, 5))),
    *(case((Q, K, V, real(*shape)), follows="reference") for shape in ((1, 5), (5,))),
    case((Q, K, V, real(4, 1)), follows="reference", opsets=(24, 25)),
    # onnx.reference masks only the first query where the mask has one row.
    case((Q, K, V, real(1, 5)), {"is_causal": 1}, "onnxruntime", opsets=(25, 25)),
    case((Q, K, V, None, *PAST)),
    case((Q, K, V, real(4, 7), *PAST), {"is_causal": 1, "softcap": 2.0}, "onnxruntime"),
    case((real(2, 6, 4, 8), real(2, 2, 5, 8), real(2, 2, 5, 4)), {"is_causal": 1}),
    case((real(2, 4, 24), real(2, 5, 8), real(2, 5, 10)), {"q_num_heads": 6, "kv_num_heads": 2}),
    case(
        (real(2, 4, 24), real(2, 5, 8), real(2, 5, 10), None, real(2, 2, 3, 4), real(2, 2, 3, 5)),
        {"q_num_heads": 6, "kv_num_heads": 2, "is_causal": 1},
    ),
    *(
        Case("Attention", (Q, K, V, mask, None, None, i64(*lengths)), {"is_causal": causal}, opsets=(24, 25))
        for mask, lengths in ((None, (3, 5)), (real(4, 5), (3, 0)))
        for causal in (0, 1)
    ),
    Case("Attention", (Q, K, V, real(4, 3), None, None, i64(3, 2)), opsets=(24, 25), follows="reference"),
    *(Case("Attention", (Q, K, V), {"softmax_precision": p}, rtol=1e-3, atol=1e-3) for p in (1, 10, 11)),
    case((Q, K, V), {"left_window_size": 1, "right_window_size": 0}),
    case((Q, K, V, real(1, 5)), {"left_window_size": 1, "right_window_size": 2, "is_causal": 1}),
    case((Q, K, V, real(7), *PAST), {"left_window_size": 1}),
    Case("Attention", (Q, K, V, None, None, None, i64(3, 5)), {"left_window_size": 1, "is_causal": 1}),
    case(tuple(a.astype(np.float16) for a in (Q, K, V)), **HALF),
    case(tuple(a.astype(np.float64) for a in (Q, K, V))),
    case((Q, K, V, np.ones((4, 5), np.int64)), follows="reference"),
    case((Q[:0], K[:0], V[:0]), follows="reference"),
    case((Q[:, :, :0], K, V), follows="reference"),
    *(
        Case("FlexAttention", inputs, attributes, domain="ai.onnx.preview", opsets=(1, 1), follows="reference", **near)
        for inputs, attributes, near in (
            ((real(2, 4, 3, 8), real(2, 2, 5, 8), real(2, 2, 5, 6)), {}, {}),
            ((Q, K, V), {"scale": 0.7}, {}),
            (tuple(a.astype(np.float16) for a in (Q, K, V)), {}, HALF),
            ((Q, K, V), {"softmax_precision": 10}, HALF),
        )
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_a_query_without_keys_gives_zeros():
    y, *_ = run("Attention", (Q, K[:, :, :0], V[:, :, :0]), 2, opset=23)
    np.testing.assert_array_equal(y, np.zeros((2, 3, 4, 6), np.float32), strict=True)


def test_the_mask_of_one_key_broadcasts_at_first():
    mask = np.float32([[3], [-np.inf], [0], [-1]])
    (y,) = run("Attention", (Q, K, V, mask, *PAST), opset=23)
    (wanted,) = run("Attention", (Q, K, V, mask.repeat(7, 1), *PAST), opset=23)
    np.testing.assert_array_equal(y, wanted)


def test_a_mask_with_too_few_keys_is_an_error_at_first():
    with pytest.raises(QEngineError, match="does not broadcast"):
        run("Attention", (Q, K, V, real(4, 3)), opset=23)


def test_an_infinite_score_that_is_masked_does_not_take_part():
    k = K.copy()
    k[0, 0, 1] = 3e38
    q = np.abs(Q) * 1e3
    (y,) = run("Attention", (q, k, V, np.arange(5) != 1), opset=23)
    (wanted,) = run("Attention", (q, np.delete(k, 1, 2), np.delete(V, 1, 2)), opset=23)
    np.testing.assert_allclose(y, wanted, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("inputs", "attributes", "message"),
    [
        ((Q, K, V), {"scale": -1.0}, "scale -1.0 must be 0 or more"),
        ((Q, K, V), {"softcap": -1.0}, "softcap -1.0 must be 0 or more"),
        ((Q, K, V), {"qk_matmul_output_mode": 7}, "is not 0, 1, 2 or 3"),
        ((Q, K, V), {"softmax_precision": 7}, "softmax_precision 7 is not a type"),
        ((Q, K, V), {"q_num_heads": 2}, "q_num_heads is 2, the input has 3 heads"),
        ((Q, K, V), {"left_window_size": -2}, "must be -1 or more"),
        ((Q, K, V, None, PAST[0]), {}, "must be given together"),
        ((Q, K, V, None, *PAST, i64(1, 2)), {}, "must not be given together"),
        ((Q, K, V, None, None, None, i64(6, 1)), {}, "must hold a number from 0 to 5"),
        ((Q, K, V, None, None, None, i64(2)), {}, "must be [2]"),
        ((real(2, 5, 4, 8), real(2, 2, 5, 8), real(2, 2, 5, 8)), {}, "must be a multiple of the 2 heads"),
        ((real(2, 4, 24), real(2, 5, 8), real(2, 5, 8)), {}, "need the attributes q_num_heads"),
        ((real(2, 4, 24),) * 3, {"q_num_heads": 5, "kv_num_heads": 5}, "does not split into 5 heads"),
        ((Q, K, V, real(3, 5)), {}, "does not broadcast to [2, 3, 4, 5]"),
        ((Q, K, V, real(1, 2, 3, 4, 5)), {}, "more than 4 axes"),
        ((Q, K[..., :7], V), {}, "do not fit"),
    ],
    ids=lambda value: value.replace(" ", "_")[:30] if isinstance(value, str) else "",
)
def test_what_onnx_does_not_allow_is_an_error(inputs, attributes, message):
    with pytest.raises(QEngineError) as caught:
        run("Attention", inputs, opset=25, **attributes)
    assert "node 'node' (Attention)" in str(caught.value)
    # onnx's own inference refuses some of them first.
    assert message in str(caught.value) or "cannot run" in str(caught.value)


def test_a_result_that_is_too_large_is_refused_before_it_is_made():
    q = np.zeros((1, 1, 1 << 16, 1), np.float32)
    with pytest.raises(QEngineError, match="more than 1,073,741,824 elements"):
        run("Attention", (q, q, q), opset=23)


def test_a_mask_of_another_opset_is_refused():
    with pytest.raises(ModelError, match="Attention takes"):
        run("Attention", (Q, K, V, None, None, None, i64(3, 5)), opset=23)
