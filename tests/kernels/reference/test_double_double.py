from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qengine.kernels.reference import double_double as dd

reals = st.floats(1e-60, 1e60).map(lambda v: v) | st.floats(-1e60, -1e-60)
pairs = st.builds(lambda a, b: dd.two_sum(a, a * b), reals, st.floats(-(2.0**-54), 2.0**-54))
CLOSE = Fraction(1, 2**98)


def exact(p):
    return Fraction(float(p[0])) + Fraction(float(p[1]))


def normal(p):
    return p[0] + p[1] == p[0]


@given(reals, reals)
def test_sums_and_products_of_two_numbers_are_exact(a, b):
    assert exact(dd.two_sum(a, b)) == Fraction(a) + Fraction(b)
    assert exact(dd.two_product(a, b)) == Fraction(a) * Fraction(b)
    assert normal(dd.two_sum(a, b))
    assert normal(dd.two_product(a, b))


@given(pairs, pairs)
def test_operations_keep_about_100_bits(a, b):
    for got, true in [
        (dd.multiply(a, b), exact(a) * exact(b)),
        (dd.divide(a[0], b), Fraction(a[0]) / exact(b)),
        (
            dd.add(a, tuple(abs(v) * np.sign(a[0]) for v in (b[0], 0.0))),
            exact(a) + abs(Fraction(b[0])) * int(np.sign(a[0])),
        ),
    ]:
        assert normal(got)
        assert abs(exact(got) - true) <= CLOSE * abs(true)


@given(st.fractions(-1000, 1000))
def test_nearest_pair(v):
    got = dd.pair(v)
    assert normal(got)
    assert abs(exact(got) - v) <= abs(v) / 2**105


def test_polynomial():
    coefficients = [Fraction(1, 3), Fraction(-2, 7), Fraction(5), Fraction(1, 11)]
    x = np.array([0.1, -0.3, 0.5]), np.array([1e-18, 0.0, -2e-18])
    high, low = dd.polynomial(coefficients, x)
    for i, (a, b) in enumerate(zip(*x, strict=True)):
        true = sum(c * exact((a, b)) ** n for n, c in enumerate(coefficients))
        assert abs(exact((high[i], low[i])) - true) <= CLOSE * abs(true)
