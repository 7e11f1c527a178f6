"""Energies of a signal and of the noise in it, summed over any number of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.quantization.calibration.error import decibels


@dataclass
class Energy:
    """Sums over runs, from which the ratio of all of them follows; a mean of ratios in dB would be another number.

    Attributes
    ----------
    signal : the sum of f^2.
    noise : the sum of (f - q)^2.
    """

    signal: float = 0.0
    noise: float = 0.0

    def add(self, exact: NDArray[Any], other: NDArray[Any]) -> None:
        """Count a tensor and what stands in its place, of one shape; elements that are not finite are left out."""
        wide = exact.astype(np.float64).ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            apart = wide - other.ravel()
            signal, noise = float(wide @ wide), float(apart @ apart)
            if not (np.isfinite(signal) and np.isfinite(noise)):
                known = np.isfinite(wide) & np.isfinite(apart)
                wide, apart = wide[known], apart[known]
                signal, noise = float(wide @ wide), float(apart @ apart)
        self.signal += signal
        self.noise += noise

    @property
    def sqnr_db(self) -> float | None:
        """10 log10(signal / noise): infinite without noise, None where there is noise without a signal."""
        return decibels(self.signal, self.noise)

    @property
    def ratio(self) -> float:
        """Noise to signal; where there is no signal, the noise itself."""
        return self.noise / self.signal if self.signal else self.noise


def mean_ratio(energies: list[Energy]) -> float:
    """Return the noise of several tensors, each in parts of its signal, on average."""
    return sum(one.ratio for one in energies) / len(energies)


def sqnr_of(ratio: float) -> float:
    """Return a ratio of noise to signal as SQNR in dB."""
    found = decibels(1.0, ratio)
    assert found is not None
    return found
