"""Error of a format: the sum of squares by which rounding and saturation change the values of a tensor.

For values that are all known the sum is exact. For a histogram it is the integral over its cells, in which
the values are taken to be spread evenly: inside the range of the format a cell as wide as a step s or wider adds
s^2 / 12 per value (uniform rounding error); a narrower one, or one beyond the range, becomes a single code t, and adds
(center - t)^2 + width^2 / 12. Cells and steps are powers of two, and so no cell straddles two codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.format_errors import RowErrors, padded_cells
from qengine.kernels.isa import choose
from qengine.kernels.reference import format_errors as reference
from qengine.kernels.reference.format_errors import Reals
from qengine.metrics.decibels import decibels
from qengine.qformat import QFormat
from qengine.quantization.calibration.histogram import Cells, Histogram


def squared_error(cells: Cells, fmt: QFormat) -> float:
    """Return the sum of (x - q(x))^2 over a histogram, where q rounds to nearest and saturates in the format.

    The sum is exact for values that are spread evenly over their cells, except in the cells of the extremes, which do
    not end at a power of two.
    """
    return float(sum(reference.cell_errors(own, candidates(fmt, above))[0, 0] for above, own in sides(cells)))


def sides(cells: Cells) -> list[tuple[bool, Reals]]:
    """Return the cells of positive numbers and those of negative ones, as kernels read them, where there are any."""
    found = []
    for above in (True, False):
        own = cells.sign > 0 if above else cells.sign < 0
        if own.any():
            found.append((above, padded_cells(cells.low[own], cells.width[own], cells.count[own])))
    return found


def candidates(fmt: QFormat, above: bool, fraction_bits: NDArray[np.int64] | None = None) -> Reals:
    """Return the candidates of cells on one side that have the word of a format and some fraction bits, or its own."""
    word = fmt.word()
    last, reach = (word.most, word.most + 1) if above else (-word.least, -word.least)
    n = np.array([fmt.fraction_bits]) if fraction_bits is None else fraction_bits
    return reference.cell_candidate(n, last, above=above, reach=reach)


def power(cells: Cells) -> float:
    """Return the sum of x^2 over a histogram, for values that are spread evenly over their cells."""
    return float(np.sum(cells.count * ((cells.low + cells.width / 2) ** 2 + cells.width**2 / 12)))


def exact_error(values: NDArray[np.float64], fmt: QFormat) -> float:
    """Return the sum of (x - q(x))^2 over all values, where q rounds to nearest and saturates in the format."""
    word = fmt.word()
    candidate = reference.candidate([[fmt.fraction_bits]], word.least, word.most)
    return float(reference.value_errors(values.reshape(1, -1), candidate)[0, 0, 0])


def row_errors(rows: NDArray[np.float64], formats: Sequence[QFormat]) -> NDArray[np.float64]:
    """Return the `exact_error` of each row in a format of its own; all formats have one word length and sign."""
    word = formats[0].word()
    n = np.array([[fmt.fraction_bits] for fmt in formats])
    return RowErrors([rows], 1, choose(None)).errors(reference.candidate(n, word.least, word.most))[:, 0, 0]


def sqnr_in(histogram: Histogram, fmt: QFormat) -> float | None:
    """Return the SQNR in dB of a tensor in a format, from its histogram; see `decibels`."""
    cells = histogram.cells()
    return decibels(power(cells), squared_error(cells, fmt))
