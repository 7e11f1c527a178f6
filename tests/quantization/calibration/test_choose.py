"""Formats are what trying every one on the values themselves gives."""

import numpy as np
import pytest

import qengine
from qengine import QFormat
from qengine.errors import FormatError
from qengine.qformat import finest_format
from qengine.quantization.calibration.choose import Method, for_histogram, for_values
from qengine.quantization.calibration.error import exact_error, power, sqnr_in, squared_error
from qengine.quantization.calibration.histogram import Cells, Histogram

RNG = np.random.default_rng(11)
N = 20_000
DATA = {
    "normal": RNG.normal(size=N),
    "laplace": 3 * RNG.laplace(size=N),
    "relu": np.maximum(RNG.normal(size=N), 0),
    "uniform": RNG.random(N) * 7,
    "lognormal": np.exp(2 * RNG.normal(size=N)),
    "student": RNG.standard_t(2, N) / 300,
    "one far": np.append(RNG.normal(size=N), 900.0),
    "small and far": np.append(1e-4 * RNG.normal(size=N), [5.0, -2.0]),
    "negative": -RNG.random(N) - 3,
    "power of two": np.append(-RNG.random(N), -1.0),
}
DATA = {name: x.astype(np.float32) for name, x in DATA.items()}
BITS = (2, 3, 4, 6, 8, 12, 16)
# How much worse, in squared error, the format is that a histogram leads to than the best.
BOUND = 1.01


def histogram(x):
    found = Histogram()
    found.add(x)
    return found


def loss(x, form):
    """Return the squared error, by the engine's own quantization."""
    return float(np.sum((x.astype(np.float64) - qengine.dequantize(qengine.quantize(x, form), form)) ** 2))


def every(x, bits, signed):
    base = 40 - int(np.log2(np.abs(x).max()))
    return {n: loss(x, QFormat(bits - signed - n, n, signed)) for n in range(base - 60, base)}


def chosen(x, bits, method="mse", percentile=99.99, signed=True, headroom=1.0):
    return for_histogram(
        histogram(x), bits, signed=signed, method=Method(method), percentile=percentile, headroom=headroom
    )


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", DATA)
def test_least_error_is_the_best_of_all_n(name, bits):
    x = DATA[name]
    losses = every(x, bits, True)
    assert losses[chosen(x, bits).fraction_bits] <= BOUND * min(losses.values())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", ["relu", "uniform", "lognormal"])
def test_least_error_of_unsigned_formats(name, bits):
    x = DATA[name]
    losses = every(x, bits, False)
    form = chosen(x, bits, signed=False)
    assert not form.signed
    assert losses[form.fraction_bits] <= BOUND * min(losses.values())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", DATA)
def test_values_themselves_give_exactly_the_best(name, bits):
    x = DATA[name].astype(np.float64)
    losses = every(DATA[name], bits, True)
    form = for_values(x, bits, method=Method.MSE, percentile=0)
    assert loss(DATA[name], form) == min(losses.values())
    assert exact_error(x, form) == pytest.approx(loss(DATA[name], form), rel=1e-12)


# Of "small and far" all but two values are in cells as wide as they are large: it is left to the tests above.
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", [name for name in DATA if name != "small and far"])
def test_the_error_that_is_told_is_the_error(name, bits):
    x = DATA[name]
    cells = histogram(x).cells()
    assert power(cells) == pytest.approx(float(np.sum(x.astype(np.float64) ** 2)), rel=2e-3)
    base = finest_format(x, bits)
    for more in range(5):
        form = base.with_fraction_bits(base.fraction_bits + more)
        assert squared_error(cells, form) == pytest.approx(loss(x, form), rel=0.05), form


