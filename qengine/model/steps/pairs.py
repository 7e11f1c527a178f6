"""Forms of functions of one to three tensors that broadcast, as frozen data that kernels read too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError

Array = NDArray[Any]


@dataclass(frozen=True)
class Extreme:
    """The largest or the smallest of one or more tensors; NaN wins."""

    largest: bool

    def __call__(self, *arrays: Array) -> Array:
        """Return the elements."""
        return np.array(reduce(np.maximum if self.largest else np.minimum, arrays))


@dataclass(frozen=True)
class Chosen:
    """The second tensor where the first one holds, elsewhere the third."""

    def __call__(self, condition: Array, x: Array, y: Array) -> Array:
        """Return the elements."""
        return np.where(condition, x, y)


@dataclass(frozen=True)
class Predicate:
    """A truth value for each pair of elements, or for each element.

    Attributes
    ----------
    name : name of NumPy's function.
    """

    name: str

    def __call__(self, *arrays: Array) -> Array:
        """Return the truth values."""
        return np.asarray(getattr(np, self.name)(*arrays))


@dataclass(frozen=True)
class Remainder:
    """The remainder of a division, with the sign of the divisor, or of the dividend where `truncates`."""

    truncates: bool

    refusal = "an integer is divided by 0, which has no remainder; mask the divisor before Mod"

    def __call__(self, x: Array, divisor: Array) -> Array:
        """Return the remainders."""
        if divisor.dtype.kind in "iu" and not np.all(divisor):
            raise ModelError(self.refusal)
        return np.asarray((np.fmod if self.truncates else np.mod)(x, divisor))
