"""float16 on native kernels: computed in float32, and rounded to float16 after every step.

Kernels know float32. So a step on float16 tensors is lowered as the same step on float32 tensors, whose elements are
all numbers of float16: constants are converted once, arrays of the user's when a segment reads them, and what a step
computes is rounded by a kernel. The elements become float16 again where a segment writes an array.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from qengine.model.steps import Evaluation, Join, Move, Step, Tensor
from qengine.runtime.plan.plan import BoundStep

_WIDE = np.dtype(np.float32)


def is_half(t: Tensor) -> bool:
    """Whether a tensor holds real numbers of float16."""
    return t.format is None and t.dtype == np.float16


def wide(t: Tensor) -> Tensor:
    """Return a tensor with float32 elements in the place of float16."""
    if not is_half(t):
        return t
    return replace(t, dtype=_WIDE, value=None if t.value is None else t.value.astype(_WIDE))


class WideSteps:
    """Steps on float32 in the place of steps on float16, for the steps of one plan.

    A tensor or an evaluation that several steps share is converted once, and stays one object.
    """

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}  # by the id of what a step of the plan holds

    def of(self, bound_step: BoundStep) -> BoundStep:
        """Return a step that neither reads nor computes float16."""
        step: Any = bound_step.step
        if not any(map(is_half, (*step.operands, bound_step.output))):
            return bound_step
        changes = self._changes(step)
        if isinstance(step, Move):
            changes["constants"] = tuple(None if c is None else float(np.float16(c)) for c in step.constants)
        return replace(bound_step, step=replace(step, **changes), output=wide(bound_step.output))

    def _changes(self, holder: Any) -> dict[str, Any]:
        return {field.name: self._wide(getattr(holder, field.name)) for field in fields(holder)}

    def _wide(self, value: Any) -> Any:
        """Return what a step holds with float32 in the place of float16."""
        if isinstance(value, Tensor | Evaluation):
            if id(value) not in self._known:
                self._known[id(value)] = (
                    wide(value) if isinstance(value, Tensor) else replace(value, **self._changes(value))
                )
            return self._known[id(value)]
        if isinstance(value, tuple):
            return tuple(map(self._wide, value))
        if isinstance(value, np.dtype):
            return _WIDE if value == np.float16 else value
        return value


def is_rounded(step: Step) -> bool:
    """Whether a step computes new numbers, which must be rounded; others pick elements of their inputs."""
    return not isinstance(step, Move | Join)
