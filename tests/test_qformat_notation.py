"""Formats in the notations of other tools."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qengine.errors import FormatError
from qengine.qformat import QFormat, single


@pytest.fixture(autouse=True)
def _untold():
    single._tell.cache_clear()


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("q4.3", "Q4.3"),
        ("Q4_3", "Q4.3"),
        ("uq1_7", "UQ1.7"),
        (" Q4.3\n", "Q4.3"),
        ("q-2.9", "Q-2.9"),
        ("Q7", "Q0.7"),
        ("q15", "Q0.15"),
        ("ap_fixed<8,4>", "Q3.4"),
        ("ap_fixed< 16 , 6 >", "Q5.10"),
        ("ap_fixed<8,-2>", "Q-3.10"),
        ("ap_fixed<8,10>", "Q9.-2"),
        ("ap_ufixed<8,3>", "UQ3.5"),
        ("AP_FIXED<8,4>", "Q3.4"),
        ("ac_fixed<8,4,true>", "Q3.4"),
        ("ac_fixed<8,4>", "Q3.4"),
        ("ac_fixed<8,4,false>", "UQ4.4"),
        ("sc_fixed<8,4>", "Q3.4"),
        ("sc_ufixed<8,4>", "UQ4.4"),
        ("fixed<16,6>", "Q5.10"),
        ("sfix8_En4", "Q3.4"),
        ("sfix8", "Q7.0"),
        ("sfix16_E2", "Q17.-2"),
        ("ufix8_En7", "UQ1.7"),
        ("fixdt(1,8,4)", "Q3.4"),
        ("fixdt(0, 8, 7)", "UQ1.7"),
        ("fixdt(true,16,-1)", "Q16.-1"),
        ("numerictype(1,16,15)", "Q0.15"),
        ("Fix_8_4", "Q3.4"),
        ("UFix_8_4", "UQ4.4"),
        ("fxp-s8/4", "Q3.4"),
        ("fxp-u8/4", "UQ4.4"),
        ("A(4,3)", "Q4.3"),
        ("U(4,4)", "UQ4.4"),
        ("sfixed(3 downto -4)", "Q3.4"),
        ("ufixed(3 downto -4)", "UQ4.4"),
        ("I4F4", "Q3.4"),
        ("U4F4", "UQ4.4"),
        ("quantized_bits(8,4)", "Q4.3"),
        ("quantized_relu(8,4)", "UQ4.4"),
        ("S4.3", "Q4.3"),
        ("s1.14", "Q1.14"),
        ("U4.4", "UQ4.4"),
    ],
)
def test_translated(text, meaning, caplog):
    with caplog.at_level(logging.WARNING, "qengine"):
        assert str(QFormat.parse(text)) == meaning
        QFormat.of(text)
    told = [record.getMessage() for record in caplog.records]
    expected = [] if text.strip() == meaning else [f"{text.strip()} is {meaning}"]
    assert [line.partition(";")[0] for line in told] == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("int8", ["is a word length", "qengine calibrate MODEL --bits 8", "such as Q4.3", "Q7.0 for integers"]),
        ("int16", ["--bits 16", "Q8.7", "Q15.0"]),
        ("uint8", ["--bits 8", "UQ5.3", "UQ8.0"]),
        ("quint8", ["UQ8.0"]),
        ("8", ["is a word length", "--bits 8"]),
        ("8bit", ["is a word length"]),
        ("8-bits", ["is a word length"]),
        ("ap_int<8>", ["is a word length", "Q7.0 for integers"]),
        ("int32", ["a word has 2 to 16"]),
        ("1", ["a word has 2 to 16"]),
        ("w8a8", ["pair of word lengths", "--bits 8"]),
        ("w4a8", ["--weight-bits 4 --activation-bits 8"]),
        ("q7_t", ["CMSIS-NN has fraction bits for each tensor", "--bits 8", "Q0.7"]),
        ("q15_t", ["Q0.15"]),
        ("q31_t", ["no format here"]),
        ("Q12", ["word length open", "Q3.12 in 16 bits"]),
        ("Q4", ["Q3.4 in 8 bits or Q11.4 in 16 bits"]),
        ("Q31", ["more than 16 bits"]),
        ("ap_fixed<16,6,AP_RND,AP_SAT>", ["give Q5.10 --rounding half_up --overflow saturate"]),
        ("ap_fixed<8,4,AP_TRN_ZERO,AP_SAT_SYM>", ["give Q3.4 --rounding trunc --overflow symmetric"]),
        ("ap_fixed<8,4,AP_FOO>", ["AP_FOO has no counterpart"]),
        ("ac_fixed<8,4,maybe>", ["'maybe' is not the signedness"]),
        ("ap_fixed<20,4>", ["is Q3.16: ", "20 bits"]),
        ("fixdt(1,8)", ["fraction length open", "Q3.4", "--bits 8"]),
        ("fixdt(1,8,2,3)", ["slope or a bias"]),
        ("sfix16_S5_B7", ["slope or a bias"]),
        ("fix8_4", ["two readings", "Q3.4", "Q7.4"]),
        ("s8.4", ["several readings", "Q8.4 (13 bits)", "Q3.4 (8 bits, 4 of them fraction bits)"]),
        ("S4.4", ["Q4.4 (9 bits)", "Q3.4 (the sign is one of the 4 bits)"]),
        ("u8.4", ["UQ8.4 (12 bits)", "UQ4.4"]),
        ("Q8.8", ["17 bits", "(ARM), it is Q7.8 here"]),
        ("Q1.15", ["it is Q0.15 here"]),
        ("fp16", ["floating-point format"]),
        ("float16", ["floating-point format", "runs in float32"]),
        ("bf16", ["floating-point format"]),
        ("fp8_e4m3", ["floating-point format"]),
        ("float32", ["floating-point format"]),
        ("'Q4.3'", ["the quotes are part of it; give Q4.3"]),
    ],
)
def test_refused_with_the_format_to_type(text, parts):
    with pytest.raises(FormatError) as error:
        QFormat.parse(text)
    for part in parts:
        assert part in str(error.value)


words = st.integers(2, 16)


@given(words, st.integers(-20, 30), st.booleans())
def test_notations_agree(width, n, signed):
    """The same format in every notation that can write it."""
    expected = QFormat(width - signed - n, n, signed)
    integer = width - n  # with the sign bit, if there is one
    u = "" if signed else "u"
    texts = [
        f"ap_{u}fixed<{width},{integer}>",
        f"sc_{u}fixed<{width}, {integer}>",
        f"ac_fixed<{width},{integer},{str(signed).lower()}>",
        f"fixdt({int(signed)},{width},{n})",
        f"numerictype({int(signed)},{width},{n})",
        f"{'s' if signed else 'u'}fix{width}_E{'n' if n >= 0 else ''}{abs(n)}",
        f"fxp-{'s' if signed else 'u'}{width}/{n}",
        f"{'A' if signed else 'U'}({width - signed - n},{n})",
        f"{'s' if signed else 'u'}fixed({integer - 1} downto {-n})",
        f"{u}q{width - signed - n}_{n}",
        f"quantized_{'bits' if signed else 'relu'}({width},{width - signed - n})",
    ]
    if n >= 0:
        texts.append(f"{'U' if not signed else ''}Fix_{width}_{n}")
    if n >= 0 and integer >= 0:
        texts.append(f"{'I' if signed else 'U'}{integer}F{n}")
    for text in texts:
        assert QFormat.parse(text) == expected, text
        assert QFormat.of(text) == expected


@given(st.text("qQuUsSaAiIfFxX_<>(),.-0123456789 tbnBE", max_size=24))
def test_any_text_is_a_format_or_an_error(text):
    try:
        found = QFormat.parse(text)
    except FormatError:
        return
    assert QFormat.parse(str(found)) == found


def test_a_long_text_is_refused_at_once():
    with pytest.raises(FormatError):
        QFormat.parse("ap_fixed<" + "8," * 100_000)
