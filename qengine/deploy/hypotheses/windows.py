"""Faults of windows: phase of the stride, dilation, groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.steps import Linear, Mean, Move
from qengine.model.steps.forms import Convolution, TransposedConvolution, WindowMax, WindowSum

_FIELDS = {Linear: "product", Mean: "total", Move: "function"}


def _with_form(variant: Variant, **fields: Any) -> Variant:
    name = _FIELDS[type(variant.step)]
    form = replace(getattr(variant.step, name), **fields)
    return replace(variant, step=replace(variant.step, **{name: form}))  # type: ignore[type-var]


def _form(variant: Variant) -> Any:
    name = _FIELDS.get(type(variant.step))
    form = getattr(variant.step, name) if name else None
    return form if isinstance(form, Convolution | TransposedConvolution | WindowMax | WindowSum) else None


def _phase(moves: tuple[int, int], variant: Variant) -> Variant | None:
    """Return the variant whose windows begin some cells later along the last two axes."""
    form = _form(variant)
    if form is None or len(form.pads) != 2:
        return None
    is_padded = any(a or b for a, b in form.pads)
    if not is_padded and 0 in moves and all(stride == 1 for stride in form.strides):
        return None
    sign = -1 if isinstance(form, TransposedConvolution) else 1
    pads = tuple((a - sign * m, b + sign * m) for (a, b), m in zip(form.pads, moves, strict=True))
    return _with_form(variant, pads=pads)


def _undilated(variant: Variant) -> Variant | None:
    """Return the variant without dilation, its windows beginning where they did."""
    form = _form(variant)
    if form is None or all(d == 1 for d in form.dilations) or isinstance(form, TransposedConvolution):
        return None
    kernel = variant.step.w.shape[2:] if isinstance(variant.step, Linear) else form.kernel
    pads = tuple((a, b - (k - 1) * (d - 1)) for (a, b), k, d in zip(form.pads, kernel, form.dilations, strict=True))
    return _with_form(variant, dilations=(1,) * len(form.dilations), pads=pads)


def _undilated_centred(variant: Variant) -> Variant | None:
    form = _form(variant)
    if form is None or all(d == 1 for d in form.dilations) or isinstance(form, TransposedConvolution):
        return None
    kernel = variant.step.w.shape[2:] if isinstance(variant.step, Linear) else form.kernel
    more = [(k - 1) * (d - 1) for k, d in zip(kernel, form.dilations, strict=True)]
    pads = tuple((a - m // 2, b - (m - m // 2)) for (a, b), m in zip(form.pads, more, strict=True))
    return _with_form(variant, dilations=(1,) * len(form.dilations), pads=pads)


def _interleaved(inputs: bool, variant: Variant) -> Variant | None:
    """Return the variant whose groups take every n-th channel, instead of neighbours."""
    form = _form(variant)
    if not isinstance(form, Convolution) or form.group < 2 or not isinstance(variant.step, Linear):
        return None
    x, w = variant.operands[:2]
    if inputs:
        channels = np.arange(x.shape[1]).reshape(-1, form.group).T.reshape(-1)
        changed = variant.with_operand(0, x[:, channels])
    else:
        filters = np.arange(w.shape[0]).reshape(-1, form.group).T.reshape(-1)
        changed = variant.with_operand(1, w[filters])
    same = all(a is b or np.array_equal(a, b) for a, b in zip(changed.operands, variant.operands, strict=True))
    return None if same else changed


def _one_group(variant: Variant) -> Variant | None:
    """Return the variant in which every group reads the channels of the first one."""
    form = _form(variant)
    if not isinstance(form, Convolution) or form.group < 2:
        return None
    x = variant.operands[0]
    each = x.shape[1] // form.group
    return variant.with_operand(0, np.tile(x[:, :each], (1, form.group, *(1,) * (x.ndim - 2))))


def _next_group(by: int, variant: Variant) -> Variant | None:
    form = _form(variant)
    if not isinstance(form, Convolution) or form.group < 2:
        return None
    x = variant.operands[0]
    return variant.with_operand(0, np.roll(x, by * (x.shape[1] // form.group), 1))


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for moves in ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)):
        rank = 73 if moves[0] == moves[1] else 74
        rows, columns = moves
        where = f"{rows:+d} rows, {columns:+d} columns"
        sentence = f"windows that begin elsewhere ({where}): the phase of the stride, or the padding, is wrong"
        name = f"window:phase_{rows:+d}_{columns:+d}"
        yield Hypothesis(name, sentence, rank, partial(_phase, moves), is_structural=True)
    yield Hypothesis("window:no_dilation", "a dilation that is ignored", 66, _undilated, is_structural=True)
    sentence = "a dilation that is ignored, with windows around the same centre"
    yield Hypothesis("window:no_dilation_centred", sentence, 67, _undilated_centred, is_structural=True)
    for name, inputs in (("inputs", True), ("filters", False)):
        sentence = f"groups whose {name} are interleaved"
        yield Hypothesis(f"groups:{name}_interleaved", sentence, 67, partial(_interleaved, inputs), is_structural=True)
    yield Hypothesis("groups:first", "groups that all read the first one", 67, _one_group, is_structural=True)
    for by, words in ((-1, "next group"), (1, "group before")):
        sentence = f"groups that read the channels of the {words}"
        yield Hypothesis(f"groups:{-by:+d}", sentence, 68, partial(_next_group, by), is_structural=True)
