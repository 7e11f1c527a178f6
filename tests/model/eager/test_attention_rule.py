"""Attention in fixed point: the rule, spelled with integers of Python, its error, and what it leaves to an island."""

from fractions import Fraction
from math import floor, sqrt

import numpy as np
import pytest
from networks import network

import qengine
from qengine.errors import UnsupportedError
from qengine.kernels.reference.softmax_fixed import power_table
from qengine.quantization.qdq import quantized_model

RNG = np.random.default_rng(8)
HEADS = {"q_num_heads": 4, "kv_num_heads": 2}


def real(*shape):
    return RNG.normal(0, 1.5, shape).astype(np.float32)


Q4, K4, V4 = real(2, 4, 5, 8), real(2, 4, 7, 8), real(2, 4, 7, 6)
BOOL = RNG.random((5, 7)) < 0.6
BOOL[3] = False  # all keys are masked
FLOAT = np.where(BOOL, RNG.normal(0, 1, (5, 7)), -np.inf).astype(np.float32)
CASES = {
    "plain": ({"q": Q4, "k": K4, "v": V4}, {}, {}),
    "scale": ({"q": Q4, "k": K4, "v": V4}, {}, {"scale": 0.7}),
    "causal": ({"q": Q4, "k": K4, "v": V4}, {}, {"is_causal": 1}),
    "truth values": ({"q": Q4, "k": K4, "v": V4}, {"m": BOOL}, {}),
    "numbers": ({"q": Q4, "k": K4, "v": V4}, {"m": FLOAT}, {"is_causal": 1}),
    "mask of heads": ({"q": Q4, "k": K4, "v": V4}, {"m": RNG.random((2, 4, 5, 7)) < 0.7}, {}),
    "computed mask": ({"q": Q4, "k": K4, "v": V4, "m": RNG.normal(0, 1, (2, 1, 5, 7)).astype(np.float32)}, {}, {}),
    "shared heads": ({"q": Q4, "k": K4[:, :2], "v": V4[:, :2]}, {}, {}),
    "three axes": ({"q": real(2, 5, 32), "k": real(2, 7, 16), "v": real(2, 7, 12)}, {}, HEADS),
}
FORMATS = {8: {"q": "Q3.4", "k": "Q3.4", "v": "Q3.4", "m": "Q3.4", "y": "Q2.5"}}
FORMATS["fine"] = {**FORMATS[8], "y": "Q-17.32"}  # whose results before rounding need more than 64 bits
FORMATS[16] = {"q": "Q3.12", "k": "Q3.12", "v": "Q3.12", "m": "Q3.12", "y": "Q2.13"}


def model(name, **more):
    feeds, constants, attributes = CASES[name]
    inputs = {key: (array.dtype, list(array.shape)) for key, array in feeds.items()}
    mask = " m" if "m" in {*feeds, *constants} else ""
    node = ("Attention", f"q k v{mask}", "y", {**attributes, **more})
    return network([node], inputs=inputs, constants=constants, opset=24), feeds


def formats(name, bits):
    return {key: fmt for key, fmt in FORMATS[bits].items() if key in {*CASES[name][0], "y"}}


