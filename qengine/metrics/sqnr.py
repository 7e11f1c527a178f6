"""Signal-to-quantization-noise ratio of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from qengine.metrics.decibels import Energy, mean_ratio, ratio_in_decibels
from qengine.metrics.declaration import Accumulator, EvaluatedBatch, Unit, metric


def sqnr(signal: NDArray[Any], approximation: NDArray[Any]) -> float | None:
    """Return 10 log10(sum(f^2) / sum((f - q)^2)) in dB.

    Infinite where nothing differs; None where f is all 0 and q is not, or an element is not finite.
    """
    energy = Energy()
    energy.add(signal, approximation)
    return energy.sqnr_db


def sqnr_of_outputs(signal: Mapping[str, NDArray[Any]], approximation: Mapping[str, NDArray[Any]]) -> float | None:
    """Return the SQNR in dB of several outputs: the mean of noise to signal, in decibels.

    Outputs that do not hold real numbers, or have no SQNR of their own, are left out; None where none is left.
    """
    energies = []
    for name, exact in signal.items():
        if exact.dtype.kind == "f":
            energy = Energy()
            energy.add(exact, approximation[name])
            if energy.sqnr_db is not None:
                energies.append(energy)
    return ratio_in_decibels(mean_ratio(energies)) if energies else None


@metric("sqnr", column="sqnr_db", label="SQNR", unit=Unit.DB, order=90)
class Sqnr(Accumulator):
    """SQNR in dB of an output against float32; None for an output without real numbers."""

    def __init__(self) -> None:
        self._energy, self._has_number = Energy(), False

    def add(self, batch: EvaluatedBatch) -> None:
        """Add the squares of a run."""
        if batch.exact.dtype.kind != "f":
            return
        self._has_number = True
        if batch.exact.shape == batch.output.shape:
            self._energy.add(batch.exact, batch.output)
        else:
            self._energy.nonfinite += batch.exact.size

    def value(self) -> float | None:
        """Return decibels; infinite where nothing differs."""
        return self._energy.sqnr_db if self._has_number else None
