import doctest
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracle import OVERFLOWS, ROUNDINGS, Fmt
from oracle.codes import quantize_value

from qengine.errors import FormatError
from qengine.kernels.reference import rounding_table
from qengine.kernels.reference.word import Word
from qengine.qformat import (
    ChannelFormats,
    Overflow,
    QFormat,
    Rounding,
    arrays,
    channel_formats,
    dequantize,
    exact_format,
    finest_format,
    finest_per_channel,
    fraction_bits_of,
    overflow_mode,
    quantize,
    rounding_mode,
    single,
)


@st.composite
def formats(draw):
    bits, signed = draw(st.integers(2, 16)), draw(st.booleans())
    n = draw(st.integers(-112, 149))
    return QFormat(bits - signed - n, n, signed)


def test_examples_in_the_docstrings():
    results = [doctest.testmod(module) for module in (arrays, single)]
    assert all(result.attempted >= 2 and result.failed == 0 for result in results)


@given(formats())
def test_text_round_trips(q):
    text = str(q)
    assert QFormat.parse(text) == q
    assert str(QFormat.parse(text)) == text
    assert QFormat.of(text) == QFormat.of(q) == q


@pytest.mark.parametrize(
    ("text", "bits", "step", "least", "most", "dtype"),
    [
        ("Q4.3", 8, 0.125, -16.0, 15.875, np.int8),
        ("Q5.2", 8, 0.25, -32.0, 31.75, np.int8),
        ("Q0.7", 8, 2**-7, -1.0, 127 / 128, np.int8),
        ("Q0.15", 16, 2**-15, -1.0, 1 - 2**-15, np.int16),
        ("UQ0.8", 8, 2**-8, 0.0, 255 / 256, np.uint8),
        ("UQ8.0", 8, 1.0, 0.0, 255.0, np.uint8),
        ("UQ16.0", 16, 1.0, 0.0, 65535.0, np.uint16),
        ("UQ1.8", 9, 2**-8, 0.0, 511 / 256, np.uint16),
        ("Q-2.9", 8, 2**-9, -0.25, 127 / 512, np.int8),
        ("Q8.-1", 8, 2.0, -256.0, 254.0, np.int8),
        ("Q1.0", 2, 1.0, -2.0, 1.0, np.int8),
        ("UQ2.0", 2, 1.0, 0.0, 3.0, np.uint8),
    ],
)
def test_check_values(text, bits, step, least, most, dtype):
    q = QFormat.parse(text)
    assert (q.bits, q.step, q.min, q.max, q.dtype) == (bits, step, least, most, dtype)
    assert q.word("floor", "wrap") == Word(bits, text[0] == "Q", "floor", "wrap")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4.3", "did you mean Q4.3?"),
        ("Q4,3", "did you mean Q4.3?"),
        ("Q04.3", "did you mean Q4.3?"),
        ("Q-0.7", "did you mean Q0.7?"),
        ("u0:8", "did you mean UQ0.8?"),
        ("", "is not a fixed-point format"),
        ("Q4.3.1", "is not a fixed-point format"),
        ("Q1٤.3", "is not a fixed-point format"),
        ("Q" + "9" * 5000 + ".1", "is not a fixed-point format"),
        ("Q0.0", "Q0.0 has 1 bits (1 sign bit + 0 integer + 0 fraction); a word has 2 to 16"),
        ("UQ1.0", "UQ1.0 has 1 bits (1 integer + 0 fraction); a word has 2 to 16"),
        ("Q8.8", "17 bits"),
        ("UQ9.8", "17 bits"),
        ("Q-150.157", "float32 holds the values of formats with -112 to 149"),
        ("Q120.-113", "float32 holds the values of formats with -112 to 149"),
    ],
)
def test_what_is_no_format(text, message):
    with pytest.raises(FormatError) as error:
        QFormat.parse(text)
    assert message in str(error.value)
    if "did you mean" not in message:
        assert "did you mean" not in str(error.value)


