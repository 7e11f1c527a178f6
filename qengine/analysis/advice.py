"""Advice on the format of a whole model: a better one, if a run proves that there is one.

One format for every activation wastes integer bits on small values or saturates large ones. The values of each
activation in float32 show the noise that any other format would add to it. The best candidate by that estimate is
run on the same feeds, and it is named only if the outputs are clearly better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.report import Comparison, percent
from qengine.errors import FormatError
from qengine.metrics.sqnr import sqnr_of_outputs
from qengine.qformat import QFormat

# Least improvement for which another format is suggested.
_MIN_GAIN_DB = 6.0
# SQNR below which a longer word is suggested where no other format of the same word length helps.
_LOW_SQNR_DB = 20.0
_LONGER_WORDS = (8, 16)


@dataclass(frozen=True)
class Advice:
    """A better format than the requested one.

    Attributes
    ----------
    format : the format to use instead.
    reason : the fault of the requested format, in a few words.
    sqnr_db_before, sqnr_db : measured SQNR of the outputs with the requested format and with this one.
    """

    format: QFormat
    reason: str
    sqnr_db_before: float
    sqnr_db: float


def advise(
    comparison: Comparison, qformat: QFormat, run: Callable[[QFormat], Mapping[str, NDArray[Any]]]
) -> Advice | None:
    """Return a clearly better format for the whole model, or None.

    The candidates are the formats of the same word length and, where none of them helps and the outputs are poor
    (below 20 dB), those of the next longer word lengths in use, 8 and 16 bits. They are compared by the noise that each
    adds to every activation, relative to the activation. The best is then run, and returned only where the outputs
    are better by 6 dB or more. Unsigned formats are candidates only where the requested format is unsigned.

    Parameters
    ----------
    comparison
        Result of `compare` with `qformat` for every activation.
    qformat
        The requested format.
    run
        Function that runs the model on the same feeds with another format and returns the outputs by name.
    """
    before = sqnr_of_outputs(comparison.float_outputs, comparison.outputs)
    if before is None or before == float("inf"):
        return None
    longer = [bits for bits in _LONGER_WORDS if bits > qformat.bits] if before < _LOW_SQNR_DB else []
    for bits in (qformat.bits, *longer):
        candidate = best_uniform_format(comparison.statistics, bits, unsigned=not qformat.signed)
        if candidate is None or candidate == qformat:
            continue
        try:
            after = sqnr_of_outputs(comparison.float_outputs, run(candidate))
        except FormatError:  # a constant does not fit a format of this kind
            continue
        if after is not None and after >= before + _MIN_GAIN_DB:
            return Advice(candidate, _reason(comparison, qformat, candidate), before, after)
    return None


def _reason(comparison: Comparison, qformat: QFormat, candidate: QFormat) -> str:
    """Return the fault of `qformat` that the measured figures show."""
    if candidate.bits > qformat.bits:
        return f"no format of {qformat.bits} bits is clearly better than {qformat} for these values"
    spare = qformat.integer_bits - candidate.integer_bits
    if candidate.signed and not qformat.signed:
        below = {name: np.count_nonzero(v < 0) / max(v.size, 1) for name, v in comparison.statistics.items()}
        name = max(below, key=lambda name: below[name])
        return f"{qformat} cannot hold negative values, and {below[name]:.2%} of '{name}' are negative"
    if spare > 0:
        top = f"{spare} of its {qformat.integer_bits} integer bits"
        if spare > qformat.integer_bits:
            top = f"the top {spare} bits of its word"
        values = np.concatenate([*comparison.statistics.values()])
        beyond = percent(int(np.count_nonzero((values > candidate.max) | (values < candidate.min))), values.size)
        return f"{qformat} leaves {top} unused" + (f" by all but {beyond} of the values" if beyond != "0%" else "")
    worst = max(comparison.tensors, key=lambda t: t.saturated / max(t.elements, 1))
    if spare < 0 and worst.saturated:
        lacks = f"{-spare} integer bit" + ("s" if spare < -1 else "")
        return f"{qformat} lacks {lacks}, and {percent(worst.saturated, worst.elements)} of '{worst.name}' saturates"
    return f"{candidate} is better than {qformat} for these values"


def best_uniform_format(
    statistics: Mapping[str, NDArray[np.float64]], bits: int, unsigned: bool = False
) -> QFormat | None:
    """Return the format of `bits` bits that adds the least noise, relative to the signal, over all tensors.

    Parameters
    ----------
    statistics
        Values of each tensor, by name.
    bits
        Word length.
    unsigned
        Whether unsigned formats are candidates too.
    """
    peak = max((float(np.max(np.abs(values), initial=0.0)) for values in statistics.values()), default=0.0)
    if not peak:
        return None
    top = int(np.frexp(peak)[1])  # |values| < 2^top
    candidates = []
    for signed in (False, True) if unsigned else (True,):
        for integer_bits in range(top + 1, top - bits, -1):
            with suppress(FormatError):
                candidates.append(QFormat(integer_bits, bits - signed - integer_bits, signed))
    return min(candidates, key=lambda fmt: _noise(statistics, fmt), default=None)


def _noise(statistics: Mapping[str, NDArray[np.float64]], fmt: QFormat) -> float:
    """Return the sum over tensors of noise power over signal power in one format, with rounding and saturation."""
    word, total = fmt.word(), 0.0
    for values in statistics.values():
        codes = np.clip(np.rint(np.ldexp(values, fmt.fraction_bits)), word.least, word.most)
        error = values - np.ldexp(codes, -fmt.fraction_bits)
        power = float(np.sum(values * values))
        if power:
            total += float(np.sum(error * error)) / power
    return total
