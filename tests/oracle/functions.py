"""Functions of one variable as tables.

`unary` gives (value, exact): the value as a Fraction, and whether float64 reaches it without error, so that a tie is a
tie for everyone.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

from .codes import Ambiguous, Codes, Fmt, Options, object_array, overflow_code, round_fraction, scaled

PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
CTX = Context(prec=60, Emin=-(10**9), Emax=10**9)


def to_decimal(v: Fraction) -> Decimal:
    return CTX.divide(Decimal(v.numerator), Decimal(v.denominator))


def exp(v: Fraction) -> Fraction:
    if v < -2000:
        return Fraction(1, 2**2000)  # exp(-2000) < 2^-2000: zero for every format, yet not zero
    if v > 20000:
        raise Ambiguous("exp far beyond float64")
    return Fraction(CTX.exp(to_decimal(v)))


def log(v: Fraction) -> Fraction:
    return Fraction(CTX.ln(to_decimal(v)))


def sqrt(v: Fraction) -> Fraction:
    return Fraction(CTX.sqrt(to_decimal(v)))


def erf(v: Fraction) -> Fraction:
    if abs(v) > 12:
        tail = 1 - Fraction(1, 2**200)  # 1 - erf(12) < 2^-200
        return tail if v > 0 else -tail
    # 2/sqrt(pi) * sum (-1)^k v^(2k+1) / (k! (2k+1)); the terms reach e^144, so carry 250 bits more.
    bits = 512
    x = round(v * 2**bits)
    x2 = (x * x) >> bits
    term, total, k = x, x, 0
    while term:
        k += 1
        term = -((term * x2) >> bits) // k
        if term == -1:
            term = 0
        total += term // (2 * k + 1)
    return Fraction(total, 2**bits) * 2 / sqrt(PI)


def tanh(v: Fraction) -> Fraction:
    e = exp(-2 * abs(v))
    t = (1 - e) / (1 + e)
    return t if v >= 0 else -t


def sigmoid(v: Fraction) -> Fraction:
    e = exp(-abs(v))
    return 1 / (1 + e) if v >= 0 else e / (1 + e)


def clamp01(v: Fraction) -> Fraction:
    return min(max(v, Fraction(0)), Fraction(1))


def unary(op: str, v: Fraction, attrs: dict) -> tuple[Fraction, bool]:
    a = Fraction(attrs["alpha"]) if isinstance(attrs.get("alpha"), float) else None
    zero = v == 0
    if op == "Abs":
        return abs(v), True
    if op == "Neg":
        return -v, True
    if op == "Floor":
        return Fraction(math.floor(v)), True
    if op == "Ceil":
        return Fraction(math.ceil(v)), True
    if op == "LeakyRelu":
        return (v if v >= 0 else a * v), True
    if op == "HardSigmoid":
        return clamp01(a * v + Fraction(attrs["beta"])), True
    if op == "HardSwish":
        exact = v <= -3 or v >= 3 or zero
        return v * clamp01(v / 6 + Fraction(1, 2)), exact  # 1/6 is not exact in float64
    if op == "Softsign":
        return v / (1 + abs(v)), True  # one exact sum and one division: as for Sqrt
    if op == "Sqrt":
        if v < 0:
            raise Ambiguous("the square root of a negative value")
        # Correctly rounded in float64, and an irrational root is never that close to a tie.
        return sqrt(v), True
    if op == "Pow":
        if attrs["exponent"] == 0.5:
            return unary("Sqrt", v, {})
        return v ** int(attrs["exponent"]), attrs["exponent"] in (2, 3)
    if op == "Exp":
        return (Fraction(1), True) if zero else (exp(v), False)
    if op == "Log":
        if v <= 0:
            raise Ambiguous("the logarithm of a value that is not positive")
        return (Fraction(0), True) if v == 1 else (log(v), False)
    if op == "Sigmoid":
        return (Fraction(1, 2), True) if zero else (sigmoid(v), False)
    if op == "Tanh":
        return (Fraction(0), True) if zero else (tanh(v), False)
    if op == "Erf":
        return (Fraction(0), True) if zero else (erf(v), False)
    if op == "Softplus":
        return (max(v, Fraction(0)) + log(1 + exp(-abs(v)))), False
    if op == "Elu":
        return (v, True) if v >= 0 else (a * (exp(v) - 1), False)
    raise Ambiguous(op)


UNARY = (
    *("Abs", "Ceil", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu"),
    *("Log", "Neg", "Pow", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh"),
)
NEAR = Fraction(1, 10**9)


def acceptable(v: Fraction, exact: bool, fmt: Fmt, opt: Options, tolerance=NEAR) -> frozenset[int]:
    """The codes that a float64 evaluation of v (in units of the output's step) may give."""
    if exact:
        return frozenset({opt.requantize(v, fmt)})
    tolerance = max(tolerance, abs(v) / 2**46)
    # No function here crosses zero by a rounding error.
    low = round_fraction(max(v - tolerance, 0) if v > 0 else v - tolerance, opt.rounding)
    high = round_fraction(min(v + tolerance, 0) if v < 0 else v + tolerance, opt.rounding)
    if high - low > 3 and opt.overflow == "wrap":
        raise Ambiguous("the low bits of a value beyond the precision of float64")
    if high - low > 3 and opt.overflow == "zero":
        return frozenset(overflow_code(c, fmt, "zero") for c in (low, high))
    if opt.overflow in ("saturate", "symmetric"):
        middle = round_fraction(v, opt.rounding)
        return frozenset(overflow_code(c, fmt, opt.overflow) for c in (low, middle, high))
    return frozenset(overflow_code(c, fmt, opt.overflow) for c in range(low, high + 1))


def table(x: Codes, op: str, attrs: dict, fmt: Fmt, opt: Options) -> Codes:
    data = x.exact()
    entries: dict[int, tuple[int, frozenset[int]]] = {}
    y, opened = object_array(x.shape), {}
    for flat, i in enumerate(np.ndindex(x.shape)):
        code = data[i]
        if code not in entries:
            v, exact = unary(op, scaled(code, -x.fmt.n), attrs)
            v = scaled(v, fmt.n)
            entries[code] = (opt.requantize(v, fmt), acceptable(v, exact, fmt, opt))
        y[i], allowed = entries[code]
        if len(allowed) > 1:
            opened[flat] = allowed
    return Codes(y, fmt, opened)
