"""Operation: one operator of a plan with the codes that it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from qengine.model.rules import Arithmetic
from qengine.model.steps import Step, Tensor
from qengine.runtime.plan.plan import BoundStep

if TYPE_CHECKING:
    from qengine.deploy.hypotheses.exact import Exact

Array = NDArray[Any]


@dataclass(eq=False)
class Operation:
    """Operator of a plan, with the codes that it read.

    Attributes
    ----------
    bound_step : step of the plan.
    operands : arrays that it read, in the order of the step's operands; codes where they are in fixed point.
    previous : arrays of the frame before, in the same order, None where one is not known; empty where there was no
        frame before.
    previous_output : codes of the output in the frame before, None where they are not known.
    """

    bound_step: BoundStep
    operands: tuple[Array, ...]
    previous: tuple[Array | None, ...] = ()
    previous_output: Array | None = None
    _kept: dict[tuple[str, ...], Exact | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, bound_step: BoundStep, arrays: Mapping[str, Array], before: Mapping[str, Array] | None = None
    ) -> Operation:
        """Return the operator with operands from arrays by tensor name, and those of the frame before."""
        operands = tuple(arrays[s] if isinstance(s, str) else s for s in bound_step.sources)
        if before is None:
            return cls(bound_step, operands)
        previous = tuple(before.get(s) if isinstance(s, str) else None for s in bound_step.sources)
        return cls(bound_step, operands, previous, before.get(bound_step.output.name))

    @property
    def step(self) -> Step:
        """The step."""
        return self.bound_step.step

    @property
    def output(self) -> Tensor:
        """The tensor that the operator computes."""
        return self.bound_step.output

    @property
    def arithmetic(self) -> Arithmetic:
        """The rules of the step."""
        return self.bound_step.arithmetic or Arithmetic()

    @cached_property
    def codes(self) -> Array:
        """The codes that the definition gives."""
        return self.bound_step.kernel(*self.operands)
