import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qengine.kernels.reference import functions as f

inf, nan = np.inf, np.nan
mpmath.mp.prec = 130


def around(*edges):
    """Numbers about the places where a formula changes, and their neighbours."""
    near = [e * (1 + d) for e in edges for d in (-1e-3, -1e-9, 0, 1e-9, 1e-3)]
    both = np.array([*near, *np.nextafter(edges, inf), *np.nextafter(edges, -inf)])
    return np.concatenate([both, -both])


def sample(low, high, *edges, count=1500):
    """Even numbers, magnitudes over many powers of two, and what lies about `edges`."""
    rng = np.random.default_rng(7)
    tiny = np.exp(rng.uniform(-60, np.log(high), count))
    x = np.concatenate([rng.uniform(low, high, count), tiny, -tiny, around(*edges) if edges else []])
    return x[(x >= low) & (x <= high)]


def worst_ulps(got, x, exact):
    worst = 0.0
    for a, b in zip(x.tolist(), got.tolist(), strict=True):
        true = exact(mpmath.mpf(a))
        if abs(true) > 2.3e-308:  # below, numbers are spaced evenly
            worst = max(worst, float(abs(mpmath.mpf(b) - true) / float(np.spacing(abs(float(true))))))
    return worst


LN2 = float(np.log(2.0))
ACCURACY = [
    ("exp", f.exp, mpmath.exp, sample(-708, 709, LN2 / 2, 3 * LN2 / 2, 40.0), 1.0),
    ("exp near 0", f.exp, mpmath.exp, sample(-1, 1, LN2 / 2), 1.0),
    ("expm1", f.expm1, mpmath.expm1, sample(-50, 709, LN2 / 2, 64 * LN2), 2.0),
    ("expm1 near 0", f.expm1, mpmath.expm1, sample(-1, 1, LN2 / 2), 2.0),
    ("log", f.log, mpmath.log, sample(5e-324, 1e300, 0.5, 0.7071067811865476, 1.0, 1.4142135623730951), 1.0),
    ("log near 1", f.log, mpmath.log, sample(0.5, 2, 1.0), 1.0),
    ("log1p", f.log1p, mpmath.log1p, sample(-0.999, 1000, 1e-17, 0.4142135623730951, 1.0), 1.5),
    ("tanh", f.tanh, mpmath.tanh, sample(-25, 25, LN2 / 4, 1.0, 22.0), 2.5),
    ("tanh near 0", f.tanh, mpmath.tanh, sample(-1, 1, LN2 / 4, 1.0), 2.5),
    ("erf", f.erf, mpmath.erf, sample(-7, 7, 1.5, 6.5), 2.5),
    ("erf near 0", f.erf, mpmath.erf, sample(-1.6, 1.6, 1.5), 2.5),
    ("sigmoid", f.sigmoid, lambda v: 1 / (1 + mpmath.exp(-v)), sample(-700, 700, LN2 / 2), 2.0),
    ("sigmoid near 0", f.sigmoid, lambda v: 1 / (1 + mpmath.exp(-v)), sample(-4, 4, LN2 / 2), 2.0),
]


@pytest.mark.parametrize(("name", "function", "exact", "x", "limit"), ACCURACY, ids=[a[0] for a in ACCURACY])
def test_accuracy(name, function, exact, x, limit):
    assert worst_ulps(function(x), x, exact) <= limit


EXPONENTS = [
    0.5,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    3.5,
    4.0,
    -0.5,
    -1.0,
    -2.0,
    -3.5,
    -4.0,
    4.5,
    5.0,
    17.0,
    -7.5,
    2.2,
    1 / 3,
    0.45,
]


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers_are_rounded_once(exponent):
    x = np.concatenate([sample(1e-9, 100, 1.0, count=400), np.exp(np.linspace(-30, 30, 100))])
    assert worst_ulps(f.power(x, exponent), x, lambda v: v ** mpmath.mpf(exponent)) <= 0.501


@given(x=st.floats(5e-324, 1.7e308), exponent=st.floats(-1e4, 1e4))
def test_powers_of_anything(x, exponent):
    got = f.power(np.array([x]), exponent)
    exact = mpmath.mpf(x) ** mpmath.mpf(exponent)
    if exact > 2**1024 - 2**970:
        assert got[0] == inf
    elif exact < 2.3e-308:
        assert got[0] == pytest.approx(float(exact), rel=0, abs=5e-324)
    else:
        assert worst_ulps(got, np.array([x]), lambda v: v ** mpmath.mpf(exponent)) <= 0.501


SPECIAL = np.array([0.0, -0.0, inf, -inf, nan, 1e-320, -1e-320, 800.0, -800.0, 1e300, -1e300])
TINY = 1e-320


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (f.exp, [1, 1, inf, 0.0, nan, 1, 1, inf, 0.0, inf, 0.0]),
        (f.expm1, [0.0, -0.0, inf, -1, nan, TINY, -TINY, inf, -1, inf, -1]),
        (f.log, [-inf, -inf, inf, nan, nan, np.log(1e-320), nan, np.log(800.0), nan, np.log(1e300), nan]),
        (f.log1p, [0.0, -0.0, inf, nan, nan, TINY, -TINY, np.log(801.0), nan, np.log(1e300), nan]),
        (f.tanh, [0.0, -0.0, 1, -1, nan, TINY, -TINY, 1, -1, 1, -1]),
        (f.erf, [0.0, -0.0, 1, -1, nan, None, None, 1, -1, 1, -1]),
        (f.sigmoid, [0.5, 0.5, 1, 0.0, nan, 0.5, 0.5, 1, 0.0, 1, 0.0]),
    ],
)
def test_special_values(function, expected):
    got = function(SPECIAL)
    for v, e in zip(got.tolist(), expected, strict=True):
        if e is not None:
            assert v == pytest.approx(e, rel=1e-14, abs=0, nan_ok=True)
            assert np.isnan(e) or np.signbit(v) == np.signbit(e)
    assert np.signbit(f.erf(np.array([-1e-320])))