def test_formats_are_values():
    assert QFormat(4, 3) == QFormat.parse("Q4.3") != QFormat(4, 3, signed=False)
    assert len({QFormat(4, 3), QFormat.parse("Q4.3")}) == 1
    assert QFormat.parse("Q4.3").with_fraction_bits(9) == QFormat.parse("Q-2.9")
    assert QFormat.parse("UQ4.3").with_fraction_bits(-1) == QFormat.parse("UQ8.-1")


def test_modes_by_name():
    assert [str(r) for r in Rounding] == [*ROUNDINGS] == [*rounding_table.ROUNDINGS]
    assert [str(o) for o in Overflow] == [*OVERFLOWS]
    assert rounding_mode("half_up") is Rounding.HALF_UP
    assert overflow_mode(Overflow.WRAP) is Overflow.WRAP
    with pytest.raises(
        FormatError, match=r"named 'nearest'; did you mean 'half_even'.; there are half_even, half_up, .*ruy"
    ):
        rounding_mode("nearest")
    with pytest.raises(
        FormatError,
        match=r"named 'clip'; did you mean 'saturate'.; there are saturate, symmetric, wrap",
    ):
        overflow_mode("clip")


def code(v, q, rounding, overflow):
    """Return overflow(round(v * 2^n)) from exact fractions."""
    return quantize_value(v, Fmt(q.bits, q.fraction_bits, q.signed), rounding, overflow)


@given(
    q=formats(),
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5),
    near=st.lists(st.integers(-(2**18), 2**18), max_size=5),
    rounding=st.sampled_from(Rounding),
    overflow=st.sampled_from(Overflow),
)
def test_quantize_and_dequantize(q, values, near, rounding, overflow):
    with np.errstate(over="ignore"):
        quarters = np.ldexp(np.array(near, np.float64), -q.fraction_bits - 2).astype(np.float32)
    x = np.concatenate([np.array(values, np.float32), quarters[np.isfinite(quarters)]])
    codes = quantize(x, q, rounding, overflow)
    assert (codes.dtype, codes.shape) == (q.dtype, x.shape)
    assert codes.tolist() == [code(float(v), q, rounding, overflow) for v in x]
    real = dequantize(codes, q)
    assert real.dtype == np.float32
    assert [Fraction(float(v)) for v in real] == [int(c) * Fraction(2) ** -q.fraction_bits for c in codes]
    assert np.array_equal(quantize(real, q), codes)


def test_quantize_takes_texts_lists_and_numbers():
    assert quantize([0.3, -16.2, np.inf, -np.inf], "Q4.3").tolist() == [2, -128, 127, -128]
    assert quantize(0.3, "Q4.3").tolist() == 2
    assert quantize(np.array([[200, 100]], np.uint8), "Q4.3", overflow="wrap").tolist() == [[64, 32]]
    assert quantize(True, "Q4.3").tolist() == 8
    assert quantize([], "Q4.3").dtype == np.int8
    assert quantize(2**62 + 1, "Q15.0", overflow="wrap").tolist() == 1
    assert quantize([-0.06], "Q4.3", "floor").tolist() == [-1]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([0.0, np.nan], "cannot quantize NaN to Q4.3"),
        (["a"], "cannot quantize <U1 values: real numbers of up to 64 bits are needed"),
        ([1j], "cannot quantize complex128 values"),
        ([None], "cannot quantize object values"),
    ],
)
def test_what_cannot_be_quantized(x, message):
    with pytest.raises(FormatError, match=message):
        quantize(x, "Q4.3")


def test_quantize_names_what_is_wrong():
    with pytest.raises(FormatError, match=r"did you mean Q4\.3"):
        quantize([1.0], "4.3")
    with pytest.raises(FormatError, match="no rounding is named 'up'"):
        quantize([1.0], "Q4.3", "up")
    with pytest.raises(FormatError, match="no overflow is named 'up'"):
        quantize([1.0], "Q4.3", overflow="up")
    with pytest.raises(FormatError, match=r"cannot quantize .* values"):
        quantize(np.ones(2, np.longdouble) if np.longdouble(0).itemsize > 8 else ["a"], "Q4.3")


