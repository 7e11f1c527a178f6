"""Histogram of a tensor's values: exact extremes and counts in constant memory, however many values there are.

A calibration sees every tensor once, run by run, and does not know its range beforehand. A histogram of fixed bins
would need a first pass for the range; here the range grows with the data. Bins have equal widths, a power of two, and
reach up to the power of two above the largest magnitude. When a larger value comes, bins are joined in pairs, which
loses no count: the histogram is the same for any order and any batches of the values. (PyTorch's HistogramObserver
grows in a similar way, but resamples old counts onto new bins.)

The first bin reaches from 0 to 2^-11 of the range. As a format may have to resolve what lies in it, counts by *octave*
are kept as well: the number of values in each [2^k, 2^(k+1)), which float32's exponent field tells exactly. Both
together give the *cells* that the error of a format is summed over, see `error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.histogram import Counters, count
from qengine.kernels.isa import Isa, choose
from qengine.kernels.reference import histogram as reference
from qengine.kernels.reference.histogram import BINS, FIELDS, LOG_BINS, NOTHING, Counted

_SUBNORMAL = 0  # exponent field of subnormal numbers
_BIAS = 127
_CHUNK_VALUES = 1 << 18  # values counted at a time


@dataclass(frozen=True)
class Cells:
    """Intervals of a histogram: `count` values lie in sign * [low, low + width).

    Widths are powers of two, and lows multiples of them; but the cells that hold the extremes end with them:
    sign * [low, extreme]. Values that are 0 lie in no cell.

    Attributes
    ----------
    sign : sign of the values of each cell, 1 or -1, (N,).
    low, width : smallest magnitude and width of each cell, (N,).
    count : number of values in each cell, (N,).
    """

    sign: NDArray[np.float64]
    low: NDArray[np.float64]
    width: NDArray[np.float64]
    count: NDArray[np.float64]


class Histogram:
    """Exact counts of a tensor's values as float32 numbers: 2,048 bins on each side of 0, and counts by octave.

    Attributes
    ----------
    least, most : smallest and largest finite value; inf and -inf where there are none.
    zeros, infinite, nan : number of values that are 0, infinite or NaN; the largest float32 counts as infinite, as
        masks use it.
    exponent : least integer with which every finite magnitude is below 2^exponent; None as long as all are 0.
    runs : number of runs whose extremes are known; 0 for values that are all there are, as those of a constant.
    """

    def __init__(self) -> None:
        self.least, self.most = float("inf"), float("-inf")
        self.zeros = self.infinite = self.nan = 0
        self.exponent: int | None = None
        self.runs, self._sums = 0, (Fraction(0), Fraction(0))  # exact: no order of the runs matters
        self._fine = np.zeros((2, BINS), np.int64)
        self._octaves = np.zeros((2, FIELDS), np.int64)  # counts by sign and float32's exponent field

    def add(self, values: NDArray[np.floating]) -> None:
        """Count the values of an array of any shape."""
        flat, isa = values.reshape(-1), choose(None)
        for start in range(0, flat.size, _CHUNK_VALUES):
            with np.errstate(over="ignore"):
                chunk = np.ascontiguousarray(flat[start : start + _CHUNK_VALUES], np.float32)
            old = NOTHING if self.exponent is None else self.exponent
            found = self._counted(chunk, isa, old)
            self.add_counts(found, old)
            if found.beyond:
                exponent = int(np.frexp(max(abs(found.least), abs(found.most)))[1])
                rest = self._counted(chunk, isa, exponent, old)
                self.add_counts(replace(rest, zeros=0, infinite=0, nan=0), exponent)

    def end_run(self, least: float, most: float) -> None:
        """Take note of the smallest and the largest finite value of a run; nothing where there was none."""
        if least <= most:
            self.runs += 1
            self._sums = self._sums[0] + Fraction(least), self._sums[1] + Fraction(most)

    @property
    def mean_extremes(self) -> tuple[float, float]:
        """The means of the smallest and of the largest value of a run; 0 where no run is known."""
        least, most = (float(one / max(self.runs, 1)) for one in self._sums)
        return least, most

    def _set_mean_extremes(self, runs: int, least: float, most: float) -> None:
        self.runs, self._sums = runs, (Fraction(least) * runs, Fraction(most) * runs)

    @staticmethod
    def _counted(chunk: NDArray[np.float32], isa: Isa | None, exponent: int, old: int | None = None) -> Counted:
        if isa is None:
            return reference.count(chunk, exponent, old)
        counters = Counters()
        counters.begin(exponent, old)
        count(chunk, counters, isa)
        return counters.found()

    def add_counts(self, found: Counted, exponent: int) -> None:
        """Add what was counted in a range: below 2^exponent, or nothing but 0 where it is `NOTHING`."""
        self.least, self.most = min(self.least, found.least), max(self.most, found.most)
        self.zeros += found.zeros
        self.infinite += found.infinite
        self.nan += found.nan
        if exponent == NOTHING:
            return
        self._widen(exponent)
        assert self.exponent is not None
        bins, octaves = found.counts[:, :BINS].copy(), found.counts[:, BINS:].copy()
        bins[:, 0] = octaves.sum(axis=1)
        # Bin i > 0 lies in the octave of i times the width of a bin.
        fields = np.maximum(np.frexp(np.arange(1, BINS))[1] - 1 + exponent - LOG_BINS + _BIAS, _SUBNORMAL)
        for own, side in zip(octaves, bins, strict=True):
            np.add.at(own, fields, side[1:])
        self._octaves += octaves
        if exponent < self.exponent:
            joined = 1 << min(self.exponent - exponent, LOG_BINS)
            sums = bins.reshape(2, BINS // joined, joined).sum(axis=2)
            self._fine[:, : BINS // joined] += sums
        else:
            self._fine += bins

    def _widen(self, exponent: int) -> None:
        """Make the bins reach up to 2^exponent at least, joining bins where they do not yet."""
        if self.exponent is None or exponent <= self.exponent:
            self.exponent = exponent if self.exponent is None else self.exponent
            return
        joined = 1 << min(exponent - self.exponent, LOG_BINS)
        sums = self._fine.reshape(2, BINS // joined, joined).sum(axis=2)
        self._fine[:] = 0
        self._fine[:, : BINS // joined] = sums
        self.exponent = exponent

    def merged(self, other: Histogram) -> Histogram:
        """Return the histogram of the values of two tensors together, as a new one."""
        union = Histogram()
        exponents = [one.exponent for one in (self, other) if one.exponent is not None]
        for one in (self, other):
            copy = Histogram()
            copy._fine, copy.exponent = one._fine.copy(), one.exponent
            if one.exponent is not None:
                copy._widen(max(exponents))
                union.exponent = copy.exponent
            union._fine += copy._fine
            union._octaves += one._octaves
            union.least, union.most = min(union.least, one.least), max(union.most, one.most)
            union.zeros += one.zeros
            union.infinite += one.infinite
            union.nan += one.nan
        seen = [one for one in (self, other) if one.runs]
        if len(seen) == 2 or (seen and not all(one.finite for one in (self, other))):
            # What both together reach in a run is not known: each reaches its own mean at least.
            means = [one.mean_extremes for one in seen]
            runs = max(one.runs for one in seen)
            union._set_mean_extremes(runs, min(one[0] for one in means), max(one[1] for one in means))
        return union

    def clipped(self, limit: float) -> Histogram:
        """Return the histogram in which all magnitudes above a positive limit are that limit, as a new one.

        No run adds anything to what was clipped.
        """
        copy = self.merged(Histogram())
        if max(-self.least, self.most) <= limit or self.exponent is None:
            return copy
        copy._set_mean_extremes(0, 0.0, 0.0)
        copy.least, copy.most = max(self.least, -limit), min(self.most, limit)
        last = int(limit * 2.0 ** (LOG_BINS - self.exponent))
        field = int(np.frexp(limit)[1]) - 1 + _BIAS
        for counts, place in ((copy._fine, last), (copy._octaves, field)):
            counts[:, place] += counts[:, place + 1 :].sum(axis=1)
            counts[:, place + 1 :] = 0
        return copy

    @property
    def finite(self) -> int:
        """The number of finite values."""
        return self.zeros + int(self._octaves.sum())

    @property
    def is_zero(self) -> bool:
        """Whether every finite value is 0."""
        return self.exponent is None

    def octaves(self) -> dict[int, tuple[int, int]]:
        """Return the number of values in [2^k, 2^(k+1)), and of those in minus that, by k; subnormal ones at -127."""
        used = np.flatnonzero(self._octaves.any(axis=0))
        return {int(e) - _BIAS: (int(self._octaves[0, e]), int(self._octaves[1, e])) for e in used}

    def cells(self) -> Cells:
        """Return the cells of the values that are not 0: the bins, and in place of the first bin the octaves in it."""
        if self.exponent is None:
            empty = np.zeros(0)
            return Cells(empty, empty, empty, empty)
        width = 2.0 ** (self.exponent - LOG_BINS)
        side, index = np.nonzero(self._fine[:, 1:])
        # The first bin reaches up to a power of two, and holds whole octaves.
        below = max(0, self.exponent - LOG_BINS + _BIAS)
        low_side, field = np.nonzero(self._octaves[:, :below])
        octave = np.ldexp(1.0, field - _BIAS)
        counts = np.concatenate([self._fine[:, 1:][side, index], self._octaves[low_side, field]])
        sign = 1.0 - 2.0 * np.concatenate([side, low_side])
        low = np.concatenate([(index + 1) * width, octave])
        end = low + np.concatenate([np.full(index.size, width), octave])
        end = np.minimum(end, np.where(sign > 0, self.most, -self.least))
        return Cells(sign, low, end - low, counts.astype(np.float64))


class HistogramArrays(NamedTuple):
    """N histograms as arrays for a file.

    Attributes
    ----------
    extremes : smallest and largest finite value, (N, 2) float64.
    special : number of zeros, infinities and NaNs, (N, 3) int64.
    exponents : whether there is an exponent, and the exponent or 0, (N, 2) int64.
    fine : counts by sign and bin, (N, 2, BINS) int64.
    octaves : counts by sign and float32's exponent field, (N, 2, 256) int64.
    runs : number of runs, and the means of their extremes, (N, 3) float64.
    """

    extremes: NDArray[np.float64]
    special: NDArray[np.int64]
    exponents: NDArray[np.int64]
    fine: NDArray[np.int64]
    octaves: NDArray[np.int64]
    runs: NDArray[np.float64]

    @classmethod
    def of(cls, histograms: Sequence[Histogram]) -> HistogramArrays:
        """Return the arrays of histograms."""
        count = len(histograms)
        return cls(
            np.array([(h.least, h.most) for h in histograms], np.float64).reshape(count, 2),
            np.array([(h.zeros, h.infinite, h.nan) for h in histograms], np.int64).reshape(count, 3),
            np.array([(h.exponent is not None, h.exponent or 0) for h in histograms], np.int64).reshape(count, 2),
            np.array([h._fine for h in histograms], np.int64).reshape(count, 2, BINS),
            np.array([h._octaves for h in histograms], np.int64).reshape(count, 2, FIELDS),
            np.array([(h.runs, *h.mean_extremes) for h in histograms], np.float64).reshape(count, 3),
        )

    def histograms(self) -> list[Histogram]:
        """Return the histograms of the arrays.

        Raises
        ------
        ValueError
            If the arrays have different lengths.
        """
        histograms = []
        for extremes, special, (has_exponent, exponent), fine, octaves, runs in zip(*self, strict=True):
            one = Histogram()
            one.least, one.most = map(float, extremes)
            one.zeros, one.infinite, one.nan = map(int, special)
            one.exponent = int(exponent) if has_exponent else None
            one._fine[:], one._octaves[:] = fine, octaves
            one._set_mean_extremes(int(runs[0]), float(runs[1]), float(runs[2]))
            histograms.append(one)
        return histograms
