"""Kernels of functions of one real variable: of one that has a name, and of a composition of such functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.elementwise import Composed, Function
from qengine.model.steps.composition import Composition
from qengine.model.steps.forms import Curve
from qengine.runtime.native.lowering_table import NotLowered

_IN_DOUBLE = {"sqrt", "root", "reciprocal", "square", "cube", "abs", "negative", "sign", "floor", "ceil", "round"} | {
    "thresholded", "softsign", "exp", "log", "power", "even power", "odd power", "leaky", "hard sigmoid", "hard swish"
}  # fmt: skip
_STAGE_CYCLES = 0.5


def kernel_of(function: Any, element: Any) -> tuple[Function | Composed, NDArray[Any]]:
    """Return the specification of a function's kernel, and the numbers that it reads.

    Parameters
    ----------
    function
        The function of a table.
    element
        Type of the elements, "f32" or "f64".

    Raises
    ------
    NotLowered
        If no kernel computes the function.
    """
    numbers: list[float] = []
    if isinstance(function, Curve):
        _add_coefficients(function, element, numbers)
        return Function(function.name, element), _array(numbers, element)
    if not isinstance(function, Composition):
        raise NotLowered("a function that is not known by name")
    stages: list[tuple[str, tuple[int, ...]]] = []
    for stage in function.stages:
        places = []
        for operand in stage.operands:
            places.append(operand if isinstance(operand, int) else -1 - len(numbers))
            numbers += [] if isinstance(operand, int) else [operand]
        name: str = stage.operation
        if stage.function is not None:
            places += [-1 - len(numbers), -2 - len(numbers)]
            name = _add_coefficients(stage.function, element, numbers)
        stages.append((name, tuple(places)))
    return Composed(tuple(stages), element), _array(numbers, element)


def cycles_of(function: Any) -> float:
    """Return an estimate of the processor cycles of an element of float32 on one thread."""
    if not isinstance(function, Composition):
        return 1.5
    return sum(1.5 if stage.function is not None else _STAGE_CYCLES for stage in function.stages)


def label_of(function: Any) -> str:
    """Return the name of a function's kernel for tables."""
    return "composed" if isinstance(function, Composition) else str(function.name)


def _add_coefficients(curve: Any, element: str, numbers: list[float]) -> str:
    """Add the two coefficients of a function, and return its name."""
    if not isinstance(curve, Curve):
        raise NotLowered("a function that is not known by name")
    if element == "f64" and curve.name not in _IN_DOUBLE:
        raise NotLowered(f"{curve.name} of float64")
    numbers += [*curve.numbers, *(0.0,) * (2 - len(curve.numbers))]
    return curve.name


def _array(numbers: list[float], element: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float32 if element == "f32" else np.float64)
