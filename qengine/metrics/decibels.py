"""The one rule by which a signal and the noise in it become decibels.

Every decibel of the package is computed here, from sums over all data and never as a mean of decibels:

- no noise: infinite, also where there is no signal either (nothing differs);
- noise without a signal (silence): no number, None;
- a sum that is not finite, or an element that is NaN or infinite: no number, None;
- several outputs: the mean of noise to signal over the outputs, in decibels. Outputs without a number are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError

_PIECE_ELEMENTS = 1 << 16


def decibels(signal: float, noise: float) -> float | None:
    """Return 10 log10(signal / noise).

    Infinite without noise; None where there is noise and no signal, or where one of them is not finite.
    """
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal and math.isfinite(signal) and math.isfinite(noise) else None


def ratio_in_decibels(ratio: float) -> float | None:
    """Return a ratio of noise to signal as decibels of signal to noise; infinite for a ratio of 0."""
    return decibels(1.0, ratio)


@dataclass
class Energy:
    """Sums of squares of a signal and of the noise in it, over any number of runs.

    Attributes
    ----------
    signal : sum of f^2 over the elements that are finite in both tensors.
    noise : sum of (f - q)^2 over the same elements.
    nonfinite : number of elements that were left out, because they are NaN or infinite in one of the tensors.
    """

    signal: float = 0.0
    noise: float = 0.0
    nonfinite: int = 0

    def add(self, exact: NDArray[Any], other: NDArray[Any]) -> None:
        """Add a tensor f and its approximation q, of one shape."""
        signal, approximation = exact.ravel(), other.ravel()
        sums, step = [0.0, 0.0], _PIECE_ELEMENTS
        for first in range(0, signal.size, step):  # pieces stay in a cache
            piece = self._squares(signal[first : first + step], approximation[first : first + step])
            sums = [total + one for total, one in zip(sums, piece, strict=True)]
        self.signal += sums[0]
        self.noise += sums[1]

    def add_sums(self, signal: float, noise: float) -> None:
        """Add the sums of squares of a tensor, which are not finite where an element is not."""
        if math.isfinite(signal) and math.isfinite(noise):
            self.signal += signal
            self.noise += noise
        else:
            self.nonfinite += 1

    def _squares(self, exact: NDArray[Any], other: NDArray[Any]) -> tuple[float, float]:
        """Return the sums of squares of a piece of two tensors, and count what is not finite."""
        # Plain sums and no BLAS: their order does not depend on the number of threads.
        wide = exact.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = wide - other
            signal, noise = float(np.sum(wide * wide)), float(np.sum(apart * apart))
            if not (math.isfinite(signal) and math.isfinite(noise)):
                is_finite = np.isfinite(wide) & np.isfinite(apart)
                self.nonfinite += is_finite.size - int(is_finite.sum())
                wide, apart = wide[is_finite], apart[is_finite]
                signal, noise = float(np.sum(wide * wide)), float(np.sum(apart * apart))
        return signal, noise

    @property
    def sqnr_db(self) -> float | None:
        """The ratio of signal to noise by the rule of `decibels`; None where an element is not finite."""
        return None if self.nonfinite else decibels(self.signal, self.noise)

    @property
    def ratio(self) -> float:
        """The ratio of noise to signal of the finite elements; the noise itself where there is no signal."""
        return self.noise / self.signal if self.signal else self.noise


class OutputNoise:
    """Noise of many approximations of the same tensors, whose signal is summed once.

    Parameters
    ----------
    exact
        The tensors, by name.
    """

    def __init__(self, exact: Mapping[str, NDArray[Any]]) -> None:
        self._exact, self._signals = exact, {name: Energy() for name in exact}
        for name, array in exact.items():
            self._signals[name].add(array, array)

    def add(self, energies: dict[str, Energy], other: Mapping[str, NDArray[Any]]) -> None:
        """Add the approximations of the tensors to sums by name, as `Energy.add` does.

        Raises
        ------
        UnsupportedError
            If a tensor has another shape than its approximation, because the data decides it.
        """
        for name, array in other.items():
            if array.shape != self._exact[name].shape:
                raise UnsupportedError(
                    f"'{name}' is {list(self._exact[name].shape)} in float32 and {list(array.shape)} with tensors "
                    "rounded, as the data decides its shape, and has no SQNR: name another tensor (--fetch, outputs=)"
                )
            energy = energies.setdefault(name, Energy())
            noise = math.nan if self._signals[name].nonfinite else _noise(self._exact[name], array)
            if math.isfinite(noise):
                energy.add_sums(self._signals[name].signal, noise)
            else:
                energy.add(self._exact[name], array)


def _noise(exact: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the sum of squares of a difference, in the same order as `Energy.add`."""
    if exact is other:
        return 0.0
    total, first, second = 0.0, exact.ravel(), other.ravel()
    for start in range(0, first.size, _PIECE_ELEMENTS):
        piece = slice(start, start + _PIECE_ELEMENTS)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.subtract(first[piece], second[piece], dtype=np.float64)
            total += float(np.sum(apart * apart))
    return total


def mean_ratio(energies: Iterable[Energy]) -> float:
    """Return the mean ratio of noise to signal of several tensors; 0 for none."""
    ratios = [energy.ratio for energy in energies]
    return sum(ratios) / len(ratios) if ratios else 0.0