def test_values_that_have_to_be_exact():
    assert f.exp(np.array([0.0])).tolist() == [1.0]
    assert f.expm1(np.array([709.78])).tolist() == f.exp(np.array([709.78])).tolist()
    assert f.log(np.array([1.0, 2.0**-1074])).tolist() == [0.0, float(mpmath.log(mpmath.mpf(2) ** -1074))]
    assert f.log1p(np.array([-1.0])).tolist() == [-inf]
    assert f.sigmoid(np.array([0.0])).tolist() == [0.5]
    assert f.exp(np.array([-745.2, -745.13, 709.78, 709.79])).tolist() == [
        0.0,
        5e-324,
        float(mpmath.exp(mpmath.mpf(709.78))),
        inf,
    ]


ODD = [f.tanh, f.erf]


@pytest.mark.parametrize("function", ODD)
def test_odd_functions_are_odd(function):
    x = sample(-8, 8, 1.0, 1.5)
    assert np.array_equal(function(-x), -function(x))


@pytest.mark.parametrize("function", [f.exp, f.expm1, f.log, f.log1p, f.tanh, f.erf, f.sigmoid])
@pytest.mark.parametrize("fraction_bits", [8, 11, 13, 15, 20])
def test_monotonic_over_the_codes_of_a_table(function, fraction_bits):
    codes = np.arange(-32768, 32768)
    if function in (f.log, f.log1p):
        codes = codes[codes >= 0]
    y = function(np.ldexp(codes.astype(np.float64), -fraction_bits))
    assert (np.diff(y[np.isfinite(y)]) >= 0).all()


@pytest.mark.parametrize("edge", [-1.5, -1.0, -LN2 / 4, LN2 / 4, LN2 / 2, 1.0, 1.5, 3 * LN2 / 2])
@pytest.mark.parametrize("function", [f.exp, f.expm1, f.tanh, f.erf, f.sigmoid])
def test_no_step_back_where_a_formula_changes(function, edge):
    x = edge + np.arange(-2000, 2000) * 2.0**-44
    assert (np.diff(function(x)) >= 0).all()


@pytest.mark.parametrize("function", [f.exp, f.expm1, f.log, f.log1p, f.tanh, f.erf, f.sigmoid])
def test_any_shape_and_the_argument_is_left_alone(function):
    x = np.array([[0.5, 2.0], [0.25, 3.0]])
    before = x.copy()
    y = function(x)
    assert y.shape == (2, 2)
    assert np.array_equal(x, before)
    assert float(function(np.array(2.0))) == y[0, 1]
    assert function(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("base", "exponent", "expected"),
    [
        (3.0, 2, 9.0),
        (-3.0, 3.0, -27.0),
        (9.0, 0.5, 3.0),
        (4.0, 1.5, 8.0),
        (4.0, -1.5, 0.125),
        (4.0, -0.5, 0.5),
        (16.0, 0.25, 2.0),
        (16.0, -0.75, 0.125),
        (2.0, 100.0, 2.0**100),
        (-2.0, 1001.0, -(2.0**1001)),
        (10.0, 15.0, 1e15),
        (0.5, 30.0, 2.0**-30),
        (27.0, 1 / 3, 3.0),
        (1.0, 2.2, 1.0),
        (1.0, inf, 1.0),
        (5e-324, 0.5, 2.0**-537),
        (1.0 + 2.0**-52, 1e300, inf),
        (1.0 - 2.0**-53, 1e300, 0.0),
        (7.0, 0.0, 1.0),
        (2.0, 5000.0, inf),
        (2.0, -5000.0, 0.0),
        (-2.0, 5001.0, -inf),
        (nan, 0.0, 1.0),
        (nan, 2.0, nan),
        (nan, 0.3, nan),
        (-2.0, 0.5, nan),
        (-2.0, 0.3, nan),
        (0.0, 0.0, 1.0),
        (0.0, 0.3, 0.0),
        (-0.0, 0.5, 0.0),
        (-0.0, 0.3, 0.0),
        (-0.0, 3.0, -0.0),
        (-0.0, 4.0, 0.0),
        (-0.0, 33.0, -0.0),
        (0.0, -1.0, inf),
        (-0.0, -1.0, -inf),
        (-0.0, -33.0, -inf),
        (-0.0, -2.0, inf),
        (0.0, -0.5, inf),
        (0.0, -0.3, inf),
        (inf, 0.3, inf),
        (inf, -0.3, 0.0),
        (-inf, 0.3, inf),
        (-inf, 3.0, -inf),
        (-inf, -3.0, -0.0),
        (-inf, 0.5, inf),
        (2.0, inf, inf),
        (0.5, inf, 0.0),
        (2.0, -inf, 0.0),
    ],
)
def test_powers_by_hand(base, exponent, expected):
    """The values are those of C's pow."""
    got = f.power(np.array([base, 1.0]), exponent)[0]
    assert got == expected or (np.isnan(got) and np.isnan(expected))
    assert np.isnan(expected) or np.signbit(got) == np.signbit(expected)


def test_power_keeps_the_shape():
    for exponent in (2.0, 2.2):
        assert f.power(np.ones((2, 0, 3)), exponent).shape == (2, 0, 3)
        assert f.power(np.array([[1.0, 4.0], [4.0, 9.0]]), exponent).shape == (2, 2)
        assert np.shape(f.power(np.array(4.0), exponent)) == ()
