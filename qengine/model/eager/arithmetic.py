"""Real numbers in the precision in which evaluators of layers compute, and the check of their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError

Reals = NDArray[np.float64]


def reals(x: NDArray[Any]) -> Reals:
    """Return real numbers of any type in float64."""
    return np.asarray(x, np.float64)


def check_shape(x: NDArray[Any], shape: Sequence[int | None], what: str) -> None:
    """Raise ModelError if an array has another shape; None stands for any length, and `what` names the array."""
    if x.ndim != len(shape) or any(n is not None and m != n for m, n in zip(x.shape, shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ModelError(f"{what} has the shape {list(x.shape)}, [{wanted}] is needed")
