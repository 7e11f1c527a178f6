"""Kernel of LRN: every element over a power of a sum of squares, that of some neighbouring channels."""

from dataclasses import dataclass
from typing import Literal

from .elements import Real


@dataclass(frozen=True)
class LocalResponse:
    """Specification of x / (bias + factor s)^beta, s the sum of squares of `window` channels.

    The window of a channel begins `before` channels before it; channels that do not exist count as zeros.

    Attributes
    ----------
    element : type of the elements.
    power : "root" for beta 1/2, "roots" for 3/4, "one" for 1; else the kind of the exponent, an even or odd integer, or
        another real number.
    """

    element: Real
    power: Literal["root", "roots", "one", "even", "odd", "real"]

    emitter = "local_response"
    arguments = (
        *("x", "y", "first", "end", "length", "inner", "groups"),  # see `kernels.rows`: a row is the channels
        *("before", "window", "scalars", "scratch"),
    )


def scratch_bytes(window: int, lanes: int) -> int:
    """Return the bytes of memory that a thread needs: a vector of float64 for each channel of a window."""
    return 8 * lanes * window
