"""Images of one column on kernels as images of one row: a tensor (N, C, H, 1) as (N, C, H), whose memory is the same.

Tiles of kernels and vectors go along rows. A network over sequences often has them along the height, with images of
one column, and then every row is one pixel. So steps between such images are lowered as steps with one spatial axis,
which is the width of blocks. What reads a tensor as images of one column, because its step is not of this kind, gets it
in another buffer, as for any other shape of the same elements.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from qengine.model.steps import Combine, Join, Linear, Mean, Move, Step, Table, Tensor
from qengine.model.steps.forms import (
    AxisExtreme,
    AxisSum,
    Bounded,
    ChannelScale,
    Concatenated,
    Convolution,
    TransposedConvolution,
    WindowMax,
    WindowSum,
)
from qengine.runtime.plan.plan import BoundStep

Form = TypeVar("Form", Convolution, TransposedConvolution)


def is_column(shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of images of one column; one pixel is one row as well."""
    return len(shape) == 4 and shape[3] == 1 and shape[2] > 1


def convolution_on_rows(form: Form, weights: tuple[int, ...]) -> Form | None:
    """Return a convolution of images of one column, with weights of a shape, on images of one row; None if it is none.

    The kernel of one on rows is one row of the same weights.
    """
    if len(weights) != 4 or weights[3] != 1 or form.pads[1] != (0, 0):
        return None
    changes: dict[str, Any] = {"strides": form.strides[:1], "dilations": form.dilations[:1], "pads": form.pads[:1]}
    if isinstance(form, TransposedConvolution):
        changes["output_padding"] = form.output_padding[:1]
    return replace(form, **changes)


def on_rows(bound_step: BoundStep) -> BoundStep:
    """Return a step between images of one column as one between images of one row, and any other step unchanged."""
    step, out = bound_step.step, bound_step.output
    computed = [t for t in step.operands if t.value is None]
    if not any(is_column(shape) for shape in (out.shape, *(t.shape for t in computed))):
        return bound_step
    if any(len(shape) != 4 or shape[3] != 1 for shape in (out.shape, *(t.shape for t in computed))):
        return bound_step
    found = _on_rows(step)
    return bound_step if found is None else replace(bound_step, step=found, output=_row(out))


def _on_rows(step: Step) -> Any:
    """Return a step on images of one row; None where there is none."""
    any_step: Any = step
    if isinstance(step, Combine):
        terms = tuple(map(_term, step.terms))
        return None if None in terms else replace(any_step, terms=terms)
    if isinstance(step, Join):
        is_joined = isinstance(step.function, Concatenated) and step.function.axis == 1
        is_joined = is_joined and all(t.value is None for t in step.joined)
        return replace(any_step, joined=tuple(map(_row, step.joined)), shape=step.shape[:3]) if is_joined else None
    if isinstance(step, Table):
        return replace(any_step, x=_row(step.x))
    if isinstance(step, Linear):
        return _linear(step)
    if isinstance(step, Move | Mean):
        name = "function" if isinstance(step, Move) else "total"
        form = _form(getattr(step, name))
        return None if form is None else replace(any_step, x=_row(any_step.x), shape=step.shape[:3], **{name: form})
    return None


def _linear(step: Linear) -> Linear | None:
    w, form = step.w, step.product
    if w.value is None or step.channel_axis % 4 != 1 or step.bias_shape[-1:] not in ((), (1,)):
        return None
    own: Any = form if isinstance(form, ChannelScale) else None
    if isinstance(form, Convolution | TransposedConvolution):
        own = convolution_on_rows(form, w.shape)
    if own is None:
        return None
    w = w if own is form else _row(w)
    return replace(
        step,
        x=_row(step.x),
        w=w,
        product=own,
        shape=step.shape[:3],
        summed=tuple(a for a in step.summed if a < w.ndim),
        channel_axis=1,
        bias_shape=step.bias_shape[:-1],
    )


def _form(form: Any) -> Any:
    """Return the form of a step with one spatial axis; None for other forms."""
    if isinstance(form, Bounded):
        return form
    if isinstance(form, WindowMax | WindowSum) and form.kernel[1] == 1 and form.pads[1] == (0, 0):
        kernel, strides = form.kernel[:1], form.strides[:1]
        return replace(form, kernel=kernel, strides=strides, dilations=form.dilations[:1], pads=form.pads[:1])
    if isinstance(form, AxisSum | AxisExtreme) and form.keepdims and sorted(a % 4 for a in form.axes) == [2, 3]:
        return replace(form, axes=(2,))
    return None


def _row(t: Tensor) -> Tensor:
    """Return a tensor without its last axis, of length 1."""
    value = None if t.value is None else t.value.reshape(t.shape[:-1])
    found = Tensor(t.name, t.dtype, t.shape[:-1], value, t.format, encoding=t.encoding)
    if "codes" in vars(t):
        found.keep_codes(t.codes.reshape(found.shape))
    return found


def _term(t: Tensor) -> Tensor | None:
    """Return an operand as it broadcasts against images of one row; None where it does not."""
    if t.ndim == 0:
        return t
    return _row(t) if t.shape[-1] == 1 else None
