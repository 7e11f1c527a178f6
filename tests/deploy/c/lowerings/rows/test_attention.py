"""Attention in C: the codes of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from deploy.c.running import SANITIZED, differences, needs_gcc
from networks import network

from qengine import InferenceSession

pytestmark = needs_gcc


def attention(q, k, v=None, mask=None, options=None, known=(), **attributes):
    """A session with one node, and feeds: random ones, and all at the ends."""
    rng = np.random.default_rng(3)
    arrays = {
        name: 3 * rng.standard_normal(s).astype(np.float32) for name, s in zip("qkv", (q, k, v or k), strict=True)
    }
    if mask is not None:
        arrays["mask"] = mask
    feeds = {name: a for name, a in arrays.items() if name not in known}
    model = network(
        [("Attention", " ".join(arrays), "y", attributes)],
        inputs={name: (a.dtype, list(a.shape)) for name, a in feeds.items()},
        constants={name: a for name, a in arrays.items() if name in known},
        opset=24,
    )
    session = InferenceSession(model, isa="reference", strict=True, **{"qformat": "Q3.4", **(options or {})})
    ends = [{n: a if a.dtype == bool else np.full_like(a, end) for n, a in feeds.items()} for end in (-100, 100)]
    signs = {n: np.where(rng.random(a.shape) < 0.5, -50, 50).astype(a.dtype) for n, a in feeds.items()}
    return session, [feeds, signs, *ends]


def chosen(*shape):
    mask = np.random.default_rng(5).random(shape) < 0.6
    mask[..., 0, :] = False
    return mask


def added(*shape):
    return np.where(chosen(*shape), np.random.default_rng(5).standard_normal(shape), -np.inf).astype(np.float32)


FOUR, KEYS, MASK = (2, 6, 9, 16), (2, 6, 11, 16), (2, 1, 9, 11)
HEADS = {"q_num_heads": 6, "kv_num_heads": 6}
WIDE = {"qformat": "Q3.12"}
CASES = {
    "four axes": attention(FOUR, KEYS),
    "16 bits": attention(FOUR, KEYS, options=WIDE),
    "other size of values": attention(FOUR, KEYS, (2, 6, 11, 5), scale=0.3, options={"rounding": "floor"}),
    "shared keys": attention(FOUR, (2, 2, 11, 16), options={"overflow": "wrap", "rounding": "away"}),
    "three axes": attention((2, 9, 48), (2, 11, 48), **HEADS),
    "three axes, shared keys": attention((2, 9, 48), (2, 11, 16), q_num_heads=6, kv_num_heads=2, options=WIDE),
    "causal": attention(FOUR, KEYS, is_causal=1),
    "causal, fewer keys": attention(FOUR, (2, 6, 5, 16), is_causal=1),
    "codes": attention(FOUR, KEYS, mask=added(*MASK)),
    "codes of heads": attention(FOUR, KEYS, mask=added(6, 9, 11), options=WIDE),
    "codes, unsigned": attention(FOUR, KEYS, mask=added(*MASK), options={"formats": {"mask": "UQ2.6"}}),
    "codes, fine": attention(FOUR, KEYS, mask=added(9, 11), options={"formats": {"mask": "Q-5.20"}}),
    "codes, coarse": attention(FOUR, KEYS, mask=added(9, 11), options={"formats": {"mask": "Q12.-5"}}),
    "constant": attention(FOUR, KEYS, mask=added(9, 11), known=("mask",)),
    "constant booleans": attention(FOUR, KEYS, mask=chosen(9, 11), known=("mask",)),
    "booleans": attention(FOUR, KEYS, mask=chosen(*MASK)),
    "booleans and causal": attention(FOUR, KEYS, mask=chosen(*MASK), is_causal=1),
    "queries": attention(FOUR, KEYS, mask=added(2, 1, 1, 11)),
    "fine results": attention(FOUR, KEYS, options={"formats": {"y": "Q-12.27", "v": "Q5.2"}, "overflow": "wrap"}),
    "coarse results": attention(FOUR, KEYS, options={"formats": {"y": "Q9.-2", "v": "Q-2.9"}, "rounding": "ceil"}),
    "one key": attention((1, 1, 1, 1), (1, 1, 1, 1)),
    "scale 0": attention(FOUR, KEYS, scale=0.0),
    "large scale": attention(FOUR, KEYS, scale=900.0, options=WIDE),
}


def test_codes_are_those_of_the_reference(tmp_path):
    assert differences(list(CASES.values()), tmp_path) == []


@pytest.mark.exhaustive
def test_nothing_is_undefined(tmp_path):
    names = ["16 bits", "codes, coarse", "constant", "fine results", "large scale"]
    assert differences([CASES[name] for name in names], tmp_path, SANITIZED) == []
