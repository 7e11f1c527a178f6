import numpy as np
import pytest
import scipy.special
from model.contrib.cases import Draws, RuntimeCase, each, refused, scalar

from qengine.errors import ModelError, UnsupportedError

DRAWS = Draws(2)
real, codes, bits = DRAWS.real, DRAWS.codes, DRAWS.bits


BATCH, QUERIES, KEYS, PAST = 2, 4, 5, 3
ENDS = np.array([3, 4], np.int32)


def attention(*inputs, outputs=(True,), **attributes):
    return RuntimeCase("Attention", inputs, {"num_heads": 2, **attributes}, outputs)


def of_itself(unidirectional):
    """Return cases of Attention; every input and attribute is there once, and left out once."""
    x, w, b, past = real(BATCH, QUERIES, 6), real(6, 24), real(24), real(2, BATCH, 2, PAST, 4)
    flag = {"unidirectional": unidirectional}
    both = (True, True)
    yield attention(x, w, b, **flag)
    yield attention(x, w, **flag, scale=0.3)
    yield attention(x, w, b, outputs=both, **flag)
    yield attention(x[:0], w, b, **flag)
    yield attention(x, w, b, ENDS, **flag)
    yield attention(x, w, b, np.array([3, 4, 1, 0], np.int32), **flag)
    yield attention(x, w, b, np.array([3, 4, 0, 4, 8, 0, 4, 8], np.int32), **flag)
    yield attention(x, w, b, bits(BATCH, QUERIES), **flag)
    yield attention(x, w, b, np.array([[0, 0, 0, 0], [1, 2, 0, -1]], np.int32), mask_filter_value=-50.0, **flag)
    yield attention(x, w, b, bits(BATCH, QUERIES, QUERIES), **flag)
    yield attention(x, w, b, None, past, outputs=both, **flag)
    yield attention(x, w, b, bits(BATCH, QUERIES + PAST), past, outputs=both, **flag)
    yield attention(x, w, b, bits(BATCH, QUERIES, QUERIES + PAST), past, outputs=both, **flag)
    for shape in ((BATCH, 2), (1, 2), (1, 1)):
        yield attention(x, w, b, None, None, real(*shape, QUERIES, QUERIES), **flag)
    yield attention(x, w, b, bits(BATCH, QUERIES), None, real(BATCH, 1, QUERIES, QUERIES), **flag)
    yield attention(x, real(6, 28), real(28), ENDS, qkv_hidden_sizes=[8, 8, 12], **flag)


def quantized(unidirectional):
    b, past = real(24), real(2, BATCH, 2, PAST, 4)
    for dtype, zeros in ((np.int8, (128, 3)), (np.int8, None), (np.uint8, (120, 120))):
        x, w = codes(np.uint8, BATCH, QUERIES, 6), codes(dtype, 6, 24)
        points = (None, None) if zeros is None else (scalar(zeros[0], np.uint8), scalar(zeros[1], dtype))
        inputs = (x, w, b, scalar(0.02), scalar(0.01), ENDS, *points)
        yield RuntimeCase("QAttention", inputs, {"num_heads": 2, "unidirectional": unidirectional})
    per_column = (0.01 * np.abs(real(24)), None, scalar(128, np.uint8), np.zeros(24, np.int8), past)
    inputs = (codes(np.uint8, BATCH, QUERIES, 6), codes(np.int8, 6, 24), b, scalar(0.02), *per_column)
    attributes = {"num_heads": 2, "unidirectional": unidirectional}
    yield RuntimeCase("QAttention", inputs, attributes, (True, True), constants=(1, 2, 4))


def across(*inputs, outputs=(True,), **attributes):
    return RuntimeCase("MultiHeadAttention", inputs, {"num_heads": 2, **attributes}, outputs)


