"""Rounding and overflow modes."""

from enum import StrEnum
from typing import TypeVar

from qengine.errors import FormatError


class Rounding(StrEnum):
    """Rounding of an exact number to an integer."""

    HALF_EVEN = "half_even"
    """Nearest, ties to even: ONNX QuantizeLinear, IEEE 754, ap_fixed RND_CONV."""
    HALF_UP = "half_up"
    """floor(v + 1/2): CMSIS-NN, TI, ap_fixed RND."""
    HALF_AWAY = "half_away"
    """Nearest, ties away from zero: gemmlowp, C `round`, ap_fixed RND_INF."""
    FLOOR = "floor"
    """Toward minus infinity: ap_fixed TRN."""
    TRUNC = "trunc"
    """Toward zero: C integer division, ap_fixed TRN_ZERO."""


class Overflow(StrEnum):
    """Conversion of an integer that the word cannot hold to a code."""

    SATURATE = "saturate"
    """Saturate: take the nearest code."""
    WRAP = "wrap"
    """Wrap: keep the low bits of two's complement."""


_Mode = TypeVar("_Mode", Rounding, Overflow)


def _mode(kind: type[_Mode], name: str) -> _Mode:
    try:
        return kind(name)
    except ValueError:
        names = ", ".join(kind)
        raise FormatError(f"no {kind.__name__.lower()} is named {name!r}; there are {names}") from None


def rounding_mode(name: str) -> Rounding:
    """Return the `Rounding` of a name; raise FormatError, which lists all names, if there is none."""
    return _mode(Rounding, name)


def overflow_mode(name: str) -> Overflow:
    """Return the `Overflow` of a name; raise FormatError, which lists all names, if there is none."""
    return _mode(Overflow, name)
