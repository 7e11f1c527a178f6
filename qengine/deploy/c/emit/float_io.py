"""Conversions between float and codes at the border of a network, for programs that are compiled with NET_FLOAT_IO.

`net_image_code` gives the code that the runtime gives: overflow(round(value * 2^n)), exactly. It takes the float apart
into integers: nothing is rounded on the way, with any compiler and without a floating-point unit.
"""

from __future__ import annotations

from qengine.deploy.c.emit.formats import c_type
from qengine.deploy.c.ir import CNetwork, CTensor
from qengine.deploy.c.kernel_text import prefixed
from qengine.kernels.reference.rounding_table import unshifted
from qengine.kernels.reference.word import Word
from qengine.model.rules import Rules
from qengine.qformat import Format, PartFormats, QFormat

_UP = {
    "half_even": "rest > half || (rest == half && (whole & 1U) != 0U)",
    "half_up": "rest > half || (rest == half && !is_negative)",
    "half_down": "rest > half || (rest == half && is_negative)",
    "half_away": "rest >= half",
    "half_zero": "rest > half",
    "floor": "rest != 0U && is_negative",
    "ceil": "rest != 0U && !is_negative",
    "trunc": "0",
    "away": "rest != 0U",
}
"""When the magnitude of a number is rounded up, by the name of the rounding."""


def declarations(network: CNetwork, name: str) -> str:
    """Return the declarations for net.h."""
    lines = [
        f"#ifdef {name.upper()}_FLOAT_IO",
        "/* The code of a value, rounded as the runtime rounds; 0 for NaN, which has none. */",
    ]
    lines += [f"{_code_head(t, name)};" for t in network.inputs if isinstance(t.format, QFormat)]
    lines += ["/* The value of a code. */"]
    lines += [f"{_value_head(t, name)};" for t in network.outputs if t.format is not None]
    return "\n".join([*lines, "#endif", ""])


def definitions(network: CNetwork, rules: Rules, name: str) -> str:
    """Return the functions for net.c."""
    coded = [t for t in network.inputs if isinstance(t.format, QFormat)]
    parts = [prefixed(_MAGNITUDE, name)] if coded else []
    for t in coded:
        assert isinstance(t.format, QFormat)
        parts.append(_code(t, t.format, rules.of("inputs", t.name).word(t.format), name))
    parts += [_value(t, t.format, name) for t in network.outputs if t.format is not None]
    return "\n".join([f"#ifdef {name.upper()}_FLOAT_IO", *parts, "#endif", ""])


def _code_head(tensor: CTensor, name: str) -> str:
    return f"{c_type(tensor)} {name}_{tensor.c_name}_code(float value)"


def _value_head(tensor: CTensor, name: str) -> str:
    place = "" if isinstance(tensor.format, QFormat) else ", int32_t index"
    return f"float {name}_{tensor.c_name}_value({c_type(tensor)} code{place})"


_MAGNITUDE = """/* |value| * 2^fraction_bits as a whole number and a rest in units of 2^-31. */
static uint32_t net_whole_of(float value, int32_t fraction_bits, uint32_t *rest, int *is_negative, uint32_t *is_huge) {
    uint32_t bits, mantissa;
    int32_t exponent;
    (void)memcpy(&bits, &value, sizeof bits); /* IEEE 754: a sign, 8 bits of exponent, 23 of mantissa */
    *is_negative = (bits >> 31) != 0U;
    exponent = (int32_t)((bits >> 23) & 255U);
    mantissa = bits & UINT32_C(0x7FFFFF);
    *is_huge = exponent == 255 ? 1U : 0U; /* infinite, or no number */
    *rest = 0;
    if (exponent == 255) {
        return mantissa;
    }
    if (exponent == 0) {
        exponent = 1;
    } else {
        mantissa |= UINT32_C(0x800000);
    }
    exponent += fraction_bits - 150; /* the number is mantissa * 2^exponent */
    if (exponent > 0) {
        *is_huge = 2U; /* the mantissa has 24 bits */
        return exponent > 16 ? 0U : (mantissa << exponent) & UINT32_C(0xFFFF);
    }
    exponent = -exponent;
    if (exponent == 0) {
        return mantissa;
    }
    if (exponent > 24) {
        *rest = mantissa != 0U ? 1U : 0U; /* less than a half */
        return 0;
    }
    *rest = (mantissa << (31 - exponent)) & UINT32_C(0x7FFFFFFF);
    return mantissa >> exponent;
}
"""


def _code(tensor: CTensor, fmt: QFormat, word: Word, name: str) -> str:
    up = _UP[unshifted(word.rounding)]
    up = up.replace("half", "UINT32_C(0x40000000)")
    round_up = "" if up == "0" else f"    if ({up}) {{\n        whole++;\n    }}\n"
    ends = f"is_negative ? ({word.lowest if word.fitting == 'saturate' else word.least}) : {word.most}"
    big = {
        "saturate": f"return ({c_type(tensor)})({ends});",
        "zero": "return 0;",
        "wrap": "/* the low bits are those of `whole` */",
    }[word.fitting]
    return f"""{_code_head(tensor, name)} {{
    uint32_t rest, is_huge;
    int is_negative;
    uint32_t whole = {name}_whole_of(value, {fmt.fraction_bits}, &rest, &is_negative, &is_huge);
    int32_t code;
    if (is_huge == 1U) {{
        return ({c_type(tensor)})(whole != 0U ? 0 : {ends}); /* no number, or infinite */
    }}
    if (is_huge == 2U) {{
        {big}
    }}
{round_up}    code = is_negative ? -(int32_t)whole : (int32_t)whole;
{_fit(word)}
    return ({c_type(tensor)})code;
}}
"""


def _fit(word: Word) -> str:
    if word.fitting == "saturate":
        low = f"    code = code < {word.lowest} ? {word.lowest} : code;\n"
        return f"{low}    code = code > INT32_C({word.most}) ? INT32_C({word.most}) : code;"
    if word.fitting == "zero":
        return f"    code = code < {word.least} || code > INT32_C({word.most}) ? 0 : code;"
    mask, sign = (1 << word.bits) - 1, (1 << (word.bits - 1)) if word.signed else 0
    return f"    code = ((int32_t)((uint32_t)code & UINT32_C({mask})) ^ INT32_C({sign})) - INT32_C({sign});"


def _value(tensor: CTensor, fmt: Format, name: str) -> str:
    if isinstance(fmt, QFormat):
        return f"{_value_head(tensor, name)} {{\n    return (float)code * {_power(fmt.fraction_bits)};\n}}\n"
    axis = fmt.axis % len(tensor.shape)
    after = 1
    for length in tensor.shape[axis + 1 :]:
        after *= length
    lengths = fmt.lengths if isinstance(fmt, PartFormats) else (1,) * len(fmt.formats)
    lines = [f"    const int32_t place = index / {after} % {tensor.shape[axis]}; /* along axis {axis} */"]
    end = 0
    for one, length in zip(fmt.formats[:-1], lengths, strict=False):
        end += length
        lines.append(f"    if (place < {end}) {{\n        return (float)code * {_power(one.fraction_bits)};\n    }}")
    lines.append(f"    return (float)code * {_power(fmt.formats[-1].fraction_bits)};")
    return (
        f"/* `index` counts elements in ONNX's order. */\n{_value_head(tensor, name)} {{\n" + "\n".join(lines) + "\n}\n"
    )


def _power(n: int) -> str:
    text = repr(2.0**-n)
    return f"{text}f"
