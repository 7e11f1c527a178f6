"""Formats in the notations of other tools: what each means as Qm.n, or why it does not say enough.

The notations differ in three things: whether m (or I, or W) counts the sign bit, whether the second number is the
integer or the fraction bits, and whether the word length is said at all. A notation is translated where all three are
settled by its own documentation; a mere word length (`int8`), or two readings of the same text (`s8.4`), is refused
with the formats that may be meant.

======================  ===============  ===========================================================================
notation                Qm.n             source
======================  ===============  ===========================================================================
q4.3, Q4_3, uq1_7       Q4.3, UQ1.7      the notation here in another spelling: TI, the sign bit is not in m
Q7, q15                 Q0.7, Q0.15      CMSIS-DSP, "1.7 and 1.15 format": fractions that fill a word of 8 or 16 bits
ap_fixed<8,4>           Q3.4             AMD UG1399, Fixed-Point Identifier Summary: word, integer bits with the sign
ap_ufixed<8,3>          UQ3.5            the same without a sign
ac_fixed<8,4,true>      Q3.4             Siemens Algorithmic C datatypes: word, integer bits with the sign, signedness
sc_fixed<8,4>           Q3.4             IEEE 1666 (SystemC) 7.10: word, integer bits with the sign
fixed<8,4>              Q3.4             hls4ml's configuration, which is ap_fixed
sfix8_En4, ufix8_En7    Q3.4, UQ1.7      MathWorks, Fixed-Point Data Type and Scaling Notation: word, exponent of two
fixdt(1,8,4)            Q3.4             MathWorks fixdt and numerictype: signed, word length, fraction length
Fix_8_4, UFix_8_4       Q3.4, UQ4.4      AMD System Generator: word, bits after the binary point
fxp-s8/4, fxp-u8/4      Q3.4, UQ4.4      fxpmath: word, fraction bits
A(4,3), U(4,4)          Q4.3, UQ4.4      Yates, Fixed-Point Arithmetic: An Introduction: the sign bit is not in a
sfixed(3 downto -4)     Q3.4             IEEE 1076 fixed_pkg: index of the sign bit, index of the last bit
I4F4, U4F4              Q3.4, UQ4.4      the Rust crate fixed: integer bits with the sign, fraction bits
quantized_bits(8,4)     Q4.3             QKeras: word, integer bits without the sign; quantized_relu has no sign
S4.3, U4.4              Q4.3, UQ4.4      sign, integer and fraction bits where they fill a word of 8 or 16 bits
======================  ===============  ===========================================================================
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from qengine.errors import FormatError

_WORDS = (8, 16)
"""Word lengths that settle a text with two readings."""

_MAX_LENGTH = 80  # characters of a text that is looked at


@dataclass(frozen=True)
class Meaning:
    """A format that a text in another notation means.

    Attributes
    ----------
    integer_bits, fraction_bits, signed : see `QFormat`.
    remark : a meaning of the notation that a format does not hold; "" for none.
    """

    integer_bits: int
    fraction_bits: int
    signed: bool = True
    remark: str = ""

    @property
    def text(self) -> str:
        """The format as Qm.n."""
        return f"{'' if self.signed else 'U'}Q{self.integer_bits}.{self.fraction_bits}"


def meaning_of(text: str) -> Meaning | None:
    """Return what a text in another notation means; None where it is in none that is known.

    Raises
    ------
    FormatError
        If the notation is known, and the text does not say enough for a format.
    """
    plain = text.strip()
    if not plain or len(plain) > _MAX_LENGTH or not plain.isascii():
        return None
    for pattern, translate in _NOTATIONS:
        if match := pattern.fullmatch(plain):
            return translate(match)
    return None


def counted_with_sign(integer_bits: int, fraction_bits: int) -> str:
    """Return the format where m counts the sign, as ARM has it, and fills a usual word; "" elsewhere."""
    return f"Q{integer_bits - 1}.{fraction_bits}" if integer_bits + fraction_bits in _WORDS else ""


Translate = Callable[[re.Match[str]], Meaning]


def _spelled(match: re.Match[str]) -> Meaning:
    return Meaning(int(match["m"]), int(match["n"]), not match["u"])


def _fraction(match: re.Match[str]) -> Meaning:
    n = int(match["n"])
    if n + 1 in _WORDS:
        return Meaning(0, n)
    readings = " or ".join(f"Q{bits - 1 - n}.{n} in {bits} bits" for bits in _WORDS if bits > n)
    if not readings:
        raise FormatError(f"{match[0]} needs a word of more than 16 bits; a format has 2 to 16, such as Q0.15")
    raise FormatError(f"{match[0]} leaves the word length open: give {readings}")


def _words_in_cpp(match: re.Match[str]) -> Meaning:
    """Return the meaning of a template: word length, integer bits with the sign, then modes."""
    width, integer = int(match["w"]), int(match["i"])
    rest = [part.strip() for part in (match["rest"] or "").split(",") if part.strip()]
    signed = "u" not in match["kind"].lower()
    if match["kind"].lower().startswith("ac") and rest:
        flag = rest.pop(0).lower()
        if flag not in ("true", "false", "1", "0"):
            raise FormatError(f"{match[0]}: {flag!r} is not the signedness, true or false")
        signed = flag in ("true", "1")
    found = Meaning(integer - signed, width - integer, signed)
    if not rest:
        modes = "" if match["kind"].lower().startswith("fixed") else _UNSAID_MODES
        return Meaning(found.integer_bits, found.fraction_bits, signed, modes)
    raise FormatError(f"{match[0]} has modes besides its format: give {found.text}{_modes(rest)}")


_UNSAID_MODES = "its default modes are --rounding floor --overflow wrap"
_ROUNDINGS = {
    **{"RND": "half_up", "RND_ZERO": "half_zero", "RND_MIN_INF": "half_down", "RND_INF": "half_away"},
    **{"RND_CONV": "half_even", "TRN": "floor", "TRN_ZERO": "trunc"},
}
_OVERFLOWS = {"SAT": "saturate", "SAT_ZERO": "zero", "SAT_SYM": "symmetric", "WRAP": "wrap"}


def _modes(names: list[str]) -> str:
    """Return the options of rounding and overflow that modes of ap_fixed, ac_fixed or sc_fixed are."""
    words = [re.sub(r"^(AP|AC|SC)_", "", name.upper()) for name in names]
    roundings = [f" --rounding {_ROUNDINGS[word]}" for word in words if word in _ROUNDINGS]
    overflows = [f" --overflow {_OVERFLOWS[word]}" for word in words if word in _OVERFLOWS]
    unknown = [name for name, word in zip(names, words, strict=True) if word not in (*_ROUNDINGS, *_OVERFLOWS)]
    return "".join(roundings[:1] + overflows[:1]) + (f"; {unknown[0]} has no counterpart" if unknown else "")


def _matlab_name(match: re.Match[str]) -> Meaning:
    width, signed = int(match["w"]), match["s"].lower() == "s"
    if match["e"] is None:
        return Meaning(width - signed, 0, signed)
    n = int(match["e"]) if match["negative"] else -int(match["e"])
    return Meaning(width - signed - n, n, signed)


def _matlab_slope(match: re.Match[str]) -> Meaning:
    raise FormatError(
        f"{match[0]} has a slope or a bias: a format is a power of two without one, such as sfix8_En4 or Q3.4"
    )


def _matlab_call(match: re.Match[str]) -> Meaning:
    signed, width = match["s"].lower() in ("1", "true"), int(match["w"])
    if match["n"] is None:
        example = Meaning(width - signed - width // 2, width // 2, signed)
        raise FormatError(
            f"{match[0]} leaves the fraction length open: {_chosen(width)}, or give it, as in {example.text}"
        )
    return Meaning(width - signed - int(match["n"]), int(match["n"]), signed)


def _word_and_fraction(match: re.Match[str]) -> Meaning:
    width, n, signed = int(match["w"]), int(match["n"]), match["u"].lower() != "u"
    return Meaning(width - signed - n, n, signed)


def _glued_fix(match: re.Match[str]) -> Meaning:
    width, n, signed = int(match["w"]), int(match["n"]), not match["u"]
    first = Meaning(width - signed - n, n, signed).text
    second = Meaning(width - signed, n, signed).text
    raise FormatError(
        f"{match[0]} has two readings: {first}, {width} bits with {n} fraction bits (Fix_{width}_{n} of System "
        f"Generator), or {second}, {width} bits before the point; give one of them"
    )


def _yates(match: re.Match[str]) -> Meaning:
    return Meaning(int(match["m"]), int(match["n"]), match["a"].upper() == "A")


def _vhdl(match: re.Match[str]) -> Meaning:
    signed = match["s"].lower() == "s"
    return Meaning(int(match["high"]) + (not signed), -int(match["low"]), signed)


def _rust(match: re.Match[str]) -> Meaning:
    signed = match["i"].upper() == "I"
    return Meaning(int(match["m"]) - signed, int(match["n"]), signed)


def _qkeras(match: re.Match[str]) -> Meaning:
    signed = match["kind"] == "bits"
    return Meaning(int(match["i"]), int(match["w"]) - signed - int(match["i"]), signed)


def _sign_letter(match: re.Match[str]) -> Meaning:
    """Return the meaning of S4.3 or U4.4: the reading that fills a usual word, if there is one."""
    m, n, signed = int(match["m"]), int(match["n"]), match["s"].lower() == "s"
    found = Meaning(m, n, signed)
    if signed + m + n in _WORDS:
        return found
    readings = [f"{found.text} ({signed + m + n} bits)"]
    if signed and m + n in _WORDS:
        readings.append(f"{Meaning(m - 1, n).text} (the sign is one of the {m} bits)")
    if m in _WORDS and n <= m:
        readings.append(f"{Meaning(m - signed - n, n, signed).text} ({m} bits, {n} of them fraction bits)")
    raise FormatError(f"{match[0]} has several readings: give {' or '.join(readings)}")


def _word_length(match: re.Match[str]) -> Meaning:
    width = int(next(group for group in match.groups() if group and group.isdigit()))
    unsigned = match[0].lower().startswith(("u", "qu", "ap_u", "ac_u", "sc_u"))
    if not 2 <= width <= 16:
        raise FormatError(f"{match[0]} is a word length, of {width} bits: a word has 2 to 16, as Q4.3 has 8")
    example = Meaning(width - (not unsigned) - width // 2 + 1, width // 2 - 1, not unsigned).text
    whole = Meaning(width - (not unsigned), 0, not unsigned).text
    raise FormatError(
        f"{match[0]} is a word length, and its fraction bits must be chosen: {_chosen(width)} does, for each tensor; "
        f"or give one format, such as {example}, or {whole} for integers"
    )


def _weights_and_activations(match: re.Match[str]) -> Meaning:
    weights, activations = int(match["w"]), int(match["a"])
    options = (
        f"--bits {weights}" if weights == activations else f"--weight-bits {weights} --activation-bits {activations}"
    )
    raise FormatError(
        f"{match[0]} is a pair of word lengths: formats of them are chosen by qengine calibrate MODEL {options}"
    )


def _container(match: re.Match[str]) -> Meaning:
    width = int(match["n"]) + 1
    as_fraction = f"Q0.{width - 1}" if width <= 16 else "no format here, which has 2 to 16 bits"
    raise FormatError(
        f"{match[0]} is the type in C of codes of {width} bits, and CMSIS-NN has fraction bits for each tensor: "
        f"{_chosen(min(width, 16))}; as CMSIS-DSP's fraction it is {as_fraction}"
    )


def _float(match: re.Match[str]) -> Meaning:
    raise FormatError(
        f"{match[0]} is a floating-point format, and a format here is fixed point such as Q4.3; "
        "without any format the model runs in float32"
    )


def _chosen(width: int) -> str:
    return f"qengine calibrate MODEL --bits {width}"


def _table(*rows: tuple[str, Translate]) -> tuple[tuple[re.Pattern[str], Translate], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), translate) for pattern, translate in rows)


_N = r"(0|[1-9][0-9]{0,3})"
_I = r"(?:0|-?[1-9][0-9]{0,3})"

_NOTATIONS = _table(
    (rf"(?P<u>u?)q(?P<m>{_I})[._](?P<n>{_I})", _spelled),
    (rf"q(?P<n>{_N})_t", _container),
    (rf"q(?P<n>{_N})", _fraction),
    (
        rf"(?P<kind>ap_u?fixed|ac_fixed|sc_u?fixed|u?fixed)\s*<\s*(?P<w>{_N})\s*,\s*(?P<i>{_I})\s*(?:,(?P<rest>[^<>]*))?>",
        _words_in_cpp,
    ),
    (rf"(?P<s>[su])fix(?P<w>{_N})(?:_E(?P<negative>n?)(?P<e>{_N}))?", _matlab_name),
    (rf"[su]fix{_N}_[A-Z0-9_]*", _matlab_slope),
    (
        rf"(?:fixdt|numerictype)\(\s*(?P<s>[01]|true|false)\s*,\s*(?P<w>{_N})\s*(?:,\s*(?P<n>{_I})\s*)?\)",
        _matlab_call,
    ),
    (r"(?:fixdt|numerictype)\(.*\)", _matlab_slope),
    (rf"(?P<u>u?)fix_(?P<w>{_N})_(?P<n>{_N})", _word_and_fraction),
    (rf"(?P<u>u?)fix(?P<w>{_N})_(?P<n>{_N})", _glued_fix),
    (rf"fxp-(?P<u>[su])(?P<w>{_N})/(?P<n>{_I})", _word_and_fraction),
    (rf"(?P<a>[AU])\(\s*(?P<m>{_I})\s*,\s*(?P<n>{_I})\s*\)", _yates),
    (rf"(?P<s>[su])fixed\s*\(\s*(?P<high>{_I})\s+downto\s+(?P<low>{_I})\s*\)", _vhdl),
    (rf"(?P<i>[IU])(?P<m>{_N})F(?P<n>{_N})", _rust),
    (rf"quantized_(?P<kind>bits|relu)\(\s*(?P<w>{_N})\s*,\s*(?P<i>{_I})\s*\)", _qkeras),
    (rf"(?P<s>[su])(?P<m>{_N})\.(?P<n>{_N})", _sign_letter),
    (rf"w(?P<w>{_N})a(?P<a>{_N})", _weights_and_activations),
    (rf"u?int[ _-]?{_N}(?:_t)?|[iu]{_N}|s{_N}|q?u?int{_N}|(?:ap|ac|sc)_u?int<\s*{_N}\s*>", _word_length),
    (rf"{_N}(?:[ -]?bits?)?", _word_length),
    (
        r"(?:fp|float|bf|bfloat|tf|hf|mx)[ _-]?[0-9]+(?:_?e[0-9]m[0-9].*)?|e[0-9]m[0-9].*|half|single|double|float",
        _float,
    ),
)
