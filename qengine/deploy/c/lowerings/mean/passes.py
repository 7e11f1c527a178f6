"""Means along one axis after the other, each as codes of the input's word; see `kernels.reference.means`.

What is between lies in scratch memory. Over whole axes each pass is a mean of its own. A window's passes write over the
lines that they read, so they work in place on a copy of the input; the last pass reads the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Call, CTensor, Scratch
from qengine.deploy.c.lowering import Context, NotExportable
from qengine.deploy.c.lowerings.mean.calls import (
    Counts,
    Quotient,
    Source,
    divided,
    divider_rows,
    mean_calls,
    multiplies,
)
from qengine.deploy.c.lowerings.mean.dividers import quotient_addends
from qengine.deploy.c.lowerings.mean.lines import Loop, MeanLines, merged
from qengine.deploy.c.lowerings.nests import COPY_AXES
from qengine.deploy.c.ranges.intervals import Ends, scaled, with_zero
from qengine.model.steps.forms import AxisSum, WindowSum
from qengine.model.steps.means import WindowCounts

Shape = tuple[int, ...]

_LINES = 3


def pass_calls(
    context: Context, source: Source, counts: Counts
) -> tuple[list[Call], Source, WindowSum | AxisSum, Counts]:
    """Return the calls before the last pass, and the elements, the form and the divisors of the last one."""
    form = context.step.total
    if isinstance(form, AxisSum):
        return _over_axes(context, source, form, counts)
    return _over_windows(context, source, form)


def _quotient(context: Context, count: int, sums: Ends) -> Quotient:
    word = context.arithmetic.word(context.step.x.one_format)
    return Quotient(1, count, quotient_addends(word.rounding, count), sums)


def _over_axes(
    context: Context, source: Source, form: AxisSum, counts: Counts
) -> tuple[list[Call], Source, AxisSum, Counts]:
    """Return the means over each axis but the first."""
    axes, calls, offset = sorted(axis % len(source.shape) for axis in form.axes), list[Call](), 0
    rules = epilogue(context.arithmetic.word(context.step.x.one_format), 0)
    for axis in reversed(axes[1:]):
        one, n = AxisSum((axis,), keepdims=True), source.shape[axis]
        shape = (*source.shape[:axis], 1, *source.shape[axis + 1 :])
        target = Scratch(source.dtype, prod(shape), offset)
        strides = _dense(shape, range(len(shape)))
        lines = MeanLines.of(one, source.shape, source.strides, shape, strides)
        quotients = [_quotient(context, n, source.sums(one))]
        made, _ = mean_calls(context, (source, target), lines, Counts((n,)), quotients, epilogue=rules)
        calls += made
        offset = -(-target.end // 8) * 8
        source = Source(target, source.dtype, shape, strides, with_zero(source.ends))
    first = axes[:1]
    # The axes that have become 1 are summed too, which changes nothing.
    return calls, source, form, Counts((source.shape[first[0]],)) if first else counts


def _dense(shape: Shape, order: Sequence[int]) -> Shape:
    """Return the strides of axes that lie in an order, the outermost first."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def _over_windows(context: Context, source: Source, form: WindowSum) -> tuple[list[Call], Source, WindowSum, Counts]:
    """Return the means along each axis but the first, in place on a copy."""
    window, x = context.step.count, source.argument
    assert isinstance(window, WindowCounts)
    assert isinstance(x, CTensor)
    pads = context.arithmetic.mean.counts_pads
    window = window if pads is None else replace(window, counts_pads=pads)
    wide = [max(n, m) for n, m in zip(source.shape, (*source.shape[:3], *window.out[1:]), strict=True)]
    strides = _dense(tuple(wide), x.order)
    target = Scratch(source.dtype, prod(wide))
    calls, shape = [_copy(source, target, strides)], list(source.shape)
    for axis in range(len(form.kernel) - 1, 0, -1):
        calls += _along(context, source, target, (tuple(shape), strides), window, axis)
        shape[axis + 2] = window.out[axis]
    ones = (1,) * (len(form.kernel) - 1)
    along = WindowSum(
        (form.kernel[0], *ones),
        (form.strides[0], *ones),
        (1, *ones),
        (form.pads[0], *((0, 0),) * len(ones)),
    )
    last = Source(target, source.dtype, tuple(shape), strides, with_zero(source.ends))
    counts = Counts.along([window.along(0), *(np.ones(n, np.int64) for n in window.out[1:])])
    return calls, last, along, counts


def _copy(source: Source, target: Scratch, strides: Shape) -> Call:
    """Return the call that copies elements to strides of their own."""
    axes = merged([Loop(n, a, b) for n, a, b in zip(source.shape, source.strides, strides, strict=True)])
    if len(axes) > COPY_AXES:
        raise NotExportable(f"it has more than {COPY_AXES} axes")
    loops = (*(Loop(1),) * (COPY_AXES - len(axes)), *axes)
    numbers = {f"n{i}": one.count for i, one in enumerate(loops)}
    numbers |= {f"x{i}": one.x for i, one in enumerate(loops)} | {f"y{i}": one.y for i, one in enumerate(loops)}
    return Call("rearrange", {"x": source.dtype}, (source.argument, target), numbers)


def _along(
    context: Context,
    source: Source,
    target: Scratch,
    at: tuple[Shape, Shape],
    window: WindowCounts,
    axis: int,
) -> list[Call]:
    """Return the pass along an axis, of elements of a shape at some strides."""
    shape, strides = at
    place, count = axis + 2, window.out[axis]
    stride, kernel, before = window.strides[axis], window.kernel[axis], context.step.total.pads[axis][0]
    divisors = _divisors(window, axis, shape[place], before)
    each, rows = np.unique(divisors, return_inverse=True)
    sums = with_zero(scaled(source.ends, kernel))
    quotients = [_quotient(context, int(n), sums) for n in each]
    dtype, dividers = divided(quotients, 0, max(abs(end) for end in sums))
    others = [Loop(n, s, s) for i, (n, s) in enumerate(zip(shape, strides, strict=True)) if i != place]
    lines = merged(others)
    if len(lines) > _LINES:
        raise NotExportable(f"its passes go over lines along more than {_LINES} axes")
    loops = (*(Loop(1),) * (_LINES - len(lines)), *lines)
    numbers = {f"lines{i}": one.count for i, one in enumerate(loops)}
    numbers |= {f"line{i}": one.x for i, one in enumerate(loops)} | multiplies(dividers)
    numbers |= {"step": strides[place], "size": shape[place], "count": count, "taps": kernel, "stride": stride}
    rules = epilogue(context.arithmetic.word(context.step.x.one_format), 0)
    constants = (
        context.constant(f"rows_{axis}", rows.astype(np.int16), "places of the divisors", True),
        context.constant(f"dividers_{axis}", divider_rows(dividers, dtype), "divisors of the pass", True),
    )
    fields = {**numbers, "before": before, "epilogue": rules}
    return [Call("mean_pass", {"x": source.dtype, "a": dtype}, (target, *constants), fields)]


def _divisors(window: WindowCounts, axis: int, length: int, before: int) -> NDArray[np.int64]:
    """Return the divisor of each output of a pass."""
    begin = np.arange(window.out[axis]) * window.strides[axis] - before
    if window.counts_pads:
        found = window.along(axis)
    else:
        start = np.where(begin < 0, np.arange(len(begin)), begin)
        end = np.minimum(begin + window.kernel[axis], length)
        found = np.maximum(end, start + 1) - start
    if (begin >= length).any() or (found < 1).any():
        raise NotExportable("a window lies in the padding alone, where mean.method = two_pass has no elements")
    return found
