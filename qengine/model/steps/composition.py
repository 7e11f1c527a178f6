"""A function of one variable that is composed of others: a list of stages, each computed from earlier ones.

The stages of x * clip(x + 3, 0, 6) / 6 are, with values numbered from x = 0,

    1: add(0, 3.0)   2: maximum(1, 0.0)   3: minimum(2, 6.0)   4: multiply(0, 3)   5: divide(4, 6.0)

In fixed point all stages are computed in float64, and the result is rounded once. In float32 each stage is rounded to
float32, as each operator of the model would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Operand = int | float
"""An earlier value by its place, or a number if it is a float."""

_ARITHMETIC: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.true_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


@dataclass(frozen=True)
class Stage:
    """An operation of a composition.

    Attributes
    ----------
    operation : operation on two operands, or "function" for a function of one.
    operands : the operands.
    function : the function, of float64 arrays.
    """

    operation: Literal["add", "subtract", "multiply", "divide", "maximum", "minimum", "function"]
    operands: tuple[Operand, ...]
    function: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Composition:
    """A function of one variable; the last stage is the result.

    Attributes
    ----------
    stages : the operations.
    """

    stages: tuple[Stage, ...]

    def __call__(self, x: Array) -> Array:
        """Compute in float64 without any rounding to another type."""
        return self._compute(x.astype(np.float64), np.dtype(np.float64))

    def rounded(self, x: Array) -> Array:
        """Compute with every stage rounded to the element type of x."""
        return self._compute(x, x.dtype)

    def _compute(self, x: Array, dtype: np.dtype[Any]) -> Array:
        values = [x]
        for stage in self.stages:
            operands = [values[o] if isinstance(o, int) else np.float64(o) for o in stage.operands]
            wide = [np.asarray(o, np.float64) for o in operands]
            function = stage.function if stage.function is not None else _ARITHMETIC[stage.operation]
            values.append(np.asarray(function(*wide)).astype(dtype, copy=False))
        return values[-1]
