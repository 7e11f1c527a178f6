"""Choice of a format: the number of fraction bits that suits a tensor best, from a histogram or from all values.

A word of b bits has one free number, n, the number of fraction bits. The step is 2^-n, and the codes of a signed word
reach from -2^(b-1) to 2^(b-1) - 1 steps. One more fraction bit halves the step and halves the range: rounding loses
less, saturation loses more. `Method` names three answers to where the best n lies. The least squared error,

    sum over x of (x - q(x))^2,    q(x) = clip(round(x 2^n), least code, greatest code) 2^-n,

is found by trying n upward from the largest n at which nothing saturates. Smaller n need not be tried, as their codes
are codes of that format too, unless later runs are expected to reach further: see `beyond`. A search of n (or of a
clipping threshold) by squared error is common practice, for example Banner, Nahshan and Soudry, "Post Training 4-bit
Quantization of Convolutional Networks for Rapid-Deployment", NeurIPS 2019, which solves it in closed form for Laplace
and normal distributions; here it is a sum over the histogram, see `error`. Activations are given as histograms,
because there are too many values to keep; a constant as all its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.format_errors import NUMBERS, CellErrors, RowErrors
from qengine.kernels.isa import choose
from qengine.kernels.reference import format_errors as reference
from qengine.model.formats.constants import NO_LIMIT
from qengine.qformat import FRACTION_BITS, QFormat, finest_format, largest_scales
from qengine.quantization.calibration.beyond import SHORT_WORD, Beyond
from qengine.quantization.calibration.error import candidates, sides
from qengine.quantization.calibration.flat import Flat
from qengine.quantization.calibration.histogram import Histogram
from qengine.threads import available_threads

_MAX_MORE_BITS = 24  # fraction bits tried beyond the format without saturation, whose loss only grows from there on
_CANDIDATES = 4  # numbers of fraction bits that one pass tries


METHOD_WORDS = {
    **dict.fromkeys(("minmax", "min_max", "maximum", "absmax", "abs_max", "range"), "max"),
    **dict.fromkeys(("l2", "mean_squared_error", "least_squares", "mean_square"), "mse"),
    **dict.fromkeys(("percent", "quantile", "percentiles", "moving_average_percentile"), "percentile"),
}
"""Names of others for methods, and the method that each most probably means."""


class Method(StrEnum):
    """Rule by which the number n of fraction bits is chosen."""

    MSE = "mse"
    """The least mean squared error of rounding and saturation together."""
    MAX = "max"
    """The largest n at which nothing saturates."""
    PERCENTILE = "percentile"
    """The largest n at which a given share of the values that are not 0 does not saturate."""


def for_histogram(
    histogram: Histogram, bits: int, *, signed: bool, method: Method, percentile: float, headroom: float = 1.0
) -> QFormat:
    """Return the format of `bits` bits that a method chooses for the values of a histogram.

    The format of values that are all 0 has no integer bits.

    Parameters
    ----------
    histogram
        Counts of the values.
    bits
        Word length.
    signed
        Whether the format is signed.
    method, percentile
        See `CalibrationOptions`.
    headroom
        Factor by which later values may exceed those of the histogram, or its percentile, without saturating; 1 for no
        demand.

    Raises
    ------
    FormatError
        If the values are too large for any format of that many bits.
    """
    counts = Counts([histogram])
    return counts.formats(bits, [signed], method=method, percentile=percentile, headroom=headroom)[0]


class Counts:
    """Histograms, prepared for the choice of a format for each of them, again and again.

    Parameters
    ----------
    histograms
        Counts of the values.
    names
        Names of the tensors, for errors; None for no names.
    flats
        The functions that alone read each tensor, see `flat`; () for other readers.
    """

    def __init__(
        self,
        histograms: Sequence[Histogram],
        names: Sequence[str] | None = None,
        flats: Sequence[Sequence[Flat]] | None = None,
    ) -> None:
        self._histograms, self._names, self._flats = histograms, names, flats or [()] * len(histograms)
        self._extremes: dict[float, NDArray[np.float64]] = {}
        self._told_apart: dict[int, Counts] = {}

    @cached_property
    def _sides(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], CellErrors]:
        """The histogram and the sign of every side of a histogram, and the errors of formats for its cells."""
        owners, above, cells = [], [], []
        for i, histogram in enumerate(self._histograms):
            for is_above, own in sides(histogram.cells()):
                owners.append(i)
                above.append(is_above)
                cells.append(own)
        errors = CellErrors(cells, _CANDIDATES, choose(None))
        return np.array(owners, np.int64), np.array(above, bool), errors

    def formats(
        self, bits: int, signed: Sequence[bool], *, method: Method, percentile: float, headroom: float = 1.0
    ) -> list[QFormat]:
        """Return the format that a method chooses for each histogram; see `for_histogram`.

        Raises
        ------
        FormatError
            If the values of a histogram are too large for any format of that many bits.
        """
        extremes = self._extremes_of(percentile if method is Method.PERCENTILE else 100.0)
        bounds = self._finest(extremes * headroom, bits, signed)
        plain = {one: QFormat(0, bits - one, one) for one in set(signed)}
        if method is Method.MSE:
            best = self._seen(bits)._least_error(bits, [plain[one] for one in signed])
            bounds = best if headroom == 1.0 else np.minimum(best, bounds)
        return [plain[one].with_fraction_bits(n) for one, n in zip(signed, bounds.tolist(), strict=True)]

    def _extremes_of(self, percentile: float) -> NDArray[np.float64]:
        """Return the smallest and the largest value that a format must hold, (histograms, 2); 0 where all are 0."""
        if percentile not in self._extremes:
            found = np.zeros((len(self._histograms), 2))
            for i, one in enumerate(self._histograms):
                if one.is_zero:
                    continue
                threshold = _quantile(one, percentile / 100.0) if percentile < 100.0 else np.inf
                found[i] = max(one.least, -threshold), min(one.most, threshold)
            self._extremes[percentile] = found
        return self._extremes[percentile]

    def _finest(self, extremes: NDArray[np.float64], bits: int, signed: Sequence[bool]) -> NDArray[np.int64]:
        found, is_signed = np.empty(len(extremes), np.int64), np.array(signed, bool)
        for one in set(signed):
            own = np.flatnonzero(is_signed == one)
            names = None if self._names is None else [f"tensor '{self._names[i]}'" for i in own.tolist()]
            found[own] = _finest_scales(extremes[own, 0], extremes[own, 1], bits, one, names)
        return found

    def _seen(self, bits: int) -> Counts:
        """Return the histograms of what the readers of the tensors tell apart, in results of a word length."""
        if bits not in self._told_apart:
            clipped = list(self._histograms)
            for i, (one, flats) in enumerate(zip(self._histograms, self._flats, strict=True)):
                limit = max((flat(bits) for flat in flats), default=np.inf)
                if max(-one.least, one.most) > limit:
                    clipped[i] = one.clipped(limit)
            is_same = all(one is other for one, other in zip(clipped, self._histograms, strict=True))
            self._told_apart[bits] = self if is_same else Counts(clipped, self._names)
        return self._told_apart[bits]

    def _least_error(self, bits: int, words: Sequence[QFormat]) -> NDArray[np.int64]:
        """Return the fraction bits with the least squared error, of the values and of one that a later run adds."""
        unsaturated = self._finest(self._extremes_of(100.0), bits, [one.signed for one in words])
        owners, above, errors = self._sides
        beyond = Beyond(self._histograms)
        word_of = np.array([words[i].signed for i in owners], bool)
        kinds = []
        for word in set(words):
            for side in (True, False):
                own = np.flatnonzero((word_of == word.signed) & (above == side))
                kinds.append((word, side, own))
        has_room = beyond.is_expected & np.array([word.bits > SHORT_WORD for word in words], bool)
        first = np.maximum(unsaturated - has_room, FRACTION_BITS[0])
        search = _Search(first)
        is_zero = np.array([one.is_zero for one in self._histograms], bool)
        search.is_done |= is_zero
        while not search.is_done.all():
            n, tables = search.candidates, np.zeros((len(owners), _CANDIDATES, NUMBERS))
            for word, side, own in kinds:
                tables[own] = candidates(word, side, n[owners[own]])
            found = np.zeros((len(unsaturated), _CANDIDATES, 2))
            np.add.at(found, owners, errors.errors(tables))
            search.add(found + beyond.errors(n, words)[..., None])
        return np.where(is_zero, unsaturated, first + search.best)


class _Search:
    """Search for the numbers of more fraction bits with the least errors, a few candidates at a time.

    The error of what lies beyond the range grows with the number of fraction bits: once it alone reaches the least
    error, no larger number is better.

    Parameters
    ----------
    fraction_bits
        (rows,) fraction bits without saturation, from which each search begins.

    Attributes
    ----------
    best : (rows,) number of more fraction bits with the least error so far, of equal ones the smallest.
    is_done : (rows,) whether no other number is better.
    """

    def __init__(self, fraction_bits: NDArray[np.int64]) -> None:
        self._first, self._next = fraction_bits, 0
        self._least = np.full(len(fraction_bits), np.inf)
        self.best, self.is_done = np.zeros(len(fraction_bits), np.int64), np.zeros(len(fraction_bits), bool)

    @property
    def candidates(self) -> NDArray[np.int64]:
        """The fraction bits to try next, (rows, candidates)."""
        return self._first[:, None] + np.arange(self._next, self._next + _CANDIDATES)

    def add(self, errors: NDArray[np.float64]) -> None:
        """Take the errors (rows, candidates, 2) of `candidates`."""
        for k, n in enumerate(self.candidates.T):
            self.is_done |= (n > FRACTION_BITS[-1]) | (self._next + k > _MAX_MORE_BITS)
            is_better = ~self.is_done & (errors[:, k, 0] < self._least)
            self.best[is_better], self._least[is_better] = self._next + k, errors[is_better, k, 0]
            self.is_done |= errors[:, k, 1] >= self._least
        self._next += _CANDIDATES


class ConstantRows:
    """Finite values of constants, prepared for the choice of one format for each row, again and again.

    Parameters
    ----------
    arrays
        (rows, columns) finite values of each constant.
    names
        Names of the constants, for errors; None for no names.

    Attributes
    ----------
    arrays : the values.
    """

    def __init__(self, arrays: Sequence[NDArray[np.floating]], names: Sequence[str] | None = None) -> None:
        self.arrays = arrays
        self._names = None if names is None else [n for n, a in zip(names, arrays, strict=True) for _ in range(len(a))]
        self._least, self._most = (
            np.concatenate([reduce(a, axis=1, initial=0) for a in arrays] or [np.zeros(0)]).astype(np.float64)
            for reduce in (np.minimum.reduce, np.maximum.reduce)
        )
        self._errors = RowErrors(arrays, _CANDIDATES, choose(None), available_threads())
        self._thresholds: dict[float, NDArray[np.float64]] = {}
        self._found: dict[int, NDArray[np.float64]] = {}  # by word length: (rows, candidates), infinite beyond the best

    def fraction_bits(
        self, bits: int, *, method: Method, percentile: float, limits: NDArray[np.int64] | int = NO_LIMIT
    ) -> NDArray[np.int64]:
        """Return the number of fraction bits that a method chooses for each row, in signed words.

        Parameters
        ----------
        bits
            Word length.
        method, percentile
            See `CalibrationOptions`.
        limits
            The largest number that is allowed, for each row or for all.

        Raises
        ------
        FormatError
            If the values are too large for any format of that many bits.
        """
        least, most = self._least, self._most
        if method is Method.PERCENTILE:
            threshold = self._threshold(percentile)
            least, most = np.maximum(least, -threshold), np.minimum(most, threshold)
        unsaturated = _finest_scales(least, most, bits, True, self._names)
        limits = np.broadcast_to(limits, unsaturated.shape)
        is_limited = unsaturated >= limits
        found = np.where(is_limited, np.maximum(limits, FRACTION_BITS[0]), unsaturated)
        if method is Method.MSE and not is_limited.all():
            errors = self._errors_of(bits, unsaturated)
            is_allowed = unsaturated[:, None] + np.arange(errors.shape[1]) <= limits[:, None]
            best = unsaturated + np.where(is_allowed, errors, np.inf).argmin(axis=1)
            found = np.where(is_limited, found, best)
        return found

    def symmetric_limits(self, bits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the most fraction bits with which no row has the least code of its word, -2^(b-1)."""
        found = np.full(len(self._least), NO_LIMIT, np.int64)
        for length in np.unique(bits).tolist():
            own = (bits == length) & (self._least < 0)
            found[own] = largest_scales(np.zeros(own.sum()), -self._least[own], length)
        return found

    def noise(self, bits: int, fraction_bits: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sum of squared errors of each row in a signed word with some number of fraction bits."""
        word = QFormat(0, bits - 1).word()
        table = reference.candidate(np.repeat(fraction_bits[:, None], _CANDIDATES, axis=1), word.least, word.most)
        return self._errors.errors(table)[:, 0, 0]

    def _threshold(self, percentile: float) -> NDArray[np.float64]:
        """Return the magnitude that a percentage of the values other than 0 of each row does not exceed."""
        if percentile not in self._thresholds:
            magnitudes = [np.abs(row[row != 0].astype(np.float64)) for array in self.arrays for row in array]
            found = [np.percentile(row, percentile) if row.size else np.inf for row in magnitudes]
            self._thresholds[percentile] = np.array(found)
        return self._thresholds[percentile]

    def _errors_of(self, bits: int, unsaturated: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the errors of formats with 0, 1, ... more fraction bits, up to where no row has a better one."""
        if bits not in self._found:
            word, passes, search = QFormat(0, bits - 1).word(), [], _Search(unsaturated)
            search.is_done |= (self._least == 0) & (self._most == 0)
            while not search.is_done.all():
                n = search.candidates
                errors = self._errors.errors(reference.candidate(n, word.least, word.most))
                search.add(errors)
                passes.append(np.where(n > FRACTION_BITS[-1], np.inf, errors[..., 0]))
            self._found[bits] = np.concatenate(passes, axis=1) if passes else np.zeros((len(unsaturated), 1))
        return self._found[bits]


def for_values(
    values: NDArray[np.float64], bits: int, *, method: Method, percentile: float, most: int | None = None
) -> QFormat:
    """Return the signed format of `bits` bits that a method chooses for finite values.

    Parameters
    ----------
    values
        All values, in any shape.
    bits
        Word length.
    method, percentile
        See `CalibrationOptions`.
    most
        The largest number of fraction bits that is allowed; None for no limit.

    Raises
    ------
    FormatError
        If the values are too large for any format of that many bits.
    """
    limit = NO_LIMIT if most is None else most
    n = ConstantRows([values.reshape(1, -1)]).fraction_bits(bits, method=method, percentile=percentile, limits=limit)
    return QFormat(0, bits - 1).with_fraction_bits(int(n[0]))


def _finest_scales(
    least: NDArray[np.float64], most: NDArray[np.float64], bits: int, signed: bool, names: Sequence[str] | None
) -> NDArray[np.int64]:
    """Return the fraction bits of the `finest_format` of each of some ranges; errors name the range."""
    if not signed:
        least = np.zeros_like(least)
    used = (least != 0) | (most != 0)
    found = np.full(len(least), bits - signed, np.int64)
    found[used] = np.minimum(largest_scales(least[used], most[used], bits, signed), FRACTION_BITS[-1])
    if (found < FRACTION_BITS[0]).any():
        worst = int(np.flatnonzero(found < FRACTION_BITS[0])[0])
        try:
            finest_format(np.array([least[worst], most[worst]]), bits, signed)
        except FormatError as error:
            raise error if names is None else FormatError(f"{names[worst]}: {error}") from None
    return found


def _quantile(histogram: Histogram, share: float) -> float:
    """Return the magnitude that a share of the values other than 0 does not exceed, interpolated in its cell."""
    cells = histogram.cells()
    order = np.argsort(cells.low, kind="stable")
    cumulative = np.cumsum(cells.count[order])
    rank = share * cumulative[-1]
    at = int(np.searchsorted(cumulative, rank))
    cell, count = order[at], cells.count[order[at]]
    inside = (rank - (cumulative[at] - count)) / count
    return float(cells.low[cell] + inside * cells.width[cell])
