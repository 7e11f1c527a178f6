"""Pooling over windows and over whole images."""

from functools import partial
from typing import Annotated

import numpy as np

from qengine.kernels.reference.pool import max_index
from qengine.model.graph import Node
from qengine.model.ops.facts import channels_of_images_stay
from qengine.model.ops.operator import NUMBER, Ints, Sign, Since, operator
from qengine.model.ops.reduce import end_of_range, extreme, total
from qengine.model.ops.window import Window, check_pads, spatial_axes
from qengine.model.steps import Mean, Move, Tensor
from qengine.model.steps.forms import WindowMax, WindowSum
from qengine.model.steps.means import WindowCounts


@operator("MaxPool", elements=NUMBER, channels=channels_of_images_stay, padding_value=-np.inf)
def max_pool_(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: Annotated[int, Since(10)] = 0,
    dilations: Annotated[Ints | None, Since(10)] = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    storage_order: Annotated[int, Since(8)] = 0,
    strides: Ints | None = None,
    outputs: int,
) -> tuple[Move, ...]:
    """The largest value of each window, and its index in the tensor; padding is never the largest."""
    window = Window.of(spatial_axes(x), kernel_shape, auto_pad, strides, dilations, pads, ceil_mode)
    check_pads(window)
    pool = WindowMax(window.kernel, window.strides, window.dilations, window.pads)
    shape, padded = (*x.shape[:2], *window.out), window.padded(x.shape)
    largest = Move(x, pool, shape, constants=(end_of_range(x.dtype, -1),), scratch=padded)
    if outputs == 1:
        return (largest,)
    index = partial(
        max_index,
        kernel=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        pads=window.pads,
        by_columns=bool(storage_order),
    )
    return largest, Move(x, index, shape, out_dtype=np.dtype(np.int64), scratch=padded)


def _counts_no_padding(node: Node) -> bool:
    pads = np.any(np.asarray(node.attributes.get("pads", 0)) != 0)
    is_padded = pads or node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return not (is_padded and node.number("count_include_pad", 0))


@operator(
    "AveragePool",
    sign=Sign.KEPT,
    channels=channels_of_images_stay,
    padding_value=0.0,
    keeps_mean=_counts_no_padding,
)
def average_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: Annotated[int, Since(10)] = 0,
    count_include_pad: int = 0,
    dilations: Annotated[Ints | None, Since(19)] = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Mean:
    """The mean of each window, over the elements that count."""
    size = spatial_axes(x)
    window = Window.of(size, kernel_shape, auto_pad, strides, dilations, pads, ceil_mode)
    check_pads(window)
    add = WindowSum(window.kernel, window.strides, window.dilations, window.pads)
    geometry = window.kernel, window.strides, window.dilations, window.declared_pads, window.out
    count = WindowCounts(size, *geometry, bool(count_include_pad))
    return Mean(x, add, (*x.shape[:2], *window.out), count, scratch=window.padded(x.shape))


@operator("GlobalAveragePool", sign=Sign.KEPT, channels=channels_of_images_stay, keeps_mean=True)
def global_average_pool(x: Tensor) -> Mean:
    """The mean over all spatial axes."""
    return total(x, tuple(range(2, 2 + len(spatial_axes(x)))), divided=True)


@operator("GlobalMaxPool", channels=channels_of_images_stay)
def global_max_pool(x: Tensor) -> Move:
    """The largest value over all spatial axes."""
    return extreme(x, tuple(range(2, 2 + len(spatial_axes(x)))), largest=True)
