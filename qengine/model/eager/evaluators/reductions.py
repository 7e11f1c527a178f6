"""Reductions without a handler; before opset 18 their axes are an attribute, from then on an input.

Real numbers are reduced in float64 and rounded once. Integers stay in their own type: sums and products wrap, and the
square root, logarithm and power of e of an integer are truncated toward zero, as in ONNX Runtime. No axes at all, with
`noop_with_empty_axes`, leave the function of single elements: ReduceSumSquare then gives squares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import axes_of, is_float
from qengine.model.eager.evaluator import OutputType, evaluator, known_elements
from qengine.model.ops.conversion import to_integers
from qengine.model.steps import Tensor

Axes = tuple[int, ...]
Reduction = Callable[[NDArray[Any], Axes], NDArray[Any]]
"""(x, axes) -> results, the axes kept with length 1; x is float64, or integers of any type."""


def _sum(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    return np.asarray(np.sum(x, axis=axes, keepdims=True, dtype=x.dtype))


def _l1(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    return _sum(np.abs(x), axes)


def _sum_of_squares(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    return _sum(x * x, axes)


def _product(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    return np.asarray(np.prod(x, axis=axes, keepdims=True, dtype=x.dtype))


def _l2(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    return _in_type(np.sqrt(_sum_of_squares(x.astype(np.float64), axes)), x.dtype)


def _log_sum(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    return _in_type(np.log(_sum(x.astype(np.float64), axes)), x.dtype)


def _log_sum_exp(x: NDArray[Any], axes: Axes) -> NDArray[Any]:
    if not is_float(x.dtype) and x.size:
        # The largest, and as often as it occurs: e^(x - largest) of another integer is below 1, and truncated.
        most = np.max(x, axis=axes, keepdims=True)
        return np.asarray(most + _in_type(np.log(np.sum(x == most, axis=axes, keepdims=True)), x.dtype))
    v = x.astype(np.float64)
    most = np.max(v, axis=axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(most), most, 0.0)
    return _in_type(np.log(_sum(np.exp(v - shift), axes)) + shift, x.dtype)


def _in_type(y: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    return y.astype(dtype) if is_float(dtype) else to_integers(y, dtype)


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceProd": _product,
    "ReduceSumSquare": _sum_of_squares,
}


def _reduced(reduction: Reduction, data: NDArray[Any], axes: Axes, keepdims: int) -> NDArray[Any]:
    y = reduction(data.astype(np.float64) if is_float(data.dtype) else data, axes)
    kept = y if keepdims else y.reshape([n for i, n in enumerate(data.shape) if i not in axes])
    return kept.astype(data.dtype)


def _places(axes: Sequence[int] | None, ndim: int, noop_with_empty_axes: int = 0) -> Axes:
    """Return the axes that are reduced: those given, or all, or none."""
    if axes is not None and len(axes):
        return axes_of(axes, ndim)
    return () if noop_with_empty_axes else tuple(range(ndim))


def _types(data: Tensor, axes: Axes, keepdims: int) -> tuple[OutputType, ...]:
    lengths = [1 if i in axes else n for i, n in enumerate(data.shape) if keepdims or i not in axes]
    return ((tuple(lengths), data.dtype),)


def _types_by_attribute(data: Tensor, *, axes: Axes | None = None, keepdims: int = 1) -> tuple[OutputType, ...]:
    return _types(data, _places(axes, data.ndim), keepdims)


def _types_by_input(
    data: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> tuple[OutputType, ...]:
    return _types(
        data,
        _places(_listed(None if axes is None else known_elements(axes)), data.ndim, noop_with_empty_axes),
        keepdims,
    )


def _listed(axes: NDArray[Any] | None) -> list[int] | None:
    """Return the elements of an input of axes."""
    if axes is not None and axes.ndim > 1:
        raise ModelError(f"axes have shape {list(axes.shape)}; a list of numbers is needed")
    return None if axes is None else [int(axis) for axis in axes.ravel()]


def _declare(name: str, reduction: Reduction) -> None:
    def with_attribute(data: NDArray[Any], *, axes: Axes | None = None, keepdims: int = 1) -> NDArray[Any]:
        return _reduced(reduction, data, _places(axes, data.ndim), keepdims)

    def with_input(
        data: NDArray[Any], axes: NDArray[Any] | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> NDArray[Any]:
        places = _places(_listed(axes), data.ndim, noop_with_empty_axes)
        return _reduced(reduction, data, places, keepdims)

    evaluator(name, outputs=_types_by_attribute)(with_attribute)
    evaluator(name, since=18, outputs=_types_by_input)(with_input)


for _name, _reduction in _REDUCTIONS.items():
    _declare(_name, _reduction)
