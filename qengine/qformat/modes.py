"""Rounding and overflow modes."""

from enum import StrEnum
from typing import TypeVar

from qengine.errors import FormatError, did_you_mean


class Rounding(StrEnum):
    """Rounding of an exact number to an integer."""

    HALF_EVEN = "half_even"
    """Nearest, ties to even: ONNX QuantizeLinear, IEEE 754, ESP32-P4, ap_fixed RND_CONV, AIE conv_even."""
    HALF_UP = "half_up"
    """floor(v + 1/2): CMSIS-NN legacy, s16 and with single rounding, TI, ESP32-S3, ap_fixed RND, AIE positive_inf."""
    HALF_DOWN = "half_down"
    """ceil(v - 1/2): ap_fixed RND_MIN_INF, AIE negative_inf."""
    HALF_AWAY = "half_away"
    """Nearest, ties away from zero: C `round`, ap_fixed RND_INF, QONNX HALF_UP, AIE symmetric_inf."""
    HALF_ZERO = "half_zero"
    """Nearest, ties toward zero: ap_fixed RND_ZERO, QONNX HALF_DOWN, AIE symmetric_zero."""
    FLOOR = "floor"
    """Toward minus infinity: a plain shift right, ap_fixed TRN, QONNX FLOOR, AIE floor."""
    CEIL = "ceil"
    """Toward plus infinity: QONNX CEIL, AIE ceil."""
    TRUNC = "trunc"
    """Toward zero: C integer division, ap_fixed TRN_ZERO, QONNX DOWN."""
    AWAY = "away"
    """Away from zero: QONNX UP."""
    TFLITE = "tflite"
    """A shift rounds twice, half up by the first bit and then half away by the others; other numbers, half away.

    TFLite and CMSIS-NN s8 with gemmlowp's fixed-point multiplication by 2^-s.
    """
    RUY = "ruy"
    """A shift rounds twice, half up by the first bit and then by the others; other numbers, half up: ruy in LiteRT."""


class Overflow(StrEnum):
    """Conversion of an integer that the word cannot hold to a code."""

    SATURATE = "saturate"
    """Saturate: take the nearest code."""
    SYMMETRIC = "symmetric"
    """Saturate at the codes of the largest magnitude m that both signs have, -m and m: ap_fixed SAT_SYM, QONNX narrow.

    Unsigned codes as with saturate.
    """
    WRAP = "wrap"
    """Wrap: keep the low bits of two's complement."""
    ZERO = "zero"
    """Take the code 0: ap_fixed SAT_ZERO."""


ROUNDING_WORDS = {
    **dict.fromkeys(("nearest", "round", "rne", "rnd", "near", "rint", "half_to_even", "bankers"), "half_even"),
    **dict.fromkeys(("round_half_even", "convergent", "conv_even", "rnd_conv", "even"), "half_even"),
    **dict.fromkeys(("round_ties_to_even", "ties_even", "nearest_even", "round_nearest_even", "rhe"), "half_even"),
    **dict.fromkeys(("up", "round_half_up", "ap_rnd", "half_plus", "positive_inf", "ties_up", "add_half"), "half_up"),
    **dict.fromkeys(("round_half_down", "negative_inf", "ap_rnd_min_inf", "rnd_min_inf", "ties_down"), "half_down"),
    **dict.fromkeys(("round_half_away", "ties_away", "symmetric_inf", "rna", "rnd_inf", "lround"), "half_away"),
    **dict.fromkeys(("round_half_zero", "ties_zero", "symmetric_zero", "rnd_zero"), "half_zero"),
    **dict.fromkeys(("down", "trn", "ap_trn", "rtn", "shift", "rdn", "arithmetic_shift", "round_down"), "floor"),
    **dict.fromkeys(("ceiling", "rtp", "rup", "round_up"), "ceil"),
    **dict.fromkeys(("truncate", "truncation", "to_zero", "towards_zero", "rtz", "trn_zero", "ap_trn_zero"), "trunc"),
    **dict.fromkeys(("away_from_zero", "up_and_away"), "away"),
    **dict.fromkeys(("gemmlowp", "tflite_micro", "tfl"), "tflite"),
}
"""Names of others for roundings, and the rounding that each means or most probably means."""

OVERFLOW_WORDS = {
    **dict.fromkeys(("clip", "clamp", "sat", "saturation", "ap_sat", "saturating", "ssat", "limit"), "saturate"),
    **dict.fromkeys(("wraparound", "wrap_around", "modulo", "ap_wrap", "overflow", "roll_over"), "wrap"),
    **dict.fromkeys(("sat_sym", "ap_sat_sym", "narrow", "narrow_range"), "symmetric"),
    **dict.fromkeys(("sat_zero", "ap_sat_zero"), "zero"),
}
"""Names of others for overflows, and the overflow that each means."""

_Mode = TypeVar("_Mode", Rounding, Overflow)


def _mode(kind: type[_Mode], name: str) -> _Mode:
    try:
        return kind(name)
    except ValueError:
        near = did_you_mean(str(name), kind, ROUNDING_WORDS if kind is Rounding else OVERFLOW_WORDS)
        raise FormatError(f"no {kind.__name__.lower()} is named {name!r}{near}; there are {', '.join(kind)}") from None


def rounding_mode(name: str) -> Rounding:
    """Return the `Rounding` of a name; raise FormatError, which lists all names, if there is none."""
    return _mode(Rounding, name)


def overflow_mode(name: str) -> Overflow:
    """Return the `Overflow` of a name; raise FormatError, which lists all names, if there is none."""
    return _mode(Overflow, name)
