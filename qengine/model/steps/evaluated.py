"""Steps of an operator that an evaluator computes whole: one step for each output, all of one `Evaluation`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.elementwise import bounded
from qengine.kernels.reference.requantize import Tally
from qengine.model.graph import NO_ACTIVATION, Node
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.island import Island
from qengine.model.steps.step import Kernel, Tensor
from qengine.qformat import QFormat


class FixedRule(Protocol):
    """Rule by which an evaluation computes codes: all outputs at once."""

    def output(self, index: int, arrays: Sequence[NDArray[Any]], tally: Tally | None) -> NDArray[Any]:
        """Return the codes of an output.

        Parameters
        ----------
        index
            Place of the output.
        arrays
            Elements of the inputs that are not left out: codes of those with a format.
        tally
            Counts, which those of the output are added to; None counts nothing.
        """

    def saturated_bias(self) -> tuple[int, Tensor] | None:
        """Return how many elements of a bias saturate in 32 bits, and the bias; None if none do."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A node that an evaluator computes, with all its inputs and outputs.

    Attributes
    ----------
    node : the node.
    inputs : inputs in ONNX's order; None for one that is left out.
    outputs : outputs, with shapes and dtypes; those that the node leaves out have no name.
    compute : function of arrays in the order of `inputs`, None where one is left out, that returns the outputs.
    rule : function that tells how codes are computed; None for an island in fixed point.
    hidden : formats of the tensors inside of the node, in the order of `Node.hidden`.
    rule_kind : kind of operator whose rounding and overflow the rule has.
    """

    node: Node
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    compute: Callable[[Sequence[NDArray[Any] | None]], Sequence[Any]]
    rule: RuleOf | None = None
    hidden: tuple[QFormat, ...] = ()
    rule_kind: Kind = "convert"
    _changed: list[tuple[Any, Evaluation]] = field(default_factory=list, repr=False)
    _rules: dict[Arithmetic, FixedRule] = field(default_factory=dict, repr=False)

    def fixed_rule(self, arithmetic: Arithmetic) -> FixedRule | None:
        """Return how codes are computed, one object for all outputs; None for an island."""
        if self.rule is None:
            return None
        if arithmetic not in self._rules:
            self._rules[arithmetic] = self.rule(self, arithmetic)
        return self._rules[arithmetic]

    @property
    def rules(self) -> Iterable[FixedRule]:
        """The rules that `fixed_rule` has returned."""
        return self._rules.values()

    def steps(self) -> tuple[Evaluated, ...]:
        """Return a step for each output."""
        operands = tuple(t for t in self.inputs if t is not None)
        return tuple(
            Evaluated(operands, self._output(i), out.shape, out.dtype, self, i) for i, out in enumerate(self.outputs)
        )

    def _output(self, index: int) -> Callable[..., NDArray[Any]]:
        activation = self.node.activation or NO_ACTIVATION

        def output(*arrays: NDArray[Any]) -> NDArray[Any]:
            given = iter(arrays)
            # An evaluator gets real numbers in the type that the model declares.
            inputs = [None if t is None else next(given).astype(t.dtype, copy=False) for t in self.inputs]
            return np.asarray(bounded(self.compute(inputs)[index], activation.low, activation.high))

        return output

    def of_other_tensors(self, change: Callable[[Tensor], Tensor]) -> Evaluation:
        """Return the same computation of other tensors, one object for all steps that are changed alike."""
        if not self._changed or self._changed[0][0] is not change:
            inputs = tuple(None if t is None else change(t) for t in self.inputs)
            other = replace(self, inputs=inputs, outputs=tuple(map(change, self.outputs)), _changed=[], _rules={})
            self._changed[:] = [(change, other)]
        return self._changed[0][1]


RuleOf = Callable[[Evaluation, Arithmetic], FixedRule]


@dataclass(frozen=True, eq=False)
class Evaluated(Island):
    """An output of an evaluation; an island in fixed point unless the evaluation has a rule.

    Attributes
    ----------
    evaluation : the node with all its inputs and outputs.
    index : place of the output.
    """

    evaluation: Evaluation
    index: int

    @property
    def rule_kind(self) -> Kind:  # type: ignore[override]
        """The kind of the rule; that of a conversion for an island."""
        return self.evaluation.rule_kind

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The kind of step: "rule" where it computes codes of codes."""
        return "island" if self.evaluation.rule is None else "rule"

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        rule = self.evaluation.fixed_rule(arithmetic)
        if rule is None:
            return super().fixed(out, arithmetic)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            return rule.output(self.index, arrays, tally)

        return run

    def saturated_bias(self) -> tuple[int, Tensor] | None:
        """Return what the rule of the node says, once for all its outputs."""
        first = next(i for i, t in enumerate(self.evaluation.outputs) if t.name)
        return next((rule.saturated_bias() for rule in self.evaluation.rules if self.index == first), None)

    def with_operands(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the same output of an evaluation of other tensors."""
        return replace(super().with_operands(change), evaluation=self.evaluation.of_other_tensors(change))
