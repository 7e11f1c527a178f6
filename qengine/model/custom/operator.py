"""A registered operator as the rest of qengine sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OperatorError
from qengine.kernels.reference.requantize import Tally
from qengine.model.custom.results import (
    FixedPoint,
    arrays_of,
    called,
    moved_codes,
    read_only,
    requantized,
    results_of,
)
from qengine.model.custom.signature import Signature
from qengine.model.graph import Node
from qengine.model.ops.operator import Operator
from qengine.model.steps import Arithmetic
from qengine.qformat import QFormat

Function = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Custom(Operator):
    """An operator that a function computes, given by a user.

    Attributes
    ----------
    function : its meaning on real numbers.
    signature : what the function takes.
    rule : in fixed point: exact integers and their fraction bits from codes; None where there is no such rule.
    moves : whether the function serves codes as it serves real numbers, and the format stays.
    deterministic : whether the same inputs always give the same outputs.
    """

    function: Function
    signature: Signature
    rule: Function | None = None
    moves: bool = False
    deterministic: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether it computes in integers in fixed point."""
        return not self.is_delegated or self.moves or self.rule is not None

    @property
    def kind(self) -> Literal["integer", "moves", "island"]:
        """What it does in fixed point."""
        if self.moves:
            return "moves"
        return "integer" if self.is_exact else "island"

    def check(self, node: Node) -> None:
        """Refuse a node whose inputs or attributes the function does not take."""
        self.signature.check(node)

    def compute(
        self, node: Node, inputs: Sequence[Any], types: Sequence[np.dtype[Any] | None]
    ) -> list[NDArray[Any] | None]:
        """Return the outputs of a node on real numbers, None for those that are left out.

        Parameters
        ----------
        node, inputs
            As of `qengine.model.eager.single_node.compute`.
        types
            What the model says that the outputs are.

        Raises
        ------
        OperatorError
            If the function fails, or gives what is no output; without the node's name.
        """
        given = [_tensor(value) for value in inputs]
        result = called(self.function, self.signature.arguments(given), self.signature.keywords(node.attributes))
        return arrays_of(result, node.outputs, given, types)

    def compute_fixed(
        self,
        node: Node,
        inputs: Sequence[FixedPoint | NDArray[Any] | None],
        types: Sequence[np.dtype[Any] | None],
        formats: Sequence[QFormat | None],
        arithmetic: Arithmetic,
        tallies: Sequence[Tally | None],
    ) -> list[tuple[NDArray[Any] | None, QFormat | None]]:
        """Return the outputs of a node by its rule: codes and their format, or what is not in fixed point.

        Parameters
        ----------
        node
            What to compute.
        inputs
            Codes for what is in fixed point, anything else as it is; None where an input is left out.
        types, formats, tallies
            One for each output.

        Raises
        ------
        OperatorError
            As of `compute`.
        """
        given = [value if isinstance(value, FixedPoint) else _tensor(value) for value in inputs]
        if self.rule is None:
            return self._move(node, given, types, formats, tallies)
        result = called(self.rule, self.signature.arguments(given), self.signature.keywords(node.attributes))
        return [
            (None, None) if not name else requantized(one, name, declared, form, arithmetic, tally)
            for one, name, declared, form, tally in zip(
                results_of(result, node.outputs), node.outputs, types, formats, tallies, strict=True
            )
        ]

    def _move(
        self,
        node: Node,
        given: Sequence[FixedPoint | NDArray[Any] | None],
        types: Sequence[np.dtype[Any] | None],
        formats: Sequence[QFormat | None],
        tallies: Sequence[Tally | None],
    ) -> list[tuple[NDArray[Any] | None, QFormat | None]]:
        """Return the outputs of a node that moves codes."""
        source, *others = given
        if any(isinstance(value, FixedPoint) for value in others):
            raise OperatorError("moves the codes of its first input, and another input holds real numbers too")
        moved = [source.codes if isinstance(source, FixedPoint) else source, *others]
        result = called(self.function, self.signature.arguments(moved), self.signature.keywords(node.attributes))
        if not isinstance(source, FixedPoint):
            return [(array, None) for array in arrays_of(result, node.outputs, moved, types)]
        arrays = arrays_of(result, node.outputs, moved, [None] * len(types))
        return [
            (None, None) if array is None else moved_codes(array, source.format, form, tally)
            for array, form, tally in zip(arrays, formats, tallies, strict=True)
        ]


def _tensor(value: Any) -> NDArray[Any] | None:
    if isinstance(value, list):
        raise OperatorError("is given a sequence; a registered operator takes tensors")
    return None if value is None else read_only(value)
