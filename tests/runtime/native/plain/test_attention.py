"""Attention in plain order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas

from qengine import InferenceSession

NAMES = ("q", "k", "v", "mask", "past_key", "past_value")


def attention(q, k, v=None, mask=None, past=None, outputs="y", opset=24, constant=False, **attributes):
    rng = np.random.default_rng(3)
    v = v or k
    shapes = {"q": q, "k": k, "v": v} | (
        {"past_key": past, "past_value": (*past[:3], v[-1] if len(v) == 4 else past[3])} if past else {}
    )
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if mask is not None:
        feeds["mask"] = mask
    model = network(
        [("Attention", " ".join(name if name in feeds else "-" for name in NAMES).rstrip(" -"), outputs, attributes)],
        inputs={n: (a.dtype, list(a.shape)) for n, a in feeds.items() if not (constant and n == "mask")},
        outputs=[name for name in outputs.split() if name != "-"],
        constants={"mask": feeds["mask"]} if constant else {},
        opset=opset,
    )
    if constant:
        del feeds["mask"]
    return PlainCase(model, feeds, "softmax", 3e-6)


def chosen(shape, seed=5):
    mask = np.random.default_rng(seed).random(shape) < 0.6
    mask[..., 0, :] = False
    return mask


def added(shape, seed=5):
    return np.where(chosen(shape, seed), np.random.default_rng(seed).standard_normal(shape), -np.inf).astype(np.float32)


FOUR, KEYS = (2, 6, 9, 16), (2, 6, 11, 16)
HEADS = {"q_num_heads": 6, "kv_num_heads": 6}
CASES = {
    "four axes": attention(FOUR, KEYS),
    "other size of values": attention(FOUR, KEYS, (2, 6, 11, 5), scale=0.3),
    "shared keys": attention(FOUR, (2, 2, 11, 16)),
    "three axes": attention((2, 9, 48), (2, 11, 48), **HEADS),
    "three axes, shared keys": attention((2, 9, 48), (2, 11, 16), q_num_heads=6, kv_num_heads=2),
    "causal": attention(FOUR, KEYS, is_causal=1),
    "a window": attention(FOUR, KEYS, opset=25, left_window_size=2, right_window_size=1),
    "a mask of numbers": attention(FOUR, KEYS, mask=added((2, 1, 9, 11))),
    "a mask of heads": attention(FOUR, KEYS, mask=added((6, 9, 11))),
    "a mask of keys": attention(FOUR, KEYS, mask=added((2, 1, 2, 11))[:, :, 1:]),
    "a constant mask": attention(FOUR, KEYS, mask=added((9, 11)), constant=True),
    "a mask of booleans": attention(FOUR, KEYS, mask=chosen((2, 1, 9, 11))),
    "a mask and causal": attention(FOUR, KEYS, mask=chosen((2, 1, 9, 11)), is_causal=1),
    "a mask of queries": attention(FOUR, KEYS, mask=added((9, 1)), opset=23),
    "a mask of some keys": attention(FOUR, KEYS, mask=added((2, 1, 9, 7))),
    "a mask of some keys, causal": attention(FOUR, KEYS, mask=chosen((9, 7)), is_causal=1),
    "a cache": attention(FOUR, KEYS, past=(2, 6, 5, 16), outputs="y pk pv"),
    "a cache, causal": attention(FOUR, (2, 6, 9, 16), past=(2, 6, 5, 16), is_causal=1),
    "a cache, three axes": attention((2, 9, 48), (2, 11, 48), past=(2, 6, 5, 8), outputs="y pk pv", **HEADS),
    "present keys": attention((2, 9, 48), (2, 11, 48), outputs="y pk pv", **HEADS),
    "softcap": attention(FOUR, KEYS, softcap=1.5),
    "softcap and a mask": attention(FOUR, KEYS, softcap=1.5, mask=added((2, 1, 9, 11))),
    **{
        f"output of mode {mode}{'' if cap is None else ', softcap'}": attention(
            FOUR,
            KEYS,
            mask=np.random.default_rng(0).standard_normal((9, 11)).astype(np.float32),
            outputs="y - - s",
            qk_matmul_output_mode=mode,
            **({} if cap is None else {"softcap": cap}),
        )
        for mode in range(4)
        for cap in (None, 2.0)
    },
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads):
    check(attention((2, 70, 96), (2, 80, 96), **HEADS), ISAS[0], threads)


def test_masked_keys_do_not_take_part_even_if_they_are_not_numbers():
    mask = chosen((2, 1, 9, 11))
    mask[..., 3] = False
    case = attention(FOUR, KEYS, mask=mask)
    case.feeds["k"][:, :, 3] = np.nan
    case.feeds["v"][:, :, 3] = 0.0
    check(case, ISAS[0], threads=1)


def test_attention_of_codes_has_the_codes_of_the_reference():
    model = network([("Attention", "q k v", "y")], inputs={name: [1, 2, 5, 8] for name in "qkv"}, opset=23)
    feeds = {name: np.random.default_rng(i).standard_normal((1, 2, 5, 8), np.float32) for i, name in enumerate("qkv")}
    found = [
        InferenceSession(model, qformat="Q2.5", isa=isa).run(None, feeds, raw=True)[0] for isa in ("reference", None)
    ]
    assert np.array_equal(*found)
