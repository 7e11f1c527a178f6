"""The order of each tensor in memory: ONNX's, or channels last for images.

A convolution reads all channels of a pixel together, so its tensors are fastest with the channels innermost. The
caller's tensors are in ONNX's order; the first and the last operators of a network read and write that order.
"""

from __future__ import annotations

from collections.abc import Mapping

from qengine.model.steps import Combine, Convert, Join, Linear, Mean, Move, Resize, Rows, Step, Table
from qengine.model.steps.forms import Bounded, ChannelScale, Convolution, TransposedConvolution, WindowMax, WindowSum
from qengine.model.steps.moves import Padded, Sliced

Order = tuple[int, ...]

_IMAGES = 3  # axes that a tensor of images or of signals has at least


def order_of(step: Step, shape: tuple[int, ...], orders: Mapping[str, Order]) -> Order:
    """Return the order of the output of a step.

    Parameters
    ----------
    step, shape
        Step, and shape of its output.
    orders
        Order of each computed tensor before it, by name.
    """
    plain = tuple(range(len(shape)))
    if len(shape) >= _IMAGES and _is_of_images(step):
        return normal((0, *plain[2:], 1), shape)
    if isinstance(step, Table | Combine | Convert | Join | Rows) or _keeps_axes(step):
        for t in step.operands:
            same = len(t.shape) == len(shape) if isinstance(step, Join) or _keeps_axes(step) else t.shape == shape
            if t.value is None and same:
                return normal(orders[t.name], shape)
    return plain


def normal(order: Order, shape: tuple[int, ...]) -> Order:
    """Return ONNX's order where another one is the same in memory, because axes have length 1; else the order."""
    long = [axis for axis in order if shape[axis] > 1]
    return tuple(range(len(shape))) if long == sorted(long) else order


def _is_of_images(step: Step) -> bool:
    forms: tuple[type, ...] = (Convolution, TransposedConvolution, WindowMax, WindowSum)
    form = getattr(step, "product", None) or getattr(step, "function", None) or getattr(step, "total", None)
    return isinstance(step, Linear | Move | Mean) and isinstance(form, forms)


def _keeps_axes(step: Step) -> bool:
    """Whether the output has the axes of the input, perhaps with other lengths."""
    if isinstance(step, Linear):
        return isinstance(step.product, ChannelScale)
    if isinstance(step, Resize):
        return True
    return isinstance(step, Move) and isinstance(step.function, Bounded | Padded | Sliced)
