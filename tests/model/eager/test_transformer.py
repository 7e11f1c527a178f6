"""RotaryEmbedding, SwiGLU, TensorScatter, LinearAttention and CausalConvWithState."""

import numpy as np
import pytest
from model.eager.nodes import run
from model.ops.cases import Case, each, i64, real

from qengine.errors import QEngineError

HALF = {"rtol": 5e-3, "atol": 5e-3}
X, PACKED = real(2, 3, 4, 8), real(2, 4, 24)
IDS = np.random.default_rng(0).integers(0, 10, (2, 4))
ROTARY = [
    Case("RotaryEmbedding", (x, real(*shape), real(*shape, seed=1), *ids), attributes)
    for interleaved in (0, 1)
    for dim in (0, 4, 6)
    for x, heads in ((X, {}), (PACKED, {"num_heads": 3}))
    for shape, ids in (((2, 4, (dim or 8) // 2), ()), ((10, (dim or 8) // 2), (IDS,)))
    for attributes in [{"interleaved": interleaved, "rotary_embedding_dim": dim, **heads}]
]

CACHE = real(3, 4, 5, 6)


def scatter(axis, starts, mode, length=2):
    shape = list(CACHE.shape)
    shape[axis] = length
    inputs = (CACHE, real(*shape)) if starts is None else (CACHE, real(*shape), i64(*starts))
    return Case("TensorScatter", inputs, {"axis": axis, "mode": mode})


SCATTER = [
    scatter(axis, starts, mode)
    for axis in (-1, 1, 2, -2)
    for starts, mode in (((0, 1, 2), "linear"), ((3, 0, 2), "circular"), (None, "linear"), ((9, 0, 2), "circular"))
]
SCATTER += [
    *(
        Case("TensorScatter", (real(2, 4, 5).astype(kind), real(2, 2, 5).astype(kind)))
        for kind in (np.float16, np.int8, bool, np.uint64)
    ),
    scatter(2, (4, 0, 5), "linear", 0),
]


def recurrence(q_heads, heads, rule, past=False, decay=None, beta=None, scale=0.0):
    size, value = 4, 6
    inputs = (real(2, 5, q_heads * size), 0.3 * real(2, 5, heads * size), real(2, 5, heads * value))
    state = real(2, heads, size, value) if past else None
    gate = None if decay is None else -np.abs(real(2, 5, decay))
    rate = None if beta is None else 0.2 * np.abs(real(2, 5, beta))
    optional = [state, gate, rate]
    while optional and optional[-1] is None:
        optional.pop()
    attributes = {"q_num_heads": q_heads, "kv_num_heads": heads, "update_rule": rule, "scale": scale, "chunk_size": 2}
    inputs = tuple(a if a is None else a.astype(np.float32) for a in (*inputs, *optional))
    return Case("LinearAttention", inputs, attributes, outputs=2, rtol=1e-4, atol=1e-5)


RECURRENT = [
    case
    for q_heads, heads in ((2, 2), (4, 2), (3, 1))
    for case in (
        recurrence(q_heads, heads, "linear", scale=2.5),
        recurrence(q_heads, heads, "gated", decay=heads * 4),
        recurrence(q_heads, heads, "delta", beta=heads, past=True),
        recurrence(q_heads, heads, "gated_delta", decay=heads, beta=1),
        recurrence(q_heads, heads, "gated_delta", decay=heads * 4, beta=heads, past=True, scale=0.5),
    )
]
CONV = [
    Case("CausalConvWithState", inputs, {"activation": activation}, outputs=2)
    for activation in ("none", "silu", "swish")
    for taps in (1, 2, 4)
    for inputs in (
        (real(2, 3, 5), real(3, 1, taps)),
        (real(2, 3, 5), real(3, 1, taps), real(3), real(2, 3, taps - 1)),
        (real(2, 3, 1), real(3, 1, taps), None, real(2, 3, taps - 1)),
    )
]
NARROW = [
    Case("RotaryEmbedding", tuple(a.astype(np.float16) for a in (X, real(2, 4, 4), real(2, 4, 4))), **HALF),
    Case(
        "CausalConvWithState", (real(2, 3, 5).astype(np.float16), real(3, 1, 3).astype(np.float16)), outputs=2, **HALF
    ),
    *(
        # ONNX Runtime has no Swish.
        Case(
            "SwiGLU", (real(2, 3).astype(k), real(2, 3, seed=1).astype(k)), {"alpha": 1.7}, follows="reference", **near
        )
        for k, near in ((np.float32, {}), (np.float64, {}), (np.float16, HALF))
    ),
]


@pytest.mark.parametrize(**each([*ROTARY, *SCATTER, *RECURRENT, *CONV, *NARROW]))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_no_positions():
    attributes = {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "linear"}
    y, state = run("LinearAttention", (real(2, 0, 8),) * 3, 2, opset=27, **attributes)
    assert y.shape == (2, 0, 8)
    np.testing.assert_array_equal(state, np.zeros((2, 2, 4, 4), np.float32), strict=True)
    y, state = run("CausalConvWithState", (real(2, 3, 0), real(3, 1, 3)), 2, opset=27)
    assert y.shape == (2, 3, 0)
    assert state.shape == (2, 3, 2)


ROTATED = (real(10, 4), real(10, 4))
HEADS = {"q_num_heads": 2, "kv_num_heads": 2}
ERRORS = [
    ("RotaryEmbedding", (X, *ROTATED, np.full((2, 4), 10)), {}, "out of range for 10 rows"),
    ("RotaryEmbedding", (X, *ROTATED, np.full((2, 4), -1)), {}, "out of range for 10 rows"),
    ("RotaryEmbedding", (X, *ROTATED, np.full((2, 4), 2**62)), {}, "out of range for 10 rows"),
    ("RotaryEmbedding", (X, *ROTATED, i64(3)), {}, "position_ids [1] must be [2, 4]"),
    ("RotaryEmbedding", (PACKED, real(2, 4, 4), real(2, 4, 4)), {}, "needs the attribute num_heads"),
    ("RotaryEmbedding", (X, real(2, 4, 4), real(2, 4, 3)), {}, "must be [2, 4, 4]"),
    ("RotaryEmbedding", (X, real(2, 4, 1), real(2, 4, 1)), {"rotary_embedding_dim": 3}, "cannot be rotated"),
    ("RotaryEmbedding", (X, real(2, 4, 5), real(2, 4, 5)), {"rotary_embedding_dim": 10}, "cannot be rotated"),
    ("TensorScatter", (real(2, 4, 5), real(2, 2, 5), i64(3, 0)), {}, "out of range"),
    ("TensorScatter", (real(2, 4, 5), real(2, 2, 5), i64(2**62, 0)), {}, "out of range"),
    ("TensorScatter", (real(2, 4, 5), real(2, 2, 5), i64(-1, 0)), {"mode": "circular"}, "out of range"),
    ("TensorScatter", (real(2, 4, 5), real(2, 4, 5)), {"axis": 0}, "is the batch"),
    ("TensorScatter", (real(2, 4, 5), real(2, 4, 5)), {"axis": 3}, "axis 3 is out of range"),
    ("TensorScatter", (real(2, 4, 5), real(2, 5, 5)), {}, "does not fit the cache"),
    ("TensorScatter", (real(2, 4, 5), real(2, 2, 5)), {"mode": "ring"}, "is not linear or circular"),
    ("LinearAttention", (real(2, 5, 8),) * 3, HEADS, "input 'decay' must be given"),
    ("LinearAttention", (real(2, 5, 8),) * 3, {**HEADS, "update_rule": "x"}, "is not linear, gated"),
    (
        "LinearAttention",
        (*(real(2, 5, 8),) * 3, None, real(2, 5, 3)),
        {**HEADS, "update_rule": "gated"},
        "must have 2 or 8 elements",
    ),
    (
        "LinearAttention",
        (*(real(2, 5, 8),) * 3, real(2, 2, 4, 3)),
        {**HEADS, "update_rule": "linear"},
        "past_state [2, 2, 4, 3] must be [2, 2, 4, 4]",
    ),
    ("CausalConvWithState", (real(2, 3, 5), real(3, 1, 3)), {"activation": "relu"}, "is not none, silu or swish"),
    ("CausalConvWithState", (real(2, 3, 5), real(3, 1, 3), None, real(2, 3, 3)), {}, "past_state [2, 3, 3] must be"),
    ("SwiGLU", (real(2, 3), real(3)), {}, "must have the same shape"),
]
TWO = ("LinearAttention", "CausalConvWithState")
OPSETS = {"RotaryEmbedding": 23, "TensorScatter": 24, "SwiGLU": 28}


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"), ERRORS, ids=[f"{i}-{one[0]}" for i, one in enumerate(ERRORS)]
)
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, attributes, message):
    with pytest.raises(QEngineError) as caught:
        run(operator, inputs, 1 + (operator in TWO), opset=OPSETS.get(operator, 27), **attributes)
    # onnx's own inference refuses some of them first.
    assert message in str(caught.value) or "cannot run" in str(caught.value)
