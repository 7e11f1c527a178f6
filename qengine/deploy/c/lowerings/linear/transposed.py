"""ConvTranspose with constant weights, in sums of 32 bits: each phase of its output is a convolution.

A phase of stride s has every s-th output along each axis. It is a convolution with a stride of 1 of every s-th tap of
the kernel, so that zeros between inputs are neither stored nor multiplied, and sums are never scattered. See `Phases`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod

import numpy as np

from qengine.deploy.c.ir import Call, Operation
from qengine.deploy.c.lowering import Context, lowers
from qengine.deploy.c.lowerings.linear.convolution import Strides, gathered
from qengine.deploy.c.lowerings.linear.filter_sums import FilterSums, filter_sums
from qengine.deploy.c.lowerings.linear.loop_nests import Phases, phases_of
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
    if not all(one.taps[0] for axis in _axes(step) for one in axis):
        return False  # an output that sums nothing
    sums = filter_sums(context)
    return sums is not None and sums.zero == 0  # else each phase would have another bias


def _axes(step: Linear) -> list[list[Phases]]:
    """Return the phases along each spatial axis."""
    assert isinstance(step.product, TransposedConvolution)
    return [phases_of(step.product, n, step.shape[2 + i], i) for i, n in enumerate(step.w.shape[2:])]


@lowers(Linear, _applies)
def lower_transposed(context: Context) -> Operation:
    """Return a convolution for each phase."""
    step = context.step
    sums = filter_sums(context)
    assert sums is not None
    calls: list[Call] = []
    macs = 0
    for phases in product(*([one for joined in axis for one in joined.apart] for axis in _axes(step))):
        calls.append(_phase(context, sums, phases, calls[0] if calls else None))
        macs += prod(one.outputs * len(one.taps[0]) for one in phases)
    macs *= step.shape[0] * step.w.shape[0] * step.w.shape[1]
    return context.operation(*calls, macs=macs, comments=(sums.comment,))


def _phase(context: Context, sums: FilterSums, phases: tuple[Phases, ...], first: Call | None) -> Call:
    """Return the call of the outputs that are of a phase along each axis."""
    step, form = context.step, context.step.product
    weights = sums.weights.reshape(len(sums.weights), step.w.shape[0] // form.group, *step.w.shape[2:])
    for axis, one in enumerate(phases):  # the filters are mirrored
        picked = [step.w.shape[2 + axis] - 1 - k for k in one.taps[0]]
        weights = np.take(weights, np.array(picked, np.intp), axis=2 + axis)
    down = None if len(phases) == 1 else phases[0]
    right = phases[-1]
    whole = Strides.of(context.y)
    stride_down = 1 if down is None else form.strides[0]
    to = replace(
        whole,
        row=whole.row * stride_down,
        column=whole.column * form.strides[-1],
        height=1 if down is None else down.outputs,
        width=right.outputs,
    )
    window = {
        "kernel_height": 1 if down is None else len(down.taps[0]),
        "kernel_width": len(right.taps[0]),
        "stride_down": 1,
        "stride_right": 1,
        "dilation_down": 1 if down is None else down.dilation,
        "dilation_right": right.dilation,
        "pad_top": 0 if down is None else down.pad,
        "pad_left": right.pad,
    }
    offset = right.first * whole.column + (0 if down is None else down.first * whole.row)
    weights = weights.reshape(*weights.shape[:2], prod(weights.shape[2:]))
    return gathered(context, sums, weights, to, window, first, offset)
