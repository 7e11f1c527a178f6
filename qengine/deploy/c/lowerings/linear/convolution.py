"""Conv of one or two spatial axes with constant weights, in sums of 32 bits: the fast kernels.

Which kernel computes a step depends on its form and on where its input has its channels:

- a filter for each channel: `depthwise_channels` where the channels of a pixel lie side by side, else
  `depthwise_rows`;
- all others: `conv`, which gathers the inputs of two pixels or more in columns of 16 bits. A column holds the channels
  of a pixel together where they lie side by side; else channel after channel, as those of a network's first input.

The more pixels are gathered at a time, the fewer times all weights are read, and the more memory the columns take: four
serve machines with vectors, eight large weights, and two are enough where four are a large part of the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qengine.deploy.c.ir import Argument, Array, Call, CTensor, Operation, Parameters, Scratch
from qengine.deploy.c.lowering import Context, lowers
from qengine.deploy.c.lowerings.linear.filter_sums import FilterSums, filter_sums
from qengine.deploy.c.lowerings.linear.overlaps import conv_overlap, depthwise_overlap
from qengine.model.steps import Linear
from qengine.model.steps.forms import Convolution

_SECOND_CACHE = 1 << 18  # bytes of weights above which reading them costs more than memory for columns
_FEW = 16  # taps up to which vectors hold filters, and filters and pixels from which
_MOST_PADDED = 1.34  # taps with zeros after them, for each tap
_PART = 8  # columns take at most this part of the tensors, or there are two
_TURNED_PART = 32  # filters that only machines with vectors hold so take at most this part of them


@dataclass(frozen=True)
class Strides:
    """Elements from one image, channel, row and column of a tensor to the next, and its rows and columns."""

    image: int
    channel: int
    row: int
    column: int
    height: int
    width: int

    @classmethod
    def of(cls, tensor: CTensor) -> Strides:
        """Return those of a tensor of 3 or 4 axes; one of 3 has one row."""
        image, channel, *spatial = tensor.strides
        row, column = spatial if len(spatial) == 2 else (0, spatial[0])
        height, width = tensor.shape[2:] if len(spatial) == 2 else (1, tensor.shape[2])
        return cls(image, channel, row, column, height, width)

    @property
    def has_channels_last(self) -> bool:
        """Whether the channels of a pixel lie side by side."""
        return self.channel <= self.column


def _is_depthwise(step: Linear) -> bool:
    form = step.product
    return isinstance(form, Convolution) and form.group > 1 and step.w.shape[1] == 1


def _applies(context: Context) -> bool:
    step = context.step
    if not isinstance(step.product, Convolution) or step.x.ndim not in (3, 4):
        return False
    return prod(step.shape) > 0 and filter_sums(context, takes_zero=not _is_depthwise(step)) is not None


@lowers(Linear, _applies)
def lower_convolution(context: Context) -> Operation:
    """Return the convolution of gathered columns, or that of single channels."""
    step = context.step
    sums = filter_sums(context, takes_zero=not _is_depthwise(step))
    assert sums is not None
    is_depthwise = _is_depthwise(step)
    call = (_depthwise if is_depthwise else _gathered)(context, sums)
    overlap = (depthwise_overlap if is_depthwise else conv_overlap)(call)
    macs = prod(step.shape) * step.taps
    return context.operation(call, overlap=(overlap,), macs=macs, comments=(sums.comment,))


def _gathered(context: Context, sums: FilterSums) -> Call:
    step = context.step
    kernel = (1, *step.w.shape[2:])[-2:]
    weights = sums.weights.reshape(len(sums.weights), step.w.shape[1], -1)
    return gathered(context, sums, weights, Strides.of(context.y), _window(step.product, kernel))


def gathered(
    context: Context,
    sums: FilterSums,
    weights: Array,
    to: Strides,
    window: dict[str, int],
    first: Call | None = None,
    offset: int = 0,
) -> Call:
    """Return the call of a convolution of gathered columns.

    Parameters
    ----------
    context, sums
        The step, and the sums of its filters.
    weights
        Weights of the step, or a part of them: (filters, channels, taps).
    to
        Strides and size of the output, or of a part of it.
    window
        Fields of `struct net_window_shape` for the kernel, its strides and its padding.
    first
        Call of another part of the output, with the same bias and shifts; None for the only or first one.
    offset
        First element of the part of the output.
    """
    y, x_tensor, form = context.y, context.tensors[context.step.x.name], context.step.product
    x = Strides.of(x_tensor)
    inputs, filters = weights.shape[1], len(weights) // form.group
    by_cell = x.has_channels_last or inputs == 1
    if by_cell:
        weights = weights.swapaxes(1, 2)
    weights, taps, padding = padded(weights.reshape(len(weights), -1))
    pixels = to.height * to.width
    band = band_of(sums, taps, x_tensor.bytes + y.bytes, pixels)
    turned = turned_weights(taps, filters, x_tensor.bytes + y.bytes, pixels)
    numbers = {
        "images": y.shape[0],
        "image_x": x.image,
        "image_y": to.image,
        "groups": form.group,
        "group_x": inputs * x.channel,
        "group_y": filters * to.channel,
        "height": to.height,
        "width": to.width,
        "row_y": to.row,
        "band": band,
        "by_rows": to.height > 1 and to.row != to.width * to.column,
        "is_turned": turned > 0,
        "gather": gather_numbers(
            sums,
            planes=1 if by_cell else inputs,
            plane=x.channel,
            cell=inputs if by_cell else 1,
            cell_step=x.channel if inputs > 1 else 1,
            height=x.height,
            width=x.width,
            row=x.row,
            column=x.column,
            padding=padding,
            **window,
        ),
        "out": {
            "filters": filters,
            "taps": taps,
            "pixel": to.column,
            "channel": to.channel,
            "has_shifts": sums.has_shifts,
            "epilogue": sums.epilogue(context),
        },
    }
    order = "filters, rows, columns, channels" if by_cell else "filters, channels, rows, columns"
    constants: tuple[Argument, ...] = sums.constants(context, weights, order)
    if first is not None:
        comment = f"{context.step.w.name}: {order}"
        own = context.constant(f"weights{offset}", weights.astype(sums.weights.dtype), comment)
        constants = (own, *first.arguments[2:4])
    columns = Scratch(np.dtype(np.int16), band * taps + turned)
    types = {"x": x_tensor.dtype, "w": sums.weights.dtype, "y": y.dtype}
    return Call("conv", types, (x_tensor, *constants, columns, y), numbers, (0, 0, 0, 0, 0, offset))


def gather_numbers(sums: FilterSums, **numbers: int) -> Parameters:
    """Return the fields of `struct net_window_shape`, of those that describe the input and the window."""
    cell, step, kernel = numbers["cell"], numbers["cell_step"], numbers["kernel_width"]
    is_row = kernel == 1 or (numbers["dilation_right"] == 1 and numbers["column"] == cell)
    is_joined = is_row and (cell == 1 or step == 1)
    in_fours = 1 if cell % 4 == 0 and numbers["padding"] % 4 == 0 else 2
    return {
        **numbers,
        "is_joined": is_joined,
        "zero": sums.zero,
        "fours": in_fours if sums.weights.itemsize == 1 else 0,
    }


def padded(weights: Array) -> tuple[Array, int, int]:
    """Return weights (filters, taps) with zeros after them, their taps, and the number of those zeros.

    A vector of products should not end within a sum, unless many products with 0 are the price.
    """
    taps = weights.shape[1]
    for multiple in (16, 4):
        wide = -(-taps // multiple) * multiple
        if taps > 4 and wide <= _MOST_PADDED * taps:
            return np.pad(weights, ((0, 0), (0, wide - taps))), wide, wide - taps
    return weights, taps, 0


def band_of(sums: FilterSums, taps: int, tensors: int, pixels: int) -> int:
    """Return how many pixels are gathered at a time, for tensors of some bytes."""
    column = 2 * taps
    weights = sums.weights.nbytes
    wanted = 8 if weights > _SECOND_CACHE else 4
    if column * wanted * _PART > max(tensors, weights):
        wanted = 2
    return min(wanted, pixels)


def turned_weights(taps: int, filters: int, tensors: int, pixels: int) -> int:
    """Return the number of weights that are turned for vectors of filters of few taps; 0 for none."""
    size = taps * filters
    is_worth_it = taps <= _FEW and taps % 4 == 0 and filters >= _FEW and pixels >= _FEW
    return size if is_worth_it and 2 * size * _TURNED_PART <= tensors else 0


def _window(form: Convolution, kernel: tuple[int, ...]) -> dict[str, int]:
    stride, dilation = ((1, *pair)[-2:] for pair in (form.strides, form.dilations))
    pads = ((0, 0), *form.pads)[-2:]
    return {
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_down": stride[0],
        "stride_right": stride[1],
        "dilation_down": dilation[0],
        "dilation_right": dilation[1],
        "pad_top": pads[0][0],
        "pad_left": pads[1][0],
    }


def _depthwise(context: Context, sums: FilterSums) -> Call:
    step, y = context.step, context.y
    x_tensor = context.tensors[step.x.name]
    x, to, form = Strides.of(x_tensor), Strides.of(y), step.product
    channels = form.group
    multiplier = step.w.shape[0] // channels
    by_channels = x.has_channels_last
    kernel = (1, *step.w.shape[2:])[-2:]
    numbers = {
        "images": step.shape[0],
        "image_x": x.image,
        "image_y": to.image,
        "channels": channels,
        "multiplier": multiplier,
        "channel_x": x.channel,
        "channel_y": to.channel * multiplier,
        "filter_y": to.channel,
        "height": to.height,
        "width": to.width,
        "row_y": to.row,
        "column_y": to.column,
        "height_x": x.height,
        "width_x": x.width,
        "row_x": x.row,
        "column_x": x.column,
        **_window(form, kernel),
        "has_shifts": sums.has_shifts,
        "epilogue": sums.epilogue(context),
    }
    types = {"x": x_tensor.dtype, "w": sums.weights.dtype, "y": y.dtype}
    if by_channels:
        order = np.arange(channels * multiplier).reshape(channels, multiplier).T.reshape(-1)
        weights = sums.weights.reshape(channels, multiplier, -1).transpose(1, 2, 0)
        constants = sums.constants(context, weights, "filters of a channel, rows, columns, channels", order)
        return Call("depthwise_channels", types, (x_tensor, *constants, y), {"form": numbers})
    constants = sums.constants(context, sums.weights, "filters, rows, columns")
    return Call("depthwise_rows", types, (x_tensor, *constants, y), {"form": numbers})
