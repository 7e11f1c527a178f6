"""Faults of padding: another value around the input, or padding on the other side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.kernels.reference.linear import Matmul
from qengine.kernels.reference.window import Pads
from qengine.model.steps import Linear, Mean, Move, Tensor
from qengine.model.steps.forms import Convolution, WindowMax, WindowSum

Array = NDArray[Any]
Fill = Literal["edge", "reflect", "wrap", "least", "most", "zero", "one"]


@dataclass(frozen=True)
class Padded:
    """A window operator whose padding holds something else.

    Attributes
    ----------
    form : operator without padding.
    pads : padding that is filled.
    fill : mode of np.pad, or the name of a value.
    least, most : codes of the input's word.
    """

    form: Any
    pads: Pads
    fill: Fill
    least: int
    most: int

    def __call__(self, x: Array, *others: Any, **options: Matmul) -> Array:
        """Return the result of the operator on the padded input."""
        return np.asarray(self.form(self._padded(x), *others, **options))

    def _padded(self, x: Array) -> Array:
        grown = [(0, 0)] * (x.ndim - len(self.pads)) + [(max(a, 0), max(b, 0)) for a, b in self.pads]
        if self.fill in ("edge", "reflect", "wrap"):
            return np.pad(x, grown, mode=self.fill)
        value = {"least": self.least, "most": self.most, "zero": 0, "one": 1}[self.fill]
        return np.pad(x, grown, constant_values=value)


def _filled(fill: Fill, variant: Variant) -> Variant | None:
    step = variant.step
    form = step.product if isinstance(step, Linear) else step.function if isinstance(step, Move) else None
    form = step.total if isinstance(step, Mean) else form
    if not isinstance(form, Convolution | WindowMax | WindowSum) or not any(a > 0 or b > 0 for a, b in form.pads):
        return None
    if fill == ("least" if isinstance(form, WindowMax) else "zero"):
        return None
    x: Tensor = step.operands[0]
    word = x.one_format.word()
    cropped = tuple((min(a, 0), min(b, 0)) for a, b in form.pads)
    padded: Any = Padded(replace(form, pads=cropped), form.pads, fill, word.least, word.most)
    if isinstance(step, Linear):
        return replace(variant, step=replace(step, product=padded))
    if isinstance(step, Mean):
        return replace(variant, step=replace(step, total=padded))
    assert isinstance(step, Move)
    return replace(variant, step=replace(step, function=padded))


def _at_other_side(variant: Variant) -> Variant | None:
    step = variant.step
    names = {Linear: "product", Mean: "total", Move: "function"}
    name = names.get(type(step))
    form = getattr(step, name) if name else None
    if name is None or not isinstance(form, Convolution | WindowMax | WindowSum):
        return None
    if all(a == b for a, b in form.pads):
        return None
    other = replace(form, pads=tuple((b, a) for a, b in form.pads))
    return replace(variant, step=replace(step, **{name: other}))  # type: ignore[type-var]


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    fills: tuple[tuple[Fill, str], ...] = (
        ("zero", "padding of the code 0"),
        ("least", "padding of the least code"),
        ("edge", "padding that repeats the edge"),
        ("reflect", "padding that mirrors the input"),
        ("wrap", "padding from the other end of the input"),
        ("most", "padding of the largest code"),
        ("one", "padding of the code 1"),
    )
    for rank, (fill, sentence) in enumerate(fills, 70):
        yield Hypothesis(f"pad:{fill}", sentence, rank, partial(_filled, fill), is_structural=True)
    sentence = "padding with its two sides swapped"
    yield Hypothesis("pad:other_side", sentence, 72, _at_other_side, is_structural=True)
