"""Hypothesis: one thing that a device may do differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.operation import Operation
from qengine.deploy.hypotheses.variant import Variant
from qengine.errors import QEngineError

Change = Callable[[Variant], Variant | None]
"""Function that makes a fault of a way to compute an operator; None where the fault does not apply."""


@dataclass(frozen=True)
class Hypothesis:
    """A fault that a device may have.

    Attributes
    ----------
    name : family and fault, such as "rounding:floor".
    family : name before the colon.
    sentence : words that follow "explained by"; `{rounding}` and `{overflow}` stand for those of the operator.
    rank : place in the order of simplicity, the simplest having the smallest.
    change : function that makes the fault of a `Variant`.
    is_structural : whether the sums themselves differ, and not only what becomes of them.
    """

    name: str
    sentence: str
    rank: int
    change: Change
    is_structural: bool = False

    @property
    def family(self) -> str:
        """The name before the colon."""
        return self.name.partition(":")[0]

    def variant(self, of: Variant) -> Variant | None:
        """Return a way to compute an operator with this fault too; None where the fault does not apply to it."""
        try:
            changed = self.change(of)
        except (QEngineError, ValueError, AssertionError):  # such a format or shape does not exist
            return None
        if changed is None or not self.is_structural:
            return changed
        return changed.named(self.name)

    def codes(self, operation: Operation) -> NDArray[Any] | None:
        """Return the codes of an operator that has this fault; None where the fault does not apply."""
        variant = self.variant(Variant.of(operation))
        return None if variant is None else codes_of_variant(variant)

    def describe(self, variant: Variant) -> str:
        """Return the sentence for an operator."""
        arithmetic = variant.operation.arithmetic
        return self.sentence.format(rounding=arithmetic.rounding.value, overflow=arithmetic.overflow.value)


def codes_of_variant(variant: Variant) -> NDArray[Any] | None:
    """Return the codes of a variant; None where it cannot be computed, or has another shape than the output."""
    try:
        with np.errstate(all="ignore"):
            codes = variant.codes()
    except (QEngineError, ValueError, IndexError, AssertionError, OverflowError, TypeError):
        return None
    return codes if codes.shape == variant.operation.output.shape else None
