"""ConvTranspose with constant weights, in sums of 32 bits: each phase of its output is a convolution.

A phase of stride s has every s-th output along each axis. It is a convolution with a stride of 1 of every s-th tap of the
kernel, so that no zero is put between inputs, and nothing is scattered. See `Phases`.
"""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from qengine.deploy.c.filter_sums import FilterSums, filter_sums
from qengine.deploy.c.ir import Call, Operation, Scratch
from qengine.deploy.c.linear_nests import Phases, phases_of
from qengine.deploy.c.lowering import Context, lowers
from qengine.deploy.c.lowerings.convolution import Strides, band_of, gather_numbers
from qengine.model.steps import Linear
from qengine.model.steps.forms import TransposedConvolution

_MOST_PHASES = 16
"""Phases that are a call each; with more, the loops of `lowerings.linear` are shorter."""


def _applies(context: Context) -> bool:
    step = context.step
    if not isinstance(step.product, TransposedConvolution) or step.x.ndim not in (3, 4) or not prod(step.shape):
        return False
    if prod(step.product.strides) > _MOST_PHASES or 0 in step.x.shape:
        return False
    sums = filter_sums(context)
    return sums is not None and sums.zero == 0  # else each phase would have another bias


@lowers(Linear, _applies)
def lower_transposed(context: Context) -> Operation:
    """Return a convolution for each phase."""
    step = context.step
    sums = filter_sums(context)
    assert sums is not None
    kernel = step.w.shape[2:]
    axes = [phases_of(step.product, n, step.shape[2 + i], i) for i, n in enumerate(kernel)]
    single = [[(one, i) for one in phases for i in range(one.count)] for phases in axes]
    calls: list[Call] = []
    for phase in product(*single):
        calls.append(_phase(context, sums, list(phase), calls))
    macs = sum(prod(p[0].outputs * len(p[0].taps[0]) for p in phase) for phase in product(*single))
    macs *= step.shape[0] * step.w.shape[0] * step.w.shape[1]
    return context.operation(*calls, macs=macs, comments=(sums.comment,))


def _phase(context: Context, sums: FilterSums, phase: list[tuple[Phases, int]], before: list[Call]) -> Call:
    """Return the call of a phase; its bias and shifts are those of the first one."""
    step, y = context.step, context.y
    x_tensor = context.tensors[step.x.name]
    x, to, form = Strides.of(x_tensor), Strides.of(y), step.product
    inputs, filters = step.w.shape[0] // form.group, step.w.shape[1]
    weights = sums.weights.reshape(len(sums.weights), inputs, *step.w.shape[2:])
    for axis, (one, i) in enumerate(phase):  # the filters are mirrored
        last = step.w.shape[2 + axis] - 1
        weights = np.take(weights, [last - k for k in one.taps[i]], axis=2 + axis)
    rows, columns = ((None, 0, 1), *_lines(phase, form))[-2:]
    kernel = (1, *weights.shape[2:])[-2:]
    weights = weights.reshape(len(weights), inputs, -1)
    by_cell = x.has_channels_last or inputs == 1
    weights = weights.swapaxes(1, 2) if by_cell else weights
    taps = inputs * prod(kernel)
    height, width = 1 if rows[0] is None else rows[0].outputs, columns[0].outputs
    band = min(band_of(sums.weights.nbytes // form.group), height * width)
    down, right = to.row * rows[2], to.column * columns[2]
    numbers = {
        "images": step.shape[0],
        "image_x": x.image,
        "image_y": to.image,
        "groups": form.group,
        "group_x": inputs * x.channel,
        "group_y": filters * to.channel,
        "height": height,
        "width": width,
        "row_y": down,
        "band": band,
        "by_rows": height > 1 and down != width * right,
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
            kernel_height=kernel[0],
            kernel_width=kernel[1],
            stride_down=1,
            stride_right=1,
            dilation_down=1 if rows[0] is None else rows[0].dilation,
            dilation_right=columns[0].dilation,
            pad_top=0 if rows[0] is None else rows[0].pad,
            pad_left=columns[0].pad,
        ),
        "out": {
            "filters": filters,
            "taps": taps,
            "pixel": right,
            "channel": to.channel,
            "has_shifts": sums.has_shifts,
            "epilogue": sums.epilogue(context),
        },
    }
