"""Softmax, its logarithm and normalizations of rows of codes, in Python's integers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .codes import Codes, Fmt, Options, object_array, round_fraction, scaled
from .functions import exp, log


def near(v: Fraction) -> int:
    return round_fraction(v, "half_even")


def softmax_row(row, n: int) -> list[Fraction]:
    powers = [near(exp(scaled(x - max(row), -n)) * 2**30) for x in row]
    return [Fraction(e, sum(powers)) for e in powers]


def log_softmax_row(row, n: int) -> list[Fraction]:
    total = sum(near(exp(scaled(x - max(row), -n)) * 2**30) for x in row)
    p = total.bit_length() - 1
    m = total // 2 ** (p - 30)
    begin = m // 2**22
    t = (m - begin * 2**22) * 2**36 // (begin * 2**22)
    t2 = t * t // 2**36
    t3 = t2 * t // 2**36
    logarithm = near(log(Fraction(2)) * 2**36) * (p - 30) + near(log(Fraction(begin, 256)) * 2**36)
    logarithm += (6 * t - 3 * t2 + 2 * t3) // 6
    return [scaled(x - max(row), -n) - Fraction(logarithm, 2**36) for x in row]


def standard_row(row, fmt: Fmt, measure: str, epsilon: float) -> list[Fraction]:
    """Each element about the mean over the root, a multiple of 2^-24."""
    count = 1 if measure == "norm" else len(row)
    centred = measure in ("variance", "deviation")
    s1 = sum(row) if centred else 0
    m = s1 // count
    r = s1 - m * count
    t = sum((x - m) ** 2 for x in row) if centred else sum(x * x for x in row)
    e = near(Fraction(epsilon) * count**2 * Fraction(4) ** fmt.n) if measure in ("variance", "squares") else 0
    k = max(t.bit_length() + count.bit_length() - 61, 0, e.bit_length() - 61)
    k += k % 2
    a = count * (t >> k) - ((r * r) >> k) + (e >> k)
    w = min(30, 62 - fmt.bits - (len(row) - 1).bit_length())
    if a == 0:
        return [Fraction(0)] * len(row)
    s = 0
    while a << (s + 2) < 1 << 62:
        s += 2
    reciprocal = 2 ** (w + 30) // math.isqrt(a << s)
    shift = min(w + 6 + (k - s) // 2, 62)
    return [Fraction(((count * x - s1) * reciprocal + 2 ** (shift - 1)) >> shift, 2**24) for x in row]


def over_rows(x: Codes, axes, fmt: Fmt, opt: Options, row, n=None, finish=lambda _, v: v) -> Codes:
    """The function `row` of the codes along some axes, of n fraction bits or quotients; `finish` takes an index too."""
    data, groups = x.exact(), {}
    for i in np.ndindex(x.shape):
        groups.setdefault(tuple(j for a, j in enumerate(i) if a not in axes), []).append(i)
    y = object_array(x.shape)
    for members in groups.values():
        for i, v in zip(members, row([int(data[i]) for i in members]), strict=True):
            y[i] = opt.requantize(scaled(finish(i, v), fmt.n), fmt, 0 if n is None else n - fmt.n)
    return Codes(y, fmt)


def softmax(x: Codes, axis: int, flatten: bool, fmt: Fmt, opt: Options, logarithm: bool = False) -> Codes:
    axis %= len(x.shape)
    axes = set(range(axis, len(x.shape))) if flatten else {axis}
    if not logarithm:
        return over_rows(x, axes, fmt, opt, lambda row: softmax_row(row, x.fmt.n))
    return over_rows(x, axes, fmt, opt, lambda row: log_softmax_row(row, x.fmt.n), max(36, x.fmt.n))


def normalize(
    x: Codes, axes, measure: str, epsilon: float, gain: Codes | None, offset, fmt: Fmt, opt: Options
) -> Codes:
    """A normalization; gain and offset broadcast to x, the offset real numbers that are constant."""
    gains = None if gain is None else np.broadcast_to(gain.codes, x.shape)
    bits = 24 + (0 if gain is None else gain.fmt.n)
    offsets = None if offset is None else np.broadcast_to(offset, x.shape)

    def finish(i, v):
        v = v if gains is None else v * scaled(int(gains[i]), -gain.fmt.n)
        return v if offsets is None else v + scaled(near(scaled(Fraction(float(offsets[i])), bits)), -bits)

    return over_rows(x, set(axes), fmt, opt, lambda row: standard_row(row, x.fmt, measure, epsilon), bits, finish)
