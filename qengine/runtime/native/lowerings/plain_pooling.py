"""Lowering of the largest value of windows, on plain buffers: of integers, such as those of quantized models."""

from __future__ import annotations

from math import prod

import numpy as np

from qengine.kernels.plain_pool import PlainMax
from qengine.model.steps import Move
from qengine.model.steps.forms import WindowMax
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer

_MAX_STRIDE = 4
"""The most columns from one window to the next: the kernel loads all that lie between the first and the last."""


@lowers_plain(Move, WindowMax)
def lower_max_pool(context: PlainContext[Move]) -> Lowered:
    """Lower MaxPool with one or two spatial axes."""
    step, form = context.step, context.function
    spatial = step.x.ndim - 2
    if spatial not in (1, 2) or min(min(p) for p in form.pads) < 0:
        raise NotLowered(f"the largest value of windows with {spatial} axes, or negative padding")
    x, out = context.request(step.x), TensorBuffer.plain(context.out)
    if x.stored in ("f16", "bf16"):
        raise NotLowered(f"the largest value of windows of {step.x.dtype}")
    pairs = (
        *(step.x.shape[2:], step.shape[2:], form.kernel, form.strides, form.dilations),
        tuple(p[0] for p in form.pads),
    )
    ones = (1, 1, 1, 1, 1, 0)
    both = [(other, *pair) if spatial == 1 else tuple(pair) for pair, other in zip(pairs, ones, strict=True)]
    sizes = np.array(both, np.int64).ravel()
    stride = form.strides[-1]
    if stride > _MAX_STRIDE:
        raise NotLowered(f"windows {stride} columns apart")
    (least,) = step.constants
    assert least is not None
    value = least if step.x.format is None else step.x.encode(float(least))
    dtype = step.x.dtype if step.x.format is None else step.x.one_format.word().dtype
    empty = np.array([value], dtype)
    rows = prod(step.shape[:-1])
    assert ITEMSIZE[x.stored] == empty.itemsize

    def arguments(part: Part) -> dict[str, Address]:
        places = {"x": part.inputs[0], "y": part.outputs[0], "first": part.first, "end": part.end}
        return {**places, "empty": int(empty.ctypes.data), "sizes": int(sizes.ctypes.data)}

    work = prod(step.shape) * prod(form.kernel) * ITEMSIZE[x.stored] / 16
    op = PlainOp(context.isa, (x,), out, PlainMax(x.stored, stride), arguments, rows, work)
    op.address_of(empty)
    op.address_of(sizes)
    return Lowered.by(op)
