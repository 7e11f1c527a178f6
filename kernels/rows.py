"""Kernels that go over rows of plain buffers: Softmax, normalizations, reductions.

A *row* is the elements that one result depends on: those of an axis, or of several neighbouring axes. Elements of a
row are next to each other where the axis is the last one, else `inner` elements apart. In the first case lanes of a
vector are elements of one row, and are added up at its end; in the second, lanes are neighbouring rows.

The work of a kernel is a number of *units*. Where elements are next to each other a unit is a row. Else it is
`lanes` neighbouring rows, or fewer at the end: unit u is group u % groups of the rows that begin at element
(u // groups) length inner.
"""

from dataclasses import dataclass
from typing import Literal

from .elements import Real
from .reference.word import Fitting

_ROWS = ("x", "y", "first", "end", "length", "inner", "groups")


@dataclass(frozen=True)
class Softmax:
    """Specification of e^x / sum(e^x), or of its logarithm.

    Attributes
    ----------
    strided : whether elements of a row are `inner` apart.
    logarithm : whether the result is the logarithm.
    gives_zeros : whether a row of -infinity gives zeros, as in Attention, and not NaN.
    """

    strided: bool
    logarithm: bool = False
    gives_zeros: bool = False

    emitter = "softmax"
    arguments = _ROWS


@dataclass(frozen=True)
class Normalize:
    """Specification of (x - mean) / deviation times a gain, plus an offset, of each row.

    Attributes
    ----------
    element : type of the elements.
    strided : whether elements of a row are `inner` apart.
    measure : "variance" for the root of variance + epsilon, "deviation" for that of the variance, plus epsilon;
        "squares" for the root of the mean of the squares + epsilon, without a mean; "norm 1" and "norm 2" for the sum
        of the magnitudes and the root of the sum of the squares, where a quotient by 0 is 0.
    gain : "element" for a gain and an offset of each element of a row; "span" for one of each part of `span` elements,
        the parts of all rows taken in turn from `gains` numbers.
    writes : whether the mean and the inverse of the deviation of each row are written.
    """

    element: Real
    strided: bool
    measure: Literal["variance", "deviation", "squares", "norm 1", "norm 2"]
    gain: Literal["element", "span"] | None = None
    writes: bool = False

    emitter = "normalize"
    arguments = (*_ROWS, "scalars", "gain", "offset", "gains", "span", "mean", "inverse")


@dataclass(frozen=True)
class CodeSoftmax:
    """Specification of Softmax of codes (`reference.softmax_fixed`), or of its logarithm.

    At `numbers` lie int64: shifts to the left of powers and of sums, or of distances and logarithms; bounds of a code;
    the number of bits above a code; and, for a logarithm, shifts to the right and to the left of the results.
    `table` has the powers in 32 bits, of which `last` is the number of the last, `logs` the table of logarithms.

    Attributes
    ----------
    source, target : integer types of the codes.
    strided : whether elements of a row are `inner` apart.
    logarithm : whether the result is the logarithm.
    rounding, fitting : rounding, and `Word.fitting` of the codes.
    """

    source: str
    target: str
    strided: bool
    logarithm: bool
    rounding: str
    fitting: Fitting

    emitter = "code_softmax"
    arguments = (*_ROWS, "scratch", "table", "last", "logs", "numbers")


@dataclass(frozen=True)
class CodeNormalize:
    """Specification of a normalization of codes (`reference.normalization_fixed`).

    At `numbers` lie int64: the count, epsilon and its exponent, the bits of the reciprocal; shifts of the results to
    the right and to the left; bounds of a code; and the number of bits above it.

    Attributes
    ----------
    source, target : integer types of the codes.
    strided : whether elements of a row are `inner` apart.
    centred : whether the mean is subtracted.
    gain : see `Normalize`; gains are int32, offsets int64.
    narrow : whether the elements about their mean, and the normalized ones, fit 32 bits.
    rounding, fitting : rounding, and `Word.fitting` of the codes.
    """

    source: str
    target: str
    strided: bool
    centred: bool
    gain: Literal["element", "span"] | None
    narrow: bool
    rounding: str
    fitting: Fitting

    emitter = "code_normalize"
    arguments = (*_ROWS, "numbers", "gain", "offset", "gains", "span")


MAX_PLACE = 1 << 24
"""The length of a row from which float32 does not count its elements exactly."""


@dataclass(frozen=True)
class RowPlace:
    """Specification of the place, an int64, of the largest or smallest element of each row; NaN is both.

    Attributes
    ----------
    element : type of the elements.
    strided : whether elements of a row are `inner` apart.
    largest : whether the largest is meant.
    last : whether of equal elements the last is meant.
    """

    element: Real
    strided: bool
    largest: bool
    last: bool

    emitter = "row_place"
    arguments = _ROWS


Fold = Literal[
    "sum", "mean", "product", "largest", "smallest", "size", "squares", "root", "root of sum", "log", "log of exp"
]


@dataclass(frozen=True)
class Reduce:
    """Specification of one result for each row.

    Attributes
    ----------
    element : type of the elements.
    strided : whether elements of a row are `inner` apart.
    fold : result; "size" is the sum of magnitudes, "squares" and "root" are the sum of squares and its root, "root of
        sum", "log" and "log of exp" are the root and logarithms of sums.
    """

    element: Real
    strided: bool
    fold: Fold

    emitter = "reduce"
    arguments = (*_ROWS, "scalars")
