"""Model of what later data adds beyond the extremes of the runs that were observed.

Few runs say little about the next ones. The least squared error on the data saturates values, or leaves no room above
the largest one, as if there were no other data. But of N runs and one more, each is as likely to hold the largest
value of all. So as many runs again are expected to have about one value beyond the extreme of the first ones. How far
beyond, the spread of the runs tells: where the largest values of runs have an exponential tail, such as the extreme
values of most distributions have (Gumbel), the largest of N exceeds their mean by b (1 + 1/2 + ... + 1/N) - b, where b
is the mean excess over any high level. Hence

    b = (largest of all runs - mean of the largest of each + |largest| / (8 N)) / (1/2 + ... + 1/N + 1/N)

The terms with N alone stand for one more opinion, as one run has no spread: b is an eighth of the largest value then,
and for runs with one and the same largest value, as pixels have, it falls with N to the power of 1 and more. The
squared error that one value e + z adds, z exponential with mean b, in a format that reaches up to r, is

    (e - r)^2 + 2 b (e - r) + 2 b^2    where r < e,    and    2 b^2 exp(-(r - e) / b)    elsewhere.

It is added to the error on the data. Against the rounding of thousands of values in 8 bits it is little; in 16 bits,
or for a few values in few runs, it takes the format with more room: in words of up to `SHORT_WORD` bits at most that
in which no value of the data saturates, in longer ones also the one with a fraction bit less. Constants have no later
values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qengine.qformat import QFormat
from qengine.quantization.calibration.histogram import Histogram

SHORT_WORD = 8
"""Word length up to which no room above the largest value is taken: there the step costs every value too much."""

_FIRST_SPREAD = 8  # part of the largest value that one run is expected to be exceeded by


class Beyond:
    """The value that later runs are expected to add to each of some histograms, on each side.

    Parameters
    ----------
    histograms
        Histograms, with the extremes of their runs.

    Attributes
    ----------
    is_expected : (histograms,) whether later values may lie beyond the extremes.
    """

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        self._extremes, self._excess = np.zeros((len(histograms), 2)), np.zeros((len(histograms), 2))
        for i, one in enumerate(histograms):
            if not one.runs or one.is_zero:
                continue
            # Both sides as magnitudes: of the largest value and of the negative smallest one.
            extremes = np.array([one.most, -one.least])
            means = np.array([one.mean_extremes[1], -one.mean_extremes[0]])
            n, harmonic = one.runs, sum(1 / k for k in range(2, one.runs + 1))
            spread = np.maximum(extremes - means, 0) + np.abs(extremes) / (_FIRST_SPREAD * n)
            self._extremes[i], self._excess[i] = extremes, np.where(extremes > 0, spread / (harmonic + 1 / n), 0)
        self.is_expected = (self._excess > 0).any(axis=1)

    def errors(self, fraction_bits: NDArray[np.int64], words: Sequence[QFormat]) -> NDArray[np.float64]:
        """Return the squared errors that the values add in candidates of formats.

        Parameters
        ----------
        fraction_bits
            (histograms, candidates) fraction bits.
        words
            Format of each histogram, of which the word and the sign are read.
        """
        codes = np.array([(one.word().most, -one.word().least) for one in words], np.float64).reshape(-1, 1, 2)
        reach = np.ldexp(codes, -fraction_bits[..., None])
        excess, short = self._excess[:, None], self._extremes[:, None] - reach
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inside = 2 * excess**2 * np.exp(np.where(excess > 0, np.minimum(short, 0) / excess, 0))
        outside = short**2 + 2 * excess * short + 2 * excess**2
        return np.asarray(np.where(excess > 0, np.where(short > 0, outside, inside), 0).sum(axis=-1))
