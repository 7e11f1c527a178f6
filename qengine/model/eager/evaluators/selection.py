"""Operators whose elements decide which others remain: NonZero, TopK, Compress, Unique, ReverseSequence."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import axis_of, one_integer, widened, zero
from qengine.model.eager.evaluator import OutputType, evaluator, known_elements
from qengine.model.steps import Tensor

Arrays = tuple[NDArray[Any], ...]


@evaluator("NonZero")
def non_zero(x: NDArray[Any]) -> NDArray[Any]:
    """The indices of the elements that are not 0, one row for each axis."""
    return np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1) if x.ndim else _indices_of_number(x)


def _indices_of_number(x: NDArray[Any]) -> NDArray[Any]:
    """Return the indices of a tensor without axes: no rows, and a column if it is not 0."""
    return np.zeros((0, int(bool(x != zero(x.dtype)))), np.int64)


def _top_k_types(x: Tensor, k: int, axis: int) -> tuple[OutputType, OutputType]:
    place = axis_of(axis, x.ndim)
    shape = (*x.shape[:place], _checked_k(k, x.shape[place], place), *x.shape[place + 1 :])
    return (shape, x.dtype), (shape, np.dtype(np.int64))


def _top_k_1_types(x: Tensor, *, k: int, axis: int = -1) -> tuple[OutputType, OutputType]:
    return _top_k_types(x, k, axis)


def _top_k_10_types(
    x: Tensor,
    k: Tensor,
    *,
    axis: int = -1,
    largest: int = 1,  # noqa: ARG001
    sorted: int = 1,  # noqa: ARG001
) -> tuple[OutputType, OutputType]:
    return _top_k_types(x, one_integer(known_elements(k), "k"), axis)


@evaluator("TopK", outputs=_top_k_1_types)
def top_k_1(x: NDArray[Any], *, k: int, axis: int = -1) -> Arrays:
    """The k largest elements along an axis, and their indices; k is an attribute."""
    return _top_k(x, k, axis, largest=True)


@evaluator("TopK", since=10, outputs=_top_k_10_types)
def top_k_10(
    x: NDArray[Any],
    k: NDArray[Any],
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: ARG001 - without it ONNX allows any order, this one too
) -> Arrays:
    """The k largest or smallest elements along an axis, and their indices; k is an input."""
    return _top_k(x, one_integer(k, "k"), axis, largest=bool(largest))


def _checked_k(k: int, n: int, place: int) -> int:
    if not 0 <= k <= n:
        raise ModelError(f"k is {k}, outside of 0..{n}, the length of axis {place}")
    return k


def _top_k(x: NDArray[Any], k: int, axis: int, *, largest: bool) -> Arrays:
    """Return the first k of all elements in order, equal ones in the order of their indices; NaN is the largest."""
    place = axis_of(axis, x.ndim)
    n = x.shape[place]
    _checked_k(k, n, place)
    v = widened(x)
    if largest:  # the order of the mirrored elements, read from its end
        order = n - 1 - np.flip(np.argsort(np.flip(v, place), place, kind="stable"), place)
    else:
        order = np.argsort(v, place, kind="stable")
    indices = np.take(order, np.arange(k), place).astype(np.int64)
    return np.take_along_axis(x, indices, place), indices


@evaluator("Compress")
def compress(x: NDArray[Any], condition: NDArray[Any], *, axis: int | None = None) -> NDArray[Any]:
    """The slices of x along an axis (without one, the elements in order) for which the condition holds."""
    v, place = (x.reshape(-1), 0) if axis is None else (x, axis_of(axis, x.ndim))
    if condition.ndim != 1 or len(condition) > v.shape[place]:
        raise ModelError(f"condition has shape {list(condition.shape)}; at most {v.shape[place]} elements are needed")
    return np.take(v, np.flatnonzero(condition), place)


@evaluator("Unique")
def unique(x: NDArray[Any], *, axis: int | None = None, sorted: int = 1) -> Arrays:
    """The different slices of x along an axis (without one, elements), with three outputs of indices and counts.

    The indices are those of the first occurrence of each, those of each slice of x in the result, and the counts.
    """
    v, place = (x.reshape(-1), 0) if axis is None else (x, axis_of(axis, x.ndim))
    ranks = np.unique(widened(v), return_inverse=True)[1].reshape(v.shape)  # in the order of the elements
    rows = np.moveaxis(ranks, place, 0).reshape(v.shape[place], prod(v.shape) // max(v.shape[place], 1))
    if rows.shape[1]:
        _, first, inverse, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    else:  # slices without elements are all equal
        count = min(len(rows), 1)
        first, inverse, counts = np.zeros(count, int), np.zeros(len(rows), int), np.full(count, len(rows))
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        first, counts = first[order], counts[order]
        inverse = np.argsort(order, kind="stable")[inverse]
    return np.take(v, first, place), *(a.astype(np.int64) for a in (first, inverse, counts))


def _reverse_types(x: Tensor, sequence_lens: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> tuple[OutputType]:
    if x.ndim < 2 or {batch_axis, time_axis} != {0, 1} or sequence_lens.shape != x.shape[batch_axis : batch_axis + 1]:
        raise ModelError(
            f"x has shape {list(x.shape)}, sequence_lens {list(sequence_lens.shape)}, batch_axis is {batch_axis} and "
            f"time_axis {time_axis}; a length for each sequence is needed, and axes 0 and 1"
        )
    return ((x.shape, x.dtype),)


@evaluator("ReverseSequence", outputs=_reverse_types)
def reverse_sequence(
    x: NDArray[Any], sequence_lens: NDArray[Any], *, batch_axis: int = 1, time_axis: int = 0
) -> NDArray[Any]:
    """x with the first elements of each sequence in reverse order, as many as its length."""
    if x.ndim < 2 or {batch_axis, time_axis} != {0, 1}:
        raise ModelError(
            f"x has shape {list(x.shape)}, batch_axis is {batch_axis} and time_axis {time_axis}; at least 2 axes are "
            "needed, and one of the two attributes is 0, the other 1"
        )
    batch, time = x.shape[batch_axis], x.shape[time_axis]
    if sequence_lens.shape != (batch,):
        raise ModelError(f"sequence_lens have shape {list(sequence_lens.shape)}; {batch} are needed")
    if batch and not 0 <= int(sequence_lens.min()) <= int(sequence_lens.max()) <= time:
        raise ModelError(f"sequence_lens are not all in 0..{time}")
    steps, lengths = np.arange(time)[:, None], sequence_lens[None, :]
    source = np.where(steps < lengths, lengths - 1 - steps, steps)
    if time_axis == 0:
        return x[source, np.arange(batch)]
    return x[np.arange(batch)[:, None], source.T]
