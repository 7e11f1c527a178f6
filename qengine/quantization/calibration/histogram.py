"""What is kept of a tensor's values, however many there are: exact extremes and counts, in constant memory.

Every count is exact and does not depend on the order in which the values came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qengine.model.formats.constants import LARGEST

_LOG_BINS = 11
BINS = 1 << _LOG_BINS
"""Bins of equal width on each side of 0."""

_FIELDS = 256  # of float32's exponent
_SUBNORMAL, _HUGE = 0, _FIELDS - 2  # the second may be what counts as infinite
_BIAS = 127
_CHUNK = 1 << 18


def _fields(chunk: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count values by sign and exponent field."""
    return np.bincount(chunk.view(np.uint32) >> 23, minlength=2 * _FIELDS).reshape(2, _FIELDS)


@dataclass(frozen=True)
class Cells:
    """Where values lie: `count` of them in sign * [low, low + width).

    Widths are powers of two, lows multiples of them; but the cells of the extremes end with them: sign * [low, most].
    What is 0 is in no cell.
    """

    sign: NDArray[np.float64]
    low: NDArray[np.float64]
    width: NDArray[np.float64]
    count: NDArray[np.float64]


class Histogram:
    """Counts of a tensor's values, taken for float32 numbers.

    On each side of 0 there are 2,048 bins of equal width up to the power of two above the largest magnitude; as that
    grows, pairs of bins become one. Counts by power of two are kept beside, which tell what lies in the first bin.

    Attributes
    ----------
    least, most : the extremes of the finite values; inf and -inf where there are none.
    zeros, infinite, nan : how many values are such; the largest float32 counts as infinite, as masks use it.
    exponent : every finite magnitude is below 2^exponent; None as long as all are 0.
    """

    def __init__(self) -> None:
        self.least, self.most = float("inf"), float("-inf")
        self.zeros = self.infinite = self.nan = 0
        self.exponent: int | None = None
        self._fine = np.zeros((2, BINS), np.int64)
        self._octaves = np.zeros((2, _FIELDS), np.int64)  # by sign and float32's exponent field

    def add(self, values: NDArray[np.floating]) -> None:
        """Count values of any shape."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            with np.errstate(over="ignore"):
                self._add(np.ascontiguousarray(flat[start : start + _CHUNK], np.float32))

    def _add(self, chunk: NDArray[np.float32]) -> None:
        fields = _fields(chunk)
        if fields[:, _HUGE:].any():
            kept = chunk[np.abs(chunk) < LARGEST]
            nan = int(np.count_nonzero(np.isnan(chunk)))
            self.nan += nan
            self.infinite += chunk.size - kept.size - nan
            chunk = kept
            fields = _fields(chunk)
        if not chunk.size:
            return
        if fields[:, _SUBNORMAL].any():
            zeros = chunk.size - int(np.count_nonzero(chunk))
            self.zeros += zeros
            negative = int(np.count_nonzero((chunk < 0) & (chunk > -(2.0**-126))))
            fields[:, _SUBNORMAL] = fields[:, _SUBNORMAL].sum() - zeros - negative, negative
        self._octaves += fields
        least, most = float(chunk.min()), float(chunk.max())
        self.least, self.most = min(self.least, least), max(self.most, most)
        if least == most == 0.0:
            return
        self._widen(int(np.frexp(max(most, -least))[1]))
        assert self.exponent is not None
        index = (np.abs(chunk) * np.float64(2.0) ** (_LOG_BINS - self.exponent)).astype(np.int32)
        index += (chunk < 0) * np.int32(BINS)
        self._fine += np.bincount(index, minlength=2 * BINS).reshape(2, BINS)

    def _widen(self, exponent: int) -> None:
        """Let bins reach up to 2^exponent, if they do not yet."""
        if self.exponent is None or exponent <= self.exponent:
            self.exponent = exponent if self.exponent is None else self.exponent
            return
        joined = 1 << min(exponent - self.exponent, _LOG_BINS)
        sums = self._fine.reshape(2, BINS // joined, joined).sum(axis=2)
        self._fine[:] = 0
        self._fine[:, : BINS // joined] = sums
        self.exponent = exponent

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of both tensors' values together; those of the operands stay as they are."""
        found = Histogram()
        for one in (self, other):
            copy = Histogram()
            copy._fine, copy.exponent = one._fine.copy(), one.exponent
            reach = max(e for e in (self.exponent, other.exponent, -1000) if e is not None)
            if one.exponent is not None:
                copy._widen(reach)
                found.exponent = reach
            found._fine += copy._fine
            found._octaves += one._octaves
            found.least, found.most = min(found.least, one.least), max(found.most, one.most)
            found.zeros += one.zeros
            found.infinite += one.infinite
            found.nan += one.nan
        return found

    @property
    def finite(self) -> int:
        """How many values are finite."""
        return self.zeros + int(self._octaves.sum())

    @property
    def is_zero(self) -> bool:
        """Whether no finite value is other than 0."""
        return self.exponent is None

    def octaves(self) -> dict[int, tuple[int, int]]:
        """Return how many values lie in [2^k, 2^(k+1)), and how many in minus that, by k; subnormal ones at -127."""
        used = np.flatnonzero(self._octaves.any(axis=0))
        return {int(e) - _BIAS: (int(self._octaves[0, e]), int(self._octaves[1, e])) for e in used}

    def cells(self) -> Cells:
        """Return where the values that are not 0 lie, as closely as it is known."""
        if self.exponent is None:
            nothing = np.zeros(0)
            return Cells(nothing, nothing, nothing, nothing)
        width = 2.0 ** (self.exponent - _LOG_BINS)
        side, index = np.nonzero(self._fine[:, 1:])
        # The first bin reaches up to a power of two, and holds whole octaves.
        below = max(0, min(_FIELDS, self.exponent - _LOG_BINS + _BIAS))
        low_side, field = np.nonzero(self._octaves[:, :below])
        octave = np.ldexp(1.0, field - _BIAS)
        counts = np.concatenate([self._fine[:, 1:][side, index], self._octaves[low_side, field]])
        sign = 1.0 - 2.0 * np.concatenate([side, low_side])
        low = np.concatenate([(index + 1) * width, octave])
        end = low + np.concatenate([np.full(index.size, width), octave])
        end = np.minimum(end, np.where(sign > 0, self.most, -self.least))
        return Cells(sign, low, end - low, counts.astype(np.float64))


