"""Softmax and layer normalization in float64, the same bits on every machine: sums run in the order of the elements."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import functions as f


def last_sum(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the last axis, in the order of the elements."""
    if not rows.shape[-1]:
        return np.zeros((*rows.shape[:-1], 1))
    return np.asarray(np.add.accumulate(rows, axis=-1)[..., -1:])


def softmax(rows: NDArray[Any], *, logarithm: bool = False) -> NDArray[np.float64]:
    """Return e^x / sum(e^x) over the last axis, or its logarithm."""
    wide = rows.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = f.exp(shifted)
    total = last_sum(powers)
    return np.asarray(shifted - f.log(total) if logarithm else powers / total)


def standardize(
    rows: NDArray[Any], epsilon: float, measure: Literal["variance", "deviation", "squares"] = "variance"
) -> NDArray[np.float64]:
    """Return (x - mean) / deviation, the statistics over the last axis.

    Parameters
    ----------
    rows
        Real numbers.
    epsilon
        Number that is added to the variance ("variance"), to its root ("deviation"), or to the mean of the squares,
        without a mean that is subtracted ("squares").
    measure
        Name of the deviation.
    """
    wide = rows.astype(np.float64)
    count = max(wide.shape[-1], 1)
    centred = wide if measure == "squares" else wide - last_sum(wide) / count
    mean = last_sum(centred * centred) / count
    return np.asarray(centred / (np.sqrt(mean) + epsilon if measure == "deviation" else np.sqrt(mean + epsilon)))


def norm(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return x / sqrt(sum of x^2) over the last axis; 0 where the sum is 0."""
    wide = rows.astype(np.float64)
    size = np.sqrt(last_sum(wide * wide))
    return np.where(size == 0, 0.0, wide / np.where(size == 0, 1.0, size))