def of_others(unidirectional):
    """Return cases of MultiHeadAttention; every input and attribute is there once, and left out once."""
    q, k, v = real(BATCH, QUERIES, 8), real(BATCH, KEYS, 8), real(BATCH, KEYS, 8)
    heads, past = (BATCH, 2, KEYS, 4), (real(BATCH, 2, PAST, 4), real(BATCH, 2, PAST, 4))
    flag = {"unidirectional": unidirectional}
    three = (True, True, True)
    yield across(q, k, v, **flag)
    yield across(q, k, v, unidirectional=2 * unidirectional)
    yield across(q, k, v, real(24), outputs=three, **flag)
    yield across(q, k, real(BATCH, KEYS, 12), real(28), scale=0.2, **flag)
    yield across(q, k, v, None, np.array([3, 5], np.int32), **flag)
    yield across(q, k, v, None, bits(BATCH, KEYS), mask_filter_value=-20.0, **flag)
    yield across(q, k, v, None, bits(BATCH, QUERIES, KEYS), **flag)
    for shape in ((BATCH, 2), (1, 2), (1, 1)):
        yield across(q, k, v, None, None, real(*shape, QUERIES, KEYS), **flag)
    yield across(q, k, v, real(24), None, None, *past, outputs=three, **flag)
    yield across(q, k, v, None, bits(BATCH, KEYS + PAST), None, *past, outputs=three, **flag)
    yield across(q, real(*heads), real(*heads), **flag)
    yield across(q, real(*heads), real(*heads), real(24), **flag)
    yield across(q, k, v, real(24), outputs=(True, False, False, True), **flag)


def packed(*, queries):
    """Return a case that packs keys and values, or queries too, into one tensor, beside the same apart."""
    q, k, v = (DRAWS.rng.normal(size=(BATCH, KEYS, 2, 4)) for _ in range(3))
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / 2.0
    y = np.einsum("bhqk,bkhd->bqhd", scipy.special.softmax(scores, -1), v).reshape(BATCH, KEYS, 8)
    whole = np.stack([q, k, v] if queries else [k, v], 3).astype(np.float32)
    inputs = (whole,) if queries else (q.reshape(BATCH, KEYS, 8).astype(np.float32), whole)
    return RuntimeCase("MultiHeadAttention", inputs, {"num_heads": 2}, expected=(y.astype(np.float32),))


def rotations():
    for interleaved in (0, 1):
        for places in (np.array([0]), np.array(2), DRAWS.rng.integers(0, 10, (2, 4))):
            flag = {"interleaved": interleaved}
            partly = {**flag, "num_heads": 2, "rotary_embedding_dim": 4}
            yield RuntimeCase("RotaryEmbedding", (real(2, 4, 16), places, real(12, 4), real(12, 4)), flag)
            yield RuntimeCase("RotaryEmbedding", (real(2, 2, 4, 8), places, real(12, 4), real(12, 4)), flag)
            yield RuntimeCase("RotaryEmbedding", (real(2, 4, 16), places, real(12, 2), real(12, 2)), partly)
    inputs = (real(2, 4, 16), DRAWS.rng.integers(0, 10, (2, 4)), real(12, 4), real(12, 4))
    yield RuntimeCase("RotaryEmbedding", inputs, {"interleaved": 2})
    yield RuntimeCase("RotaryEmbedding", inputs, {"scale": 2.0})


CASES = [
    *(case for flag in (0, 1) for kind in (of_itself, quantized, of_others) for case in kind(flag)),
    packed(queries=True),
    packed(queries=False),
    *rotations(),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


X, W = real(BATCH, QUERIES, 6), real(6, 24)
REFUSED = {
    "rotary": (attention(X, W, do_rotary=1), "do_rotary", UnsupportedError),
    "shared buffer": (attention(X, W, past_present_share_buffer=1), "past_present_share_buffer", UnsupportedError),
    "mask of 4 axes": (attention(X, W, None, np.ones((2, 1, 4, 4), np.int32)), "4 axes", UnsupportedError),
    "no heads": (attention(X, W, num_heads=0), "num_heads is 0", ModelError),
    "sizes": (attention(X, W, qkv_hidden_sizes=[8, 8]), "[8, 8]", ModelError),
    "sizes of heads": (attention(X, W, qkv_hidden_sizes=[8, 7, 9]), "multiples of 2", ModelError),
    "heads": (attention(X, W, num_heads=3), "", ModelError),
    "mask": (attention(X, W, None, np.ones((2, 9), np.int32)), "", ModelError),
    "past": (across(X, X, X, None, None, None, real(2, 2, 3, 3)), "give both", ModelError),
    "packed": (across(X), "has 5", ModelError),
    "ragged": (
        RuntimeCase("RotaryEmbedding", (X, np.zeros((2, 4), np.int64), W, W), {"is_packed_batching": 1}),
        "is_packed_batching",
        UnsupportedError,
    ),
    "places": (
        RuntimeCase("RotaryEmbedding", (real(2, 4, 16), np.full((2, 4), 7), real(3, 4), real(3, 4)), constants=()),
        "",
        ModelError,
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind):
    case, word, error = REFUSED[kind]
    refused(case, word, error=error)
