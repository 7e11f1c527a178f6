"""Reductions over axes, which are an attribute or, in newer opsets, an input."""

from math import prod
from typing import Annotated, Any

import numpy as np

from qengine.errors import ModelError
from qengine.model.graph import Dim, Node
from qengine.model.ops.axes import channels_beside_axes, normalized, whole_numbers
from qengine.model.ops.facts import Constants
from qengine.model.ops.operator import (
    ANY,
    NUMBER,
    Channels,
    Facts,
    Ints,
    Known,
    Sign,
    Since,
    declare_delegated,
    operator,
)
from qengine.model.steps import Mean, Move, Tensor
from qengine.model.steps.forms import AxisExtreme, AxisSum
from qengine.model.steps.row_forms import AxisIndex


def _axes(x: Tensor, given: Any, noop_with_empty_axes: int = 0) -> tuple[int, ...]:
    axes = () if given is None else whole_numbers(given, "axes")
    if not axes:
        return () if noop_with_empty_axes else tuple(range(x.ndim))
    return normalized(x, axes)


def _reduced(x: Tensor, axes: tuple[int, ...], keepdims: int) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def total(x: Tensor, axes: tuple[int, ...], keepdims: int = 1, *, divided: bool) -> Mean:
    """Return the sum over axes or, where it is `divided`, the mean."""
    # The mean of no elements is 0, as in ONNX Runtime and in fixed point.
    count = max(prod(x.shape[a] for a in axes), 1) if divided else 1
    return Mean(x, AxisSum(axes, bool(keepdims)), _reduced(x, axes, keepdims), count)


def extreme(x: Tensor, axes: tuple[int, ...], keepdims: int = 1, *, largest: bool) -> Move:
    """Return the largest or smallest element over axes; where there is none, the end of the type's range."""
    extreme_of = AxisExtreme(axes, bool(keepdims), largest)
    return Move(x, extreme_of, _reduced(x, axes, keepdims), constants=(end_of_range(x.dtype, -1 if largest else 1),))


def end_of_range(dtype: np.dtype[Any], sign: int) -> Any:
    """Return the smallest (sign -1) or largest (1) number of a type; that of real numbers is infinite."""
    if dtype.kind == "f":
        return sign * np.inf
    if dtype.kind == "b":
        return sign > 0
    return int(np.iinfo(dtype).min if sign < 0 else np.iinfo(dtype).max)


def _channels_of_mean(
    node: Node, channels: Channels, shape: tuple[Dim, ...] | None, constants: Constants
) -> Channels | None:
    keepdims = bool(node.number("keepdims", 1))
    return channels_beside_axes(node, channels, shape, constants, keepdims=keepdims)


@operator("ReduceMean", elements=NUMBER, sign=Sign.KEPT, channels=_channels_of_mean)
def reduce_mean(x: Tensor, *, axes: Ints | None = None, keepdims: int = 1) -> Mean:
    """The mean over axes."""
    return total(x, _axes(x, axes), keepdims, divided=True)


@operator("ReduceMean", since=18, elements=NUMBER, sign=Sign.KEPT, channels=_channels_of_mean)
def reduce_mean_18(x: Tensor, axes: Known | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Mean:
    """The mean over axes; the axes are an input."""
    return total(x, _axes(x, axes, noop_with_empty_axes), keepdims, divided=True)


@operator("ReduceSum", elements=NUMBER, sign=Sign.KEPT)
def reduce_sum(x: Tensor, *, axes: Ints | None = None, keepdims: int = 1) -> Mean:
    """The sum over axes."""
    return total(x, _axes(x, axes), keepdims, divided=False)


@operator("ReduceSum", since=13, elements=NUMBER, sign=Sign.KEPT)
def reduce_sum_13(x: Tensor, axes: Known | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Mean:
    """The sum over axes; the axes are an input."""
    return total(x, _axes(x, axes, noop_with_empty_axes), keepdims, divided=False)


for _name in ("ReduceL1", "ReduceL2", "ReduceSumSquare"):
    declare_delegated(_name, Facts(sign=Sign.NOT_NEGATIVE))


@operator("ReduceMax", elements=NUMBER)
def reduce_max(x: Tensor, *, axes: Ints | None = None, keepdims: int = 1) -> Move:
    """The largest over axes."""
    return extreme(x, _axes(x, axes), keepdims, largest=True)


@operator("ReduceMax", since=18, elements=ANY)
def reduce_max_18(x: Tensor, axes: Known | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Move:
    """The largest over axes; the axes are an input."""
    return extreme(x, _axes(x, axes, noop_with_empty_axes), keepdims, largest=True)


@operator("ReduceMin", elements=NUMBER)
def reduce_min(x: Tensor, *, axes: Ints | None = None, keepdims: int = 1) -> Move:
    """The smallest over axes."""
    return extreme(x, _axes(x, axes), keepdims, largest=False)


@operator("ReduceMin", since=18, elements=ANY)
def reduce_min_18(x: Tensor, axes: Known | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Move:
    """The smallest over axes; the axes are an input."""
    return extreme(x, _axes(x, axes, noop_with_empty_axes), keepdims, largest=False)


def _index(x: Tensor, axis: int, keepdims: int, last: int, *, largest: bool) -> Move:
    (axis,) = normalized(x, (axis,))
    if not x.shape[axis]:
        raise ModelError(f"axis {axis} of '{x.name}' {list(x.shape)} is empty")

    index = AxisIndex(axis, bool(keepdims), bool(last), largest)
    return Move(x, index, _reduced(x, (axis,), keepdims), out_dtype=np.dtype(np.int64))


@operator("ArgMax", elements=NUMBER, preserves_format=False)
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: Annotated[int, Since(12)] = 0) -> Move:
    """The index of the largest element, of equal ones the first; the same on codes."""
    return _index(x, axis, keepdims, select_last_index, largest=True)


@operator("ArgMin", elements=NUMBER, preserves_format=False)
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: Annotated[int, Since(12)] = 0) -> Move:
    """The index of the smallest element, of equal ones the first; the same on codes."""
    return _index(x, axis, keepdims, select_last_index, largest=False)
