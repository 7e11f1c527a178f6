"""Softmax and layer normalization in float64, the same bits on every machine: sums run in the order of the elements."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import functions as f


def _last_sum(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.add.accumulate(rows, axis=-1)[..., -1:])


def softmax(rows: NDArray[Any], *, logarithm: bool = False) -> NDArray[np.float64]:
    """Return e^x / sum(e^x) over the last axis, or its logarithm."""
    wide = rows.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = f.exp(shifted)
    total = _last_sum(powers)
    return np.asarray(shifted - f.log(total) if logarithm else powers / total)


def standardize(rows: NDArray[Any], epsilon: float) -> NDArray[np.float64]:
    """Return (x - mean) / sqrt(variance + epsilon), the statistics over the last axis."""
    wide = rows.astype(np.float64)
    count = max(wide.shape[-1], 1)
    centred = wide - _last_sum(wide) / count
    return np.asarray(centred / np.sqrt(_last_sum(centred * centred) / count + epsilon))