@pytest.mark.parametrize(
    ("codes", "text", "message"),
    [
        ([128], "Q4.3", r"codes of Q4.3 lie within -128..127; found 128..128"),
        ([0, -129, 5], "Q4.3", r"found -129..5"),
        ([-1], "UQ4.4", r"lie within 0..255"),
        ([256], "UQ4.4", r"lie within 0..255"),
        ([0.5], "Q4.3", "are integers, not float64"),
        ([True], "Q4.3", "are integers, not bool"),
    ],
)
def test_what_cannot_be_dequantized(codes, text, message):
    with pytest.raises(FormatError, match=message):
        dequantize(codes, text)


def fits(values, q):
    """Whether no value saturates, by exact fractions; unsigned formats are asked of what is not negative."""
    least, most = (-(2 ** (q.bits - 1)) if q.signed else 0), 2 ** (q.bits - q.signed) - 1
    scaled = (Fraction(float(v)) * Fraction(2) ** q.fraction_bits for v in values if q.signed or v > 0)
    return all(least <= round(v) <= most for v in scaled)  # Python rounds half to even


magnitudes = st.floats(2.0**-100, 2.0**100, width=32)
# Numbers at which rounding decides: next to powers of two, and half a code below them.
edges = st.builds(
    lambda e, bits, up: float(np.ldexp(1.0 - 2.0**-bits * up, e)),
    st.integers(-60, 60),
    st.integers(1, 18),
    st.sampled_from([-1.0, 0.0, 1.0]),
)


@given(
    values=st.lists(st.tuples(st.one_of(magnitudes, edges), st.sampled_from([1, -1])), min_size=1, max_size=4),
    bits=st.integers(2, 16),
    signed=st.booleans(),
)
def test_finest_format_is_the_finest(values, bits, signed):
    values = np.array([v * s for v, s in values])
    assume(signed or (values > 0).any())
    q = finest_format(values, bits, signed)
    assert (q.bits, q.signed) == (bits, signed)
    assert fits(values, q)
    assert not fits(values, q.with_fraction_bits(q.fraction_bits + 1))


@pytest.mark.parametrize(
    ("values", "bits", "signed", "expected"),
    [
        ([1.0], 8, True, "Q1.6"),
        ([-1.0], 8, True, "Q0.7"),
        ([-1.0, 1.0], 8, True, "Q1.6"),
        ([0.9999], 8, True, "Q1.6"),  # would round to 128 at n = 7
        ([127.4 / 128], 8, True, "Q0.7"),
        ([127.5 / 128], 8, True, "Q1.6"),  # a tie goes to 128
        ([-128.5 / 128], 8, True, "Q0.7"),  # a tie goes to -128
        ([-128.6 / 128], 8, True, "Q1.6"),
        ([0.1, -0.2], 8, True, "Q-2.9"),
        ([300.0], 8, True, "Q9.-2"),
        ([1.0], 8, False, "UQ1.7"),
        ([0.99], 8, False, "UQ0.8"),
        ([-100.0, 0.99], 8, False, "UQ0.8"),
        ([-100.0], 8, False, "UQ0.8"),
        ([0.0], 16, True, "Q0.15"),
        ([], 8, True, "Q0.7"),
        ([1e-45], 8, True, "Q-142.149"),  # as fine as float32 goes
        ([3e38], 16, True, "Q128.-113 is not there"),
        ([1.0], 2, True, "Q1.0"),
        ([-1.0], 2, True, "Q0.1"),
    ],
)
def test_finest_format_by_hand(values, bits, signed, expected):
    if "not" in expected:
        with pytest.raises(FormatError, match=r"no format of 16 bits holds the value 3e\+38"):
            finest_format(np.array(values), bits, signed)
    else:
        assert str(finest_format(np.array(values), bits, signed)) == expected
        assert str(finest_format(np.array(values, np.float32), bits, signed)) == expected


