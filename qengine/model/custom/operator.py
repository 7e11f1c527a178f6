"""`Custom`: a registered operator as the rest of qengine uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OperatorError
from qengine.kernels.reference.requantize import Tally
from qengine.model.custom.calls import (
    FixedPoint,
    call_function,
    checked_arrays,
    checked_codes,
    read_only,
    requantize_output,
    split_outputs,
)
from qengine.model.custom.signature import Signature
from qengine.model.graph import Node
from qengine.model.ops.operator import Operator
from qengine.model.rules import Arithmetic
from qengine.qformat import QFormat

Function = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Custom(Operator):
    """An operator that is computed by a function of a user.

    Attributes
    ----------
    function : function that computes the operator on real numbers.
    signature : inputs and attributes of the function.
    rule : function that computes it in fixed point, exact integers and their fraction bits from codes; None without.
    moves : whether the function only moves elements, so that it can be called with codes and keeps their format.
    deterministic : whether equal inputs always give equal outputs.
    """

    function: Function
    signature: Signature
    rule: Function | None = None
    moves: bool = False
    deterministic: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether it computes in integers in fixed point, and is not an island."""
        return not self.is_delegated or self.moves or self.rule is not None

    @property
    def kind(self) -> Literal["integer", "moves", "island"]:
        """The way in which it computes in fixed point."""
        if self.moves:
            return "moves"
        return "integer" if self.is_exact else "island"

    def check(self, node: Node) -> None:
        """Raise ModelError or UnsupportedError for inputs or attributes that the function does not take."""
        self.signature.check(node)

    def compute(
        self, node: Node, inputs: Sequence[Any], types: Sequence[np.dtype[Any] | None]
    ) -> list[NDArray[Any] | None]:
        """Return the outputs of a node on real numbers, None for an output that is left out.

        Parameters
        ----------
        node, inputs
            See `qengine.model.eager.single_node.compute`.
        types
            Element types that the model declares for the outputs; None where it declares none.

        Raises
        ------
        OperatorError
            If the function raises, or returns something that is not an output; without the node's name.
        """
        arrays = [_tensor(value) for value in inputs]
        result = call_function(
            self.function, self.signature.arguments(arrays), self.signature.keywords(node.attributes)
        )
        return checked_arrays(result, node.outputs, arrays, types)

    def compute_fixed(
        self,
        node: Node,
        inputs: Sequence[FixedPoint | NDArray[Any] | None],
        types: Sequence[np.dtype[Any] | None],
        formats: Sequence[QFormat | None],
        arithmetics: Sequence[Arithmetic],
        tallies: Sequence[Tally | None],
    ) -> list[tuple[NDArray[Any] | None, QFormat | None]]:
        """Return the outputs of a node in fixed point: codes and their format, or an array and None.

        Parameters
        ----------
        node
            Node to compute.
        inputs
            Codes for each input in fixed point, an array for any other; None where an input is left out.
        types, formats, arithmetics, tallies
            Declared element type, format, rules and tally of each output.

        Raises
        ------
        OperatorError
            If the rule raises, or returns something that is not an output; without the node's name.
        """
        values = [value if isinstance(value, FixedPoint) else _tensor(value) for value in inputs]
        if self.rule is None:
            return self._move(node, values, types, formats, tallies)
        result = call_function(self.rule, self.signature.arguments(values), self.signature.keywords(node.attributes))
        return [
            (None, None) if not name else requantize_output(one, name, declared, fmt, arithmetic, tally)
            for one, name, declared, fmt, arithmetic, tally in zip(
                split_outputs(result, node.outputs), node.outputs, types, formats, arithmetics, tallies, strict=True
            )
        ]

    def _move(
        self,
        node: Node,
        inputs: Sequence[FixedPoint | NDArray[Any] | None],
        types: Sequence[np.dtype[Any] | None],
        formats: Sequence[QFormat | None],
        tallies: Sequence[Tally | None],
    ) -> list[tuple[NDArray[Any] | None, QFormat | None]]:
        """Return the outputs of a node whose function is called with the codes of its first input."""
        source, *others = inputs
        if any(isinstance(value, FixedPoint) for value in others):
            raise OperatorError("moves the codes of its first input, and another input holds real numbers too")
        moved = [source.codes if isinstance(source, FixedPoint) else source, *others]
        result = call_function(self.function, self.signature.arguments(moved), self.signature.keywords(node.attributes))
        if not isinstance(source, FixedPoint):
            return [(array, None) for array in checked_arrays(result, node.outputs, moved, types)]
        arrays = checked_arrays(result, node.outputs, moved, [None] * len(types))
        return [
            (None, None) if array is None else checked_codes(array, source.format, fmt, tally)
            for array, fmt, tally in zip(arrays, formats, tallies, strict=True)
        ]


def _tensor(value: Any) -> NDArray[Any] | None:
    if isinstance(value, list):
        raise OperatorError("is given a sequence; a registered operator takes tensors")
    return None if value is None else read_only(value)
