"""Specification of the kernel that finds the first k elements in order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TopK:
    """The k largest (or smallest) of each row, in order, and their places; of equal ones the first; NaN is the largest.

    Attributes
    ----------
    element : type of an element.
    largest : whether the largest come first.
    """

    element: str
    largest: bool

    emitter = "top_k"
    # A row is `length` elements `inner` apart; row r begins at (r // inner) * length * inner + r % inner, and its
    # results lie likewise with k for the length. `scratch` holds k int64.
    arguments = ("x", "y", "places", "first", "end", "length", "inner", "k", "scratch")