@pytest.mark.parametrize(
    ("low", "sign", "form", "mean"),
    [
        (0.25, 1, "Q0.4", 1 / 16**2 / 12),  # two steps in a cell
        (0.25, 1, "Q0.3", 1 / 8**2 / 12),  # one
        (0.875, 1, "Q0.3", 1 / 8**2 / 3),  # up from the last code there is none
        (0.875, -1, "Q0.3", 1 / 8**2 / 12),  # down there is
        (0.875, 1, "Q0.4", 5 / 24 / 16**2),  # two steps, the last of which is rounded down as a whole
        (0.25, 1, "Q1.2", 1 / 8**2 / 3),  # from 1/4 to 3/8, all to 1/4
        (0.375, 1, "Q1.2", 1 / 8**2 / 3),  # from 3/8 to 1/2, all to 1/2
        (0.5, 1, "Q-1.4", (1 / 2 + 1 / 16 - 7 / 16) ** 2 + 1 / 8**2 / 12),  # to the last code, 7/16
        (0.5, -1, "Q-1.4", (1 / 16) ** 2 + 1 / 8**2 / 12),  # to -1/2
        (0.5, -1, "UQ1.2", (1 / 2 + 1 / 16) ** 2 + 1 / 8**2 / 12),  # to 0
    ],
)
def test_the_error_of_one_cell(low, sign, form, mean):
    cell = Cells(*(np.array([number]) for number in (float(sign), low, 1 / 8, 10.0)))
    assert squared_error(cell, QFormat.parse(form)) == pytest.approx(10 * mean, rel=1e-12)


def test_the_power_of_one_cell():
    cell = Cells(*(np.array([number]) for number in (-1.0, 0.25, 1 / 8, 10.0)))
    assert power(cell) == pytest.approx(10 * (0.375**3 - 0.25**3) / 3 * 8, rel=1e-12)


@pytest.mark.parametrize("shift", [-40, 0, 40])
def test_sqnr_does_not_depend_on_the_scale(shift):
    x = DATA["normal"]
    form = finest_format(x, 6)
    exact = 10 * np.log10(np.sum(x.astype(np.float64) ** 2) / loss(x, form))
    scaled = form.with_fraction_bits(form.fraction_bits - shift)
    assert sqnr_in(histogram(np.ldexp(x, shift)), scaled) == pytest.approx(exact, abs=0.05)


def test_the_error_of_values_spread_evenly_is_exact():
    # 64 values in each of 2,048 cells; the mean over a cell misses the ends of the integral by 1 / 64^2 of it.
    x = ((np.arange(2048 * 64) + 0.5) / (2048 * 64)).astype(np.float32)
    cells = histogram(np.concatenate([x, -x])).cells()
    for form in ("Q0.1", "Q0.3", "Q0.7", "Q0.10", "Q0.11", "Q-1.4", "Q-2.10", "Q1.2", "UQ0.4", "UQ-1.9"):
        exact = loss(np.concatenate([x, -x]), QFormat.parse(form))
        assert squared_error(cells, QFormat.parse(form)) == pytest.approx(exact, rel=2e-3), form


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", DATA)
def test_max_is_the_finest_format(name, bits):
    x = DATA[name]
    assert chosen(x, bits, "max") == finest_format(x, bits)
    assert for_values(x.astype(np.float64), bits, method=Method.MAX, percentile=0) == finest_format(x, bits)
    if x.min() >= 0:
        assert chosen(x, bits, "max", signed=False) == finest_format(x, bits, signed=False)


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.9, 99.99])
@pytest.mark.parametrize("name", DATA)
def test_percentile_holds_that_share(name, percentile):
    x = DATA[name]
    magnitudes = np.abs(x[x != 0]).astype(np.float64)
    width = 2.0 ** np.frexp(np.abs(x).max())[1] / 2048
    form = chosen(x, 8, "percentile", percentile)
    # The threshold is known to its cell, which is as wide as 1/2,048 of the range, or as the power of two below it.
    exact = np.percentile(magnitudes, percentile)
    least, own, most = (
        finest_format(np.clip(x, -t, t), 8)
        for t in (min(exact + width, 2 * exact), exact, max(exact - width, exact / 2))
    )
    assert least.fraction_bits <= form.fraction_bits <= most.fraction_bits
    assert for_values(x.astype(np.float64), 8, method=Method.PERCENTILE, percentile=percentile) == own
    assert chosen(x, 8, "percentile", 100.0) == chosen(x, 8, "max")


