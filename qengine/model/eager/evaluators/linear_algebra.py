"""Determinants."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.evaluator import evaluator


@evaluator("Det", since=11, outputs=lambda x: [(x.shape[:-2], x.dtype)])
def det(x: NDArray[Any]) -> NDArray[Any]:
    """Determinants of the matrices in the last two axes, computed in float64."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ModelError(f"X {list(x.shape)} must hold square matrices in its last two axes")
    return np.asarray(np.linalg.det(x.astype(np.float64))).astype(x.dtype)


__all__ = ["det"]
