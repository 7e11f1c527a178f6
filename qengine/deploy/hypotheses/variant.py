"""Variant: one way to compute an operator, which hypotheses change.

The first variant of an operator is the definition. A hypothesis returns another one: with changed operands, another
step, other rules, or an epilogue in which a stage differs. Hypotheses compose, as one may change what another
returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.epilogue import Epilogue
from qengine.deploy.hypotheses.exact import Exact, exact_of
from qengine.deploy.hypotheses.operation import Operation
from qengine.kernels.reference.word import Word
from qengine.model.rules import Arithmetic
from qengine.model.steps import Linear, Step, Tensor
from qengine.qformat import QFormat, Rounding

Array = NDArray[Any]

_KEPT = 2
"""Number of exact results of one operator that are kept, the definition's not counted."""


@dataclass(frozen=True, eq=False)
class Variant:
    """Way to compute an operator.

    Attributes
    ----------
    operation : the operator and the codes that it read.
    step, output, arithmetic, operands : the step, its output, its rules, and the arrays that it reads.
    epilogue : stages from exact sums to codes; None for those of the rules.
    change_bias : function of the bias as real numbers in units of the sums, that returns integers; None for the rule.
    run : function that computes the codes instead; None for the kernel.
    structure : names of the hypotheses that changed the sums.
    """

    operation: Operation
    step: Step
    output: Tensor
    arithmetic: Arithmetic
    operands: tuple[Array, ...]
    epilogue: Epilogue | None = None
    change_bias: Callable[[Exact], Array] | None = None
    run: Callable[[Variant], Array] | None = None
    structure: tuple[str, ...] = ()

    @classmethod
    def of(cls, operation: Operation) -> Variant:
        """Return the definition of an operator."""
        return cls(operation, operation.step, operation.output, operation.arithmetic, operation.operands)

    def named(self, name: str) -> Variant:
        """Return the variant with the name of a hypothesis that changed its sums."""
        return replace(self, structure=(*self.structure, name))

    def codes(self, index: NDArray[np.intp] | None = None) -> Array:
        """Return the codes, or those of some elements by their flat index."""
        if self.run is not None:
            codes = self.run(self)
        elif (exact := self.exact) is not None:
            if index is not None:
                return self.own_epilogue.at(index, exact.shape).codes(self._biased(exact).at(index))
            codes = self.own_epilogue.codes(self._biased(exact))
        elif self.epilogue is not None or self.change_bias is not None:
            raise ValueError("the operator has no sums of its own")
        else:
            codes = self.step.fixed(self.output, self.arithmetic)(*self.operands)
        return codes if index is None else codes.reshape(-1)[index]

    @property
    def exact(self) -> Exact | None:
        """The exact results; None where the operator has none, or where they do not explain the definition."""
        kept = self.operation._kept
        if () not in kept:
            kept[()] = _checked(self.operation)
        if kept[()] is None:
            return None
        if self.structure not in kept:
            for old in [key for key in kept if key][: -_KEPT + 1 or None]:
                del kept[old]
            kept[self.structure] = _exact(self.step, self.output, self.arithmetic, self.operands)
        return kept[self.structure]

    @property
    def own_epilogue(self) -> Epilogue:
        """The epilogue, or that of the rules."""
        if self.epilogue is not None:
            return self.epilogue
        return _epilogue(self.step, self.output, self.arithmetic)

    def with_epilogue(self, **fields: Any) -> Variant | None:
        """Return the variant with other stages after the sums; None where it has no sums."""
        if self.run is not None or self.exact is None:
            return None
        return replace(self, epilogue=replace(self.own_epilogue, **fields))

    def with_modes(self, **modes: Any) -> Variant:
        """Return the variant with another rounding or overflow."""
        changed = replace(self, arithmetic=replace(self.arithmetic, **modes))
        if self.epilogue is None:
            return changed
        word = self.epilogue.word
        word = Word(word.bits, word.signed, changed.arithmetic.rounding.value, changed.arithmetic.overflow.value)
        inside = self.epilogue.rounds_inside and "rounding" not in modes
        return replace(changed, epilogue=replace(self.epilogue, word=word, rounds_inside=inside))

    def with_rules(self, **rules: Any) -> Variant | None:
        """Return the variant computed by the kernels under other rules; None where an epilogue is in the way."""
        if self.epilogue is not None or self.change_bias is not None or self.run is not None:
            return None
        arithmetic = replace(self.arithmetic, **rules)
        return None if arithmetic == self.arithmetic else replace(self, arithmetic=arithmetic, run=run_kernel)

    def with_operand(self, index: int, array: Array) -> Variant:
        """Return the variant that reads another array in place of an operand."""
        return replace(self, operands=(*self.operands[:index], array, *self.operands[index + 1 :]))

    def _biased(self, exact: Exact) -> Exact:
        return exact if self.change_bias is None else replace(exact, bias=self.change_bias(exact))


def run_kernel(variant: Variant) -> Array:
    """Return the codes that the kernel of a variant computes."""
    return variant.step.fixed(variant.output, variant.arithmetic)(*variant.operands)


def _epilogue(step: Step, output: Tensor, arithmetic: Arithmetic) -> Epilogue:
    fmt = output.format
    assert isinstance(fmt, QFormat)
    word = arithmetic.word(fmt)
    if not isinstance(step, Linear):
        return Epilogue(word)
    rule = arithmetic.accumulator
    inside = rule.rounds_inside and arithmetic.rounding is Rounding.HALF_UP
    return Epilogue(word, rule.bits, rule.overflow == "saturate", inside)


def _exact(step: Step, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    """Return the exact results; None for a register with fraction bits of its own, of which an epilogue has none."""
    if isinstance(step, Linear) and arithmetic.accumulator.fraction_bits is not None:
        return None
    return exact_of(step, output, arithmetic, operands)


def _checked(operation: Operation) -> Exact | None:
    """Return the exact results of the definition; None where they do not give its codes."""
    step, output, arithmetic = operation.step, operation.output, operation.arithmetic
    try:
        exact = _exact(step, output, arithmetic, operation.operands)
    except (ValueError, AssertionError):
        return None
    if exact is None:
        return None
    codes = _epilogue(step, output, arithmetic).codes(exact)
    return exact if np.array_equal(codes, operation.codes) else None
