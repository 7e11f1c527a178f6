"""Evaluators of sequences and optionals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model import schemas
from qengine.model.eager.elements import axis_of, one_integer
from qengine.model.eager.evaluator import Element, evaluator
from qengine.model.eager.sequences import TensorSequence, sequence
from qengine.model.graph import OpaqueAttribute

_MAX_PARTS = 1 << 20
"""Largest number of tensors that SplitToSequence returns."""


@evaluator("SequenceConstruct")
def sequence_construct(*inputs: Element) -> TensorSequence:
    """Return the inputs as a sequence."""
    if not inputs:
        raise ModelError("has no inputs; at least one is needed")
    return TensorSequence(inputs)


@evaluator("SequenceEmpty")
def sequence_empty(*, dtype: int = 1) -> TensorSequence:
    """Return a sequence without tensors, of an element type by ONNX's number."""
    return TensorSequence((), schemas.dtype_of(dtype))


@evaluator("SequenceLength")
def sequence_length(x: Element) -> NDArray[np.int64]:
    """Return the number of tensors, without axes."""
    return np.array(len(sequence(x)), np.int64)


@evaluator("SequenceAt")
def sequence_at(x: Element, position: NDArray[Any]) -> Element:
    """Return the tensor at a position; a negative one counts from the back."""
    tensors = sequence(x)
    return tensors[_position(position, len(tensors), len(tensors) - 1)]


@evaluator("SequenceErase")
def sequence_erase(x: Element, position: NDArray[Any] | None = None) -> TensorSequence:
    """Return the sequence without the tensor at a position, by default the last."""
    tensors = sequence(x)
    if not tensors:
        raise ModelError("the sequence is empty: there is nothing to erase")
    at = len(tensors) - 1 if position is None else _position(position, len(tensors), len(tensors) - 1)
    return TensorSequence.joined([*tensors[:at], *tensors[at + 1 :]], tensors.dtype)


@evaluator("SequenceInsert")
def sequence_insert(x: Element, tensor: NDArray[Any], position: NDArray[Any] | None = None) -> TensorSequence:
    """Return the sequence with a tensor before a position, by default at the end."""
    tensors = sequence(x)
    at = len(tensors) if position is None else _position(position, len(tensors), len(tensors))
    added = TensorSequence([tensor], tensors.dtype)
    return TensorSequence.joined([*tensors[:at], *added, *tensors[at:]], added.dtype)


def _position(position: NDArray[Any], length: int, last: int) -> int:
    """Return a position from -length to `last`, counted from the front; raise ModelError for any other."""
    at = one_integer(position, "the position")
    if not -length <= at <= last:
        raise ModelError(f"position {at} is outside {-length}..{last} of a sequence of {length}")
    return at + length if at < 0 else at


@evaluator("SplitToSequence")
def split_to_sequence(
    x: NDArray[Any], split: NDArray[Any] | None = None, *, axis: int = 0, keepdims: int = 1
) -> TensorSequence:
    """Return the parts of a tensor along an axis: of one length, or of several lengths that add up.

    Without `split` the parts have length 1, and `keepdims` decides whether they keep the axis.
    """
    axis = axis_of(axis, x.ndim)
    length = x.shape[axis]
    if split is not None and split.ndim == 1:
        lengths = split.tolist()
        if min(lengths, default=0) < 0 or sum(lengths) != length:
            raise ModelError(f"split is {lengths[:8]}; lengths must add up to {length}, and none can be negative")
        ends = np.cumsum(lengths).tolist()
    else:
        size = 1 if split is None else one_integer(split, "split")
        if size < 1:
            raise ModelError(f"split is {size}; a part has at least one element")
        if -(-length // size) > _MAX_PARTS:
            raise UnsupportedError(f"splits an axis of {length:,} into more than {_MAX_PARTS:,} parts")
        ends = [*range(size, length, size), length] if length else []
    if len(ends) > _MAX_PARTS:
        raise UnsupportedError(f"splits into {len(ends):,} parts, more than {_MAX_PARTS:,}")
    starts = [0, *ends[:-1]]
    lead = (slice(None),) * axis
    parts = [x[(*lead, slice(start, end))] for start, end in zip(starts, ends, strict=False)]
    if split is None and not keepdims:
        parts = [part.squeeze(axis) for part in parts]
    return TensorSequence(parts, x.dtype)


@evaluator("ConcatFromSequence")
def concat_from_sequence(x: Element, *, axis: int, new_axis: int = 0) -> NDArray[Any]:
    """Return the tensors of a sequence, joined along an axis or stacked along a new one."""
    tensors = sequence(x)
    if not tensors:
        raise ModelError("the sequence is empty: there is nothing to join")
    if new_axis not in (0, 1):
        raise ModelError(f"new_axis is {new_axis}; it must be 0 or 1")
    shapes = {tensor.shape for tensor in tensors}
    if len({len(shape) for shape in shapes}) > 1:
        raise ModelError("the tensors of the sequence have different numbers of axes")
    ndim = tensors[0].ndim
    axis = axis_of(axis, ndim + new_axis)
    if new_axis and len(shapes) > 1:
        raise ModelError("the tensors of the sequence have different shapes")
    if len({shape[:axis] + shape[axis + 1 :] for shape in shapes}) > 1:
        raise ModelError("the tensors of the sequence differ on other axes than the one to join")
    return np.stack(tensors, axis) if new_axis else np.concatenate(tensors, axis)


@evaluator("Optional")
def optional(x: Element = None, *, type: OpaqueAttribute | None = None) -> Element:  # noqa: ARG001 - of ONNX
    """Return the input as the element of an optional, None for an empty one."""
    return x


@evaluator("OptionalHasElement")
def optional_has_element(x: Element = None) -> NDArray[np.bool_]:
    """Return whether there is an element."""
    return np.array(x is not None)


@evaluator("OptionalGetElement")
def optional_get_element(x: Element) -> Element:
    """Return the element of an optional, or a tensor or sequence itself."""
    return x