class HistogramArrays(NamedTuple):
    """Histograms as arrays whose first axis counts them, for a file.

    Attributes
    ----------
    extremes : (N, 2) float64, least and most.
    special : (N, 3) int64, how many zeros, infinities and NaNs.
    exponents : (N, 2) int64, whether there is an exponent, and that or 0.
    fine : (N, 2, BINS) int64, counts by sign and bin.
    octaves : (N, 2, 256) int64, counts by sign and float32's exponent field.
    """

    extremes: NDArray[np.float64]
    special: NDArray[np.int64]
    exponents: NDArray[np.int64]
    fine: NDArray[np.int64]
    octaves: NDArray[np.int64]

    @classmethod
    def of(cls, histograms: Sequence[Histogram]) -> HistogramArrays:
        """Return histograms as arrays."""
        count = len(histograms)
        return cls(
            np.array([(h.least, h.most) for h in histograms], np.float64).reshape(count, 2),
            np.array([(h.zeros, h.infinite, h.nan) for h in histograms], np.int64).reshape(count, 3),
            np.array([(h.exponent is not None, h.exponent or 0) for h in histograms], np.int64).reshape(count, 2),
            np.array([h._fine for h in histograms], np.int64).reshape(count, 2, BINS),
            np.array([h._octaves for h in histograms], np.int64).reshape(count, 2, _FIELDS),
        )

    def histograms(self) -> list[Histogram]:
        """Return the histograms again.

        Raises
        ------
        ValueError
            If the arrays do not go together.
        """
        found = []
        for extremes, special, (has_exponent, exponent), fine, octaves in zip(*self, strict=True):
            one = Histogram()
            one.least, one.most = map(float, extremes)
            one.zeros, one.infinite, one.nan = map(int, special)
            one.exponent = int(exponent) if has_exponent else None
            one._fine[:], one._octaves[:] = fine, octaves
            found.append(one)
        return found
