"""Gemm and MatMul with constant weights, in sums of 32 bits: convolutions of one tap, with rows of the input as pixels.

Rows may lie along any axes but the one that is summed over, in any order in memory. Those that follow each other
evenly are one line of pixels; up to three lines within each other are images, rows and columns of the kernel `conv`.
"""

from __future__ import annotations

from math import prod

import numpy as np

from qengine.deploy.c.ir import Call, CTensor, Operation, Parameters, Scratch
from qengine.deploy.c.lowering import Context, lowers
from qengine.deploy.c.lowerings.linear.convolution import band_of, gather_numbers, padded, turned_weights
from qengine.deploy.c.lowerings.linear.filter_sums import FilterSums, filter_sums
from qengine.deploy.c.lowerings.linear.overlaps import conv_overlap
from qengine.model.steps import Linear
from qengine.model.steps.forms import MatrixProduct

Line = tuple[int, int, int]
"""A line of pixels: their number, and the elements from one to the next in the input and in the output."""

_LINES = 3


def _applies(context: Context) -> bool:
    step = context.step
    if not isinstance(step.product, MatrixProduct) or step.w.value is None or prod(step.shape) == 0:
        return False
    if prod(step.w.shape[:-2]) != 1 or filter_sums(context) is None:
        return False
    lines = _lines(context.tensors[step.x.name], context.y, step)
    return lines is not None and len(lines) <= _LINES


def _lines(x: CTensor, y: CTensor, step: Linear) -> list[Line] | None:
    """Return the lines of pixels, the outermost first; None where the axes of the output are not those of the input."""
    assert isinstance(step.product, MatrixProduct)
    own = list(zip(x.shape, x.strides, strict=True))
    if step.product.transposed_x:
        own.reverse()
    rows = own[:-1]
    to = list(zip(y.shape, y.strides, strict=True))
    if step.w.ndim > 1:
        to = to[:-1]
    rows, to = ([pair for pair in pairs if pair[0] != 1] for pairs in (rows, to))
    if [n for n, _ in rows] != [n for n, _ in to]:
        return None
    found: list[Line] = []
    for (count, step_x), (_, step_y) in sorted(zip(rows, to, strict=True), key=lambda pair: -pair[0][1]):
        if found and found[-1][1] == count * step_x and found[-1][2] == count * step_y:
            found[-1] = found[-1][0] * count, step_x, step_y
        else:
            found.append((count, step_x, step_y))
    return found


@lowers(Linear, _applies)
def lower_matrix(context: Context) -> Operation:
    """Return the product of each row of the input and the filters."""
    step = context.step
    sums = filter_sums(context)
    assert sums is not None
    call = _call(context, sums)
    macs = prod(step.shape) * step.taps
    return context.operation(call, overlap=(conv_overlap(call),), macs=macs, comments=(sums.comment,))


def _call(context: Context, sums: FilterSums) -> Call:
    step, y = context.step, context.y
    x = context.tensors[step.x.name]
    filters, inputs = sums.weights.shape
    weights, taps, padding = padded(sums.weights)
    lines = _lines(x, y, step)
    assert lines is not None
    images, rows, columns = [(1, 0, 0)] * (_LINES - len(lines)) + lines
    next_tap = x.strides[0] if step.product.transposed_x else x.strides[-1]
    next_filter = y.strides[-1] if step.w.ndim > 1 else 1
    pixels = rows[0] * columns[0]
    band = band_of(sums, taps, x.bytes + y.bytes, pixels)
    turned = turned_weights(taps, filters, x.bytes + y.bytes, pixels)
    numbers: Parameters = {
        "images": images[0],
        "image_x": images[1],
        "image_y": images[2],
        "groups": 1,
        "group_x": 0,
        "group_y": 0,
        "height": rows[0],
        "width": columns[0],
        "row_y": rows[2],
        "band": band,
        "by_rows": rows[0] > 1,
        "is_turned": turned > 0,
        "gather": gather_numbers(
            sums,
            planes=1,
            plane=0,
            cell=inputs,
            cell_step=next_tap if inputs > 1 else 1,
            height=rows[0],
            width=columns[0],
            row=rows[1],
            column=columns[1],
            kernel_height=1,
            kernel_width=1,
            stride_down=1,
            stride_right=1,
            dilation_down=1,
            dilation_right=1,
            pad_top=0,
            pad_left=0,
            padding=padding,
        ),
        "out": {
            "filters": filters,
            "taps": taps,
            "pixel": columns[2],
            "channel": next_filter,
            "has_shifts": sums.has_shifts,
            "epilogue": sums.epilogue(context),
        },
    }
    constants = sums.constants(context, weights, "filters, inputs")
    types = {"x": x.dtype, "w": sums.weights.dtype, "y": y.dtype}
    return Call("conv", types, (x, *constants, Scratch(np.dtype(np.int16), band * taps + turned), y), numbers)
