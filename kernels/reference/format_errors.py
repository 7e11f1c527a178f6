"""Errors of formats: sums of squares by which numbers change where they are rounded to codes and saturate.

A format is chosen by comparing such sums, so that they must not depend on the machine or on the number of threads.
Every sum has one order: numbers are taken in chunks of `CHUNK`; number i of a chunk is added to sum i modulo 16; the 16
sums are added one after the other, and then the chunks are.

A *candidate* is a row of numbers that describe a format; `candidate` and `cell_candidate` make it. Both kinds of sums
come with a second one: the error of what lies beyond the range alone. It only grows with the number of fraction bits of
a word, so that it bounds the errors of all finer formats from below.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

LANES = 16
CHUNK = 4096
"""Number of numbers that are summed at a time."""

NUMBERS = 6
"""Numbers of a candidate."""


def candidate(fraction_bits: Any, least: int, most: int) -> Reals:
    """Return the candidates of a word of codes `least` to `most` with some fraction bits: (..., 6)."""
    n = np.asarray(fraction_bits)
    step = np.ldexp(1.0, -n)
    return np.stack(np.broadcast_arrays(np.ldexp(1.0, n), step, float(least), float(most), least * step, 0.0), axis=-1)


def cell_candidate(fraction_bits: Any, last: int, *, above: bool, reach: int) -> Reals:
    """Return the candidates of one side of a word for cells: (..., 6).

    Parameters
    ----------
    fraction_bits
        Numbers of fraction bits.
    last
        Magnitude of the last code.
    above
        Whether the side is that of positive numbers. The half step beyond the last code is rounded down there.
    reach
        Magnitude, in steps, up to which numbers are rounded and do not saturate.
    """
    step = np.ldexp(1.0, -np.asarray(fraction_bits))
    edge = step**3 / 4 if above else 0.0
    return np.stack(np.broadcast_arrays(1 / step, step, float(last), reach * step, step**2 / 12, edge), axis=-1)


def value_errors(values: NDArray[np.floating], candidates: Reals) -> Reals:
    """Return sum (x - q(x))^2 and sum max(|x| - |least value|, 0)^2 of each row for each candidate.

    Parameters
    ----------
    values
        (rows, columns) finite numbers.
    candidates
        (rows, candidates, 6), of `candidate`.

    Returns
    -------
    ndarray
        (rows, candidates, 2).
    """
    x = values.astype(np.float64)[:, None, :]
    inverse, step, least, most, lowest, _ = np.moveaxis(candidates[..., None], 2, 0)
    error = x - np.rint(np.clip(x * inverse, least, most)) * step
    beyond = np.maximum(np.abs(x) + lowest, 0.0)
    return np.stack([_sum(error * error), _sum(beyond * beyond)], axis=-1)


def cell_errors(cells: Reals, candidates: Reals) -> Reals:
    """Return the sum of squared errors over the cells of one side of a histogram, and that of the cells beyond reach.

    Parameters
    ----------
    cells
        (4, cells): the smallest magnitude, the width, width^2 / 12 and the count of each cell.
    candidates
        (candidates, 6), of `cell_candidate`.

    Returns
    -------
    ndarray
        (candidates, 2).
    """
    low, width, spread, count = cells[:, None, :]
    inverse, step, last, reach, flat, edge = np.moveaxis(candidates[..., None], 1, 0)
    center = low + width * 0.5
    error = center - np.rint(np.minimum(center * inverse, last)) * step
    saturated = low >= reach
    rounds = (width >= step) & ~saturated
    rounded = flat + np.where(low + width == reach, edge / np.maximum(width, step), 0.0)
    terms = count * np.where(rounds, rounded, error * error + spread)
    return np.stack([_sum(terms), _sum(np.where(saturated, terms, 0.0))], axis=-1)


def _sum(terms: Reals) -> Reals:
    """Return sums over the last axis in the order of this module."""
    total = np.zeros(terms.shape[:-1])
    for start in range(0, terms.shape[-1], CHUNK):
        chunk = terms[..., start : start + CHUNK]
        padded = np.zeros((*chunk.shape[:-1], -(-chunk.shape[-1] // LANES) * LANES))
        padded[..., : chunk.shape[-1]] = chunk
        lanes = np.add.accumulate(padded.reshape(*chunk.shape[:-1], -1, LANES), axis=-2)[..., -1, :]
        total = total + np.add.accumulate(lanes, axis=-1)[..., -1]
    return total