def test_finest_format_of_other_types():
    assert str(finest_format(np.array([-128, 5], np.int8), 8)) == "Q7.0"
    assert str(finest_format(np.array([255], np.uint8), 8)) == "Q9.-2"  # 127.5 would be 128
    assert str(finest_format(np.array([254], np.uint8), 8)) == "Q8.-1"
    assert str(finest_format(np.array([0.5], np.float16), 8)) == "Q0.7"
    assert str(finest_format(np.array(-0.5), 8)) == "Q-1.8"


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_finest_format_needs_finite_values(bad):
    for signed in (True, False):
        with pytest.raises(FormatError, match="all values must be finite"):
            finest_format(np.array([1.0, bad]), 8, signed)


def test_finest_per_channel():
    values = np.array([[[1.0, 0.1], [2.0, 0.0]], [[-0.5, -0.1], [3.0, 0.0]]])
    per = finest_per_channel(values, 8, axis=-1)
    assert per.axis == 2
    assert [str(f) for f in per.formats] == ["Q2.5", "Q-3.10"]
    assert [str(f) for f in finest_per_channel(values, 8, axis=1).formats] == ["Q1.6", "Q2.5"]
    assert fraction_bits_of(per, 3).tolist() == [[[5, 10]]]
    assert fraction_bits_of(per, 3).shape == (1, 1, 2)
    assert fraction_bits_of(QFormat.parse("Q4.3"), 3) == 3


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([], "Q7.0"),
        ([0.0, -0.0], "Q7.0"),
        ([1.0], "Q7.0"),
        ([0.0, 6.0], "Q8.-1"),  # zeros do not count: 6 is 3 x 2
        ([127.0, -128.0], "Q7.0"),
        ([128.0, 1.0], "Q15.0"),
        ([-128.0, -1.0], "Q7.0"),
        ([-129.0, 0.0], "Q15.0"),
        ([32767.0, -32768.0], "Q15.0"),
        ([32768.0, 1.0], None),
        ([1.0, -32769.0], None),
        ([0.375, 5.0], "Q4.3"),
        ([2.0**-112, 3.0], None),
        ([2.0**112], "Q119.-112"),
        ([2.0**-149], "Q-142.149"),
        ([0.1], None),
        ([np.inf, 1.0], None),
        ([np.nan], None),
    ],
)
def test_exact_format_is_the_coarsest_that_holds_every_value(values, form):
    found = exact_format(np.float64(values))
    assert (found and str(found)) == form


@pytest.mark.parametrize("bits", [8, 16])
def test_exact_format_of_codes_gives_them_back(bits):
    codes = np.int64([-(1 << (bits - 1)), (1 << (bits - 1)) - 1, 5])
    for n in (-112, -3, 0, 11, 149):
        found = exact_format(np.ldexp(codes.astype(np.float64), -n))
        assert found == QFormat(bits - 1 - n, n)
    assert exact_format(np.float32([[0.5, 1.25]])) == QFormat(5, 2)


def test_channel_formats():
    per = channel_formats(["Q4.3", QFormat.parse("Q-2.9"), "Q4.3"], axis=1)
    assert (per.bits, per.signed, per.dtype, str(per)) == (8, True, np.int8, "Q8 n=3..9 per channel")
    assert per.word() == Word(8, True)
    assert fraction_bits_of(per, 2).tolist() == [[3, 9, 3]]
    assert str(channel_formats(["UQ4.4"], axis=0)) == "UQ8 n=4..4 per channel"


@pytest.mark.parametrize("given_formats", [["Q4.3", "Q4.4"], ["Q4.3", "UQ5.3"]])
def test_channels_share_word_length_and_sign(given_formats):
    with pytest.raises(FormatError, match=rf"differ in word length or sign: {', '.join(given_formats)}"):
        channel_formats(given_formats, axis=0)


def test_channels_need_formats():
    with pytest.raises(FormatError, match="each channel needs one"):
        ChannelFormats((), 0)


@pytest.mark.parametrize("bits", [4.0, True, "4", None])
def test_numbers_of_bits_are_whole(bits):
    with pytest.raises(FormatError, match=r"^integer_bits must be a whole number, not "):
        QFormat(bits, 3)
    assert QFormat(np.int8(4), np.int64(3)) == QFormat(4, 3)
    assert type(QFormat(np.int8(4), 3).integer_bits) is int
