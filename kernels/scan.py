"""Specifications of kernels that go along an axis one element after the other."""

from dataclasses import dataclass
from typing import Literal

_ROWS = ("x", "y", "first", "end", "length", "inner")
# Row r begins at element (r // inner) * length * inner + r % inner, and its elements are `inner` apart.


@dataclass(frozen=True)
class AxisPlace:
    """Specification of the place of the largest or smallest element of each row; NaN is both.

    Attributes
    ----------
    element : type of the elements.
    largest : whether the largest is meant.
    last : whether of equal elements the last is meant.
    """

    element: str
    largest: bool
    last: bool

    emitter = "axis_place"
    arguments = _ROWS


@dataclass(frozen=True)
class ReduceIntegers:
    """Specification of one integer for each row; sums and products wrap.

    Attributes
    ----------
    element : type of the elements.
    fold : result; "mean" is a quotient cut as ONNX cuts quotients of integers.
    """

    element: str
    fold: Literal["sum", "mean", "product", "largest", "smallest", "size", "squares"]

    emitter = "reduce_integers"
    arguments = _ROWS


@dataclass(frozen=True)
class Accumulate:
    """Specification of the sums or products of all elements so far.

    Attributes
    ----------
    element : type of the elements.
    exclusive : whether an element is not in its own sum.
    reverse : whether sums begin at the end.
    product : whether they are products.
    """

    element: str
    exclusive: bool
    reverse: bool
    product: bool

    emitter = "accumulate"
    arguments = _ROWS
