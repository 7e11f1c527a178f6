"""Tensors with their channels last, whose elements lie in blocks of channels: transpositions that cost nothing.

A model that was exported from TensorFlow has its channels last, and a Transpose before and after every convolution. In
blocks a pixel has its channels side by side either way. So a Transpose that puts channels last is not computed: the
tensor is *turned*, it lies in the buffer of the tensor before the Transpose, its *base*. A step that works element by
element is lowered on the bases of its operands, and its output is turned too. A Transpose that puts channels second
then ends where it began. Only what reads a turned tensor in ONNX's order makes it so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qengine.model.steps import Combine, Join, Linear, Mean, Move, Step, Table, Tensor
from qengine.model.steps.forms import AxisExtreme, AxisSum, Bounded, ChannelScale, Concatenated, Reshaped
from qengine.model.steps.moves import Padded, Transposed
from qengine.runtime.native.tensor_buffer import images


def last_order(ndim: int) -> tuple[int, ...]:
    """Return the order of axes that puts channels last."""
    return (0, *range(2, ndim), 1)


def first_order(ndim: int) -> tuple[int, ...]:
    """Return the order of axes that puts channels second."""
    return (0, ndim - 1, *range(1, ndim - 1))


def transposition(step: Step) -> tuple[int, ...] | None:
    """Return the order of the axes of a Transpose of 3 or 4 axes; None for other steps."""
    if isinstance(step, Move) and isinstance(step.function, Transposed) and step.x.ndim in (3, 4):
        return step.function.order
    return None


def base_of(t: Tensor, name: str) -> Tensor:
    """Return the tensor with channels second that a tensor is the transposition of."""
    return Tensor(name, t.dtype, tuple(t.shape[a] for a in first_order(t.ndim)), None, t.format)


def _turned_constant(t: Tensor, ndim: int) -> Tensor:
    """Return a constant as it broadcasts against tensors with channels second."""
    assert t.value is not None
    value = t.value.reshape(*(1,) * (ndim - t.ndim), *t.shape).transpose(first_order(ndim))
    return Tensor(t.name, t.dtype, value.shape, value, t.format, encoding=t.encoding)


def _is_elementwise(step: Step) -> bool:
    return isinstance(step, Combine | Table) or (isinstance(step, Move) and isinstance(step.function, Bounded))


def on_bases(step: Step, base: Callable[[Tensor], Tensor | None]) -> Step | None:
    """Return a step as the same step on tensors with channels second; None where there is no such step.

    Parameters
    ----------
    step
        Step that reads turned tensors.
    base
        Function that returns the base of an operand that is not constant; None where it has none.
    """
    ndim = len(step.shape)
    if isinstance(step, Move) and isinstance(step.function, Reshaped):
        return _reshaped(step, base)
    if isinstance(step, Linear) and isinstance(step.product, ChannelScale):
        return _scaled(step, base)
    changed: dict[int, Tensor] = {}
    if _reduced_axes(step) is not None:
        ndim = step.operands[0].ndim
    for t in step.operands:
        if t.value is not None and t.ndim > ndim:
            return None
        other = _turned_constant(t, ndim) if t.value is not None else base(t) if t.ndim == ndim else None
        if other is None:
            return None
        changed[id(t)] = other
    return _with_operands(step, lambda t: changed[id(t)], ndim)


def _with_operands(step: Step, of: Callable[[Tensor], Tensor], ndim: int) -> Step | None:
    order = first_order(ndim)
    shape = tuple(step.shape[a] for a in order) if len(step.shape) == ndim else step.shape
    any_step: Any = step
    if isinstance(step, Combine):
        return replace(step, terms=tuple(map(of, step.terms)))
    if _is_elementwise(step):
        changes = {"shape": shape} if isinstance(step, Move) else {}
        turned: Step = replace(any_step, x=of(any_step.x), **changes)
        return turned
    if isinstance(step, Move) and isinstance(step.function, Padded):
        form = step.function
        width, where = tuple(form.width[a] for a in order), tuple(form.where[a] for a in order)
        return replace(step, x=of(step.x), function=Padded(width, where, form.mode), shape=shape)
    if isinstance(step, Join) and isinstance(step.function, Concatenated):
        axis = order.index(step.function.axis)
        return replace(step, joined=tuple(map(of, step.joined)), function=Concatenated(axis), shape=shape)
    reduced = _reduced_axes(step)
    if reduced is not None:
        name, axis_form = reduced
        axes = tuple(order.index(a % ndim) for a in axis_form.axes)
        other: Step = replace(any_step, x=of(any_step.x), shape=shape, **{name: replace(axis_form, axes=axes)})
        return other
    return None


def _reduced_axes(step: Step) -> tuple[str, AxisSum | AxisExtreme] | None:
    """Return the field of a step with the axes that it reduces, and its value; None for other steps."""
    if isinstance(step, Mean) and isinstance(step.total, AxisSum):
        return "total", step.total
    if isinstance(step, Move) and isinstance(step.function, AxisExtreme):
        return "function", step.function
    return None


def _scaled(step: Linear, base: Callable[[Tensor], Tensor | None]) -> Step | None:
    """Return a step that scales and shifts the last axis as one of the channels of the base."""
    ndim = step.x.ndim
    x = base(step.x) if step.channel_axis in (-1, ndim - 1) and step.w.value is not None else None
    if x is None:
        return None
    form, shape = ChannelScale(1), tuple(step.shape[a] for a in first_order(ndim))
    bias_shape = (shape[1], *form.column(ndim)[1:])
    return replace(step, x=x, product=form, shape=shape, channel_axis=1, bias_shape=bias_shape)


def _reshaped(step: Move, base: Callable[[Tensor], Tensor | None]) -> Step | None:
    """Return a reshape that adds or removes an axis of length 1 between batch and channels, on the base."""
    before, after = step.x.shape, step.shape
    lengths = [[n for n in shape[1:-1] if n != 1] for shape in (before, after)]
    same_ends = len(after) in (3, 4) and (before[0], before[-1]) == (after[0], after[-1])
    x = base(step.x) if same_ends and lengths[0] == lengths[1] else None
    if x is None:
        return None
    shape = tuple(after[a] for a in first_order(len(after)))
    return replace(step, x=x, function=Reshaped(shape), shape=shape) if images(x.shape) == images(shape) else None