def by_heads(x, heads):
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def oracle(name, bits):
    """Return the codes, one at a time."""
    feeds, constants, attributes = CASES[name]
    fmt = {key: qengine.QFormat.parse(one) for key, one in FORMATS[bits].items()}
    coded = {}
    for key, array in feeds.items():
        word, scaled = fmt[key].word(), np.rint(array.astype(np.float64) * 2.0 ** fmt[key].fraction_bits)
        coded[key] = np.clip(scaled, word.least, word.most).astype(np.int64).astype(object)
    q = by_heads(coded["q"], attributes.get("q_num_heads"))
    k, v = (by_heads(coded[key], attributes.get("kv_num_heads")) for key in "kv")
    batch, heads, count, size = q.shape
    scale, e = attributes.get("scale", 1 / sqrt(size)), 0
    scale = float(np.float32(scale)) if "scale" in attributes else scale
    while scale >= 1 or scale < 0.5:
        scale, e = (scale / 2, e + 1) if scale >= 1 else (scale * 2, e - 1)
    factor = round(Fraction(scale) * 2**22)
    table, n, target = power_table(12, 17), fmt["q"].fraction_bits, fmt["y"].word()
    y = np.zeros((batch, heads, count, v.shape[3]), np.int64)
    mask = constants.get("m", coded.get("m"))
    full = None if mask is None else np.broadcast_to(mask, (batch, heads, count, k.shape[2]))
    for b, h, i in np.ndindex(batch, heads, count):
        own, scores = h // (heads // k.shape[1]), {}
        for j in range(k.shape[2]):
            if attributes.get("is_causal") and j > i:
                continue
            total = sum(int(a) * int(c) for a, c in zip(q[b, h, i], k[b, own, j], strict=True))
            score = floor(Fraction(total * factor) * Fraction(2) ** (e - 22 - 2 * n + 12) + Fraction(1, 2))
            if full is not None and mask.dtype == bool:
                if not full[b, h, i, j]:
                    continue
            elif full is not None and "m" in coded:
                if full[b, h, i, j] == fmt["m"].word().least:
                    continue
                score += int(full[b, h, i, j]) << (12 - fmt["m"].fraction_bits)
            elif full is not None:
                if np.isinf(full[b, h, i, j]):
                    continue
                score += round(Fraction(float(full[b, h, i, j])) * 2**12)
            scores[j] = score
        powers = {j: int(table[min(max(scores.values()) - s, len(table) - 1)]) for j, s in scores.items()}
        for c in range(v.shape[3]):
            above = sum(p * int(v[b, own, j, c]) for j, p in powers.items())
            shift = fmt["y"].fraction_bits - fmt["v"].fraction_bits
            exact = Fraction(above, max(sum(powers.values()), 1)) * Fraction(2) ** shift
            y[b, h, i, c] = min(max(round(exact), target.least), target.most)
    return y if feeds["q"].ndim == 4 else y.transpose(0, 2, 1, 3).reshape(batch, count, -1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", CASES)
def test_codes(name, bits):
    built, feeds = model(name)
    session = qengine.InferenceSession(built, formats=formats(name, bits), strict=True)
    (codes,) = session.run(None, feeds, raw=True)
    np.testing.assert_array_equal(codes, oracle(name, bits))
    (reference,) = qengine.InferenceSession(built, formats=formats(name, bits), isa="reference").run(
        None, feeds, raw=True
    )
    np.testing.assert_array_equal(codes, reference)
    # Against real numbers: inputs are rounded, then the result.
    (found,), (exact,) = session.run(None, feeds), qengine.InferenceSession(built).run(None, feeds)
    assert np.abs(found - exact).max() < (0.4 if bits == 8 else 2e-3)
    back = qengine.InferenceSession(quantized_model(qengine.InferenceSession(built, formats=formats(name, bits))))
    np.testing.assert_array_equal(back.run(None, feeds, raw=True)[0], codes)


@pytest.mark.parametrize("isa", ["reference", None])
def test_results_of_many_fraction_bits(isa):
    built, feeds = model("plain")
    session = qengine.InferenceSession(built, formats=formats("plain", "fine"), strict=True, isa=isa)
    np.testing.assert_array_equal(session.run(None, feeds, raw=True)[0], oracle("plain", "fine"))


def test_as_an_island():
    built, feeds = model("plain")
    with pytest.raises(UnsupportedError, match="Attention"):
        qengine.InferenceSession(built, formats=formats("plain", 8), islands="softmax", strict=True).run(None, feeds)


@pytest.mark.parametrize("more", [{"softcap": 2.0}, {"scale": 1e9}])
def test_what_has_no_rule(more):
    built, feeds = model("plain", **more)
    with pytest.raises(UnsupportedError, match="strict: no fixed-point rule for node 'the_y'"):
        qengine.InferenceSession(built, formats=formats("plain", 8), strict=True).run(None, feeds)
