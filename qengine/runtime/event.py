"""Event: one tensor that a traced run computed, and the step or node that computed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qengine.model.custom import Custom
from qengine.model.graph import Node
from qengine.model.ops.operator import find
from qengine.model.steps import Tensor
from qengine.runtime.plan.plan import BoundStep


@dataclass(frozen=True)
class Event:
    """A tensor of a traced run, and the step or node that computed it.

    Attributes
    ----------
    tensor, array : the tensor and its elements, codes in fixed point.
    node : the node that computed it; None for an input.
    bound_step : the step that computed it; None for an input and for a node that ran alone.
    reads_codes : whether a node that ran alone read tensors in fixed point.
    """

    tensor: Tensor
    array: NDArray[Any]
    node: Node | None = None
    bound_step: BoundStep | None = None
    reads_codes: bool = False

    @property
    def kind(self) -> str:
        """The kind of the step.

        It is "quantize" for an input, and "graph", "custom", "island" or "delegated" for a node that ran alone.
        """
        if self.bound_step is not None:
            return self.bound_step.step.kind
        if self.node is None:
            return "quantize"
        if self.node.graphs:
            return "graph"
        op = find(self.node)
        if isinstance(op, Custom):
            return "custom" if op.is_exact else "island"
        return "delegated"

    @property
    def is_island(self) -> bool:
        """Whether the tensor was computed in float32 in the middle of fixed point."""
        if self.bound_step is not None:
            return self.bound_step.is_island
        in_fixed = self.tensor.format is not None or self.reads_codes
        return in_fixed and self.kind in ("island", "delegated")