def test_a_format_may_saturate_by_many_powers_of_two():
    """One value of 2^14 beside 2^32 of -1: to hold it costs a step of 2^14, and to saturate it costs less."""
    many = histogram(np.float32([-1]))
    for _ in range(32):
        many = many.merged(many)
    together = many.merged(histogram(np.float32([2.0**14])))
    assert str(for_histogram(together, 2, signed=True, method=Method.MSE, percentile=0)) == "Q1.0"
    assert str(for_histogram(together, 2, signed=True, method=Method.MAX, percentile=0)) == "Q15.-14"


def test_zeros_count_for_nothing_in_a_percentile():
    x = np.append(np.zeros(10**6), [3.0] * 10).astype(np.float32)
    assert chosen(x, 8, "percentile") == QFormat.parse("Q2.5")


def test_headroom():
    x = np.linspace(-0.9, 0.9, 1000).astype(np.float32)
    assert [str(chosen(x, 16, m, headroom=h)) for m in ("max", "mse") for h in (1.0, 1.05, 1.25)] == [
        *("Q0.15", "Q0.15", "Q1.14"),
        *("Q0.15", "Q0.15", "Q1.14"),
    ]
    assert str(chosen(x, 16, "percentile", 50.0, headroom=4)) == "Q1.14"  # 0.45 * 4
    one_sided = np.linspace(-0.1, 0.9, 1000).astype(np.float32)
    for values in (one_sided, -one_sided):
        assert {str(chosen(values, 16, m, headroom=1.25)) for m in ("max", "mse", "percentile")} == {"Q1.14"}
    far = DATA["student"]
    assert chosen(far, 4) != finest_format(far, 4)  # it clips, for the sake of the rest
    assert chosen(far, 4, headroom=4) == finest_format(4 * far, 4)  # what is asked for binds


def test_what_is_always_zero_has_no_integer_bits():
    zeros = np.zeros(5, np.float32)
    assert [str(chosen(zeros, 8, method)) for method in Method] == ["Q0.7"] * 3
    assert str(chosen(zeros, 8, signed=False)) == "UQ0.8"
    assert [str(for_values(zeros.astype(float), 8, method=m, percentile=50)) for m in Method] == ["Q0.7"] * 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.5], "Q2.-1"),  # to 2 or to 1: of equal errors the larger range
        ([-2, -2, 1.6, -1], "Q1.0"),  # -2 is a code, and does not saturate
        ([1.6, -1], "Q1.0"),
    ],
)
def test_formats_of_two_bits_by_hand(values, expected):
    assert str(for_values(np.array(values, np.float64), 2, method=Method.MSE, percentile=0)) == expected


def test_a_percentile_is_interpolated_in_its_cell():
    x = np.append(1 + np.arange(1000) / 1000, 2.0**13).astype(np.float32)  # all but one value are in the cell [1, 2)
    assert [str(chosen(x, 8, "percentile", p)) for p in (50.0, 99.0, 99.8)] == ["Q1.6", "Q1.6", "Q2.5"]


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("method", Method)
def test_a_limit_on_n(method, bits):
    x = DATA["normal"].astype(np.float64)
    free = for_values(x, bits, method=method, percentile=99.0)
    for most in range(free.fraction_bits - 20, free.fraction_bits + 3):
        form = for_values(x, bits, method=method, percentile=99.0, most=most)
        assert form.fraction_bits == min(free.fraction_bits, most)


def test_too_large_for_any_format():
    with pytest.raises(FormatError, match="no format of 2 bits holds the value"):
        chosen(np.float32([3e38]), 2)


def test_the_finest_formats_end_with_float32():
    tiny = np.float32([1e-45, 3e-45])
    assert chosen(tiny, 8).fraction_bits == 149
    assert for_values(tiny.astype(np.float64), 8, method=Method.MSE, percentile=0).fraction_bits == 149
