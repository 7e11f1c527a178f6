"""LSTM, GRU and RNN: how they read their inputs; evaluators compute them."""

from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Node
from qengine.model.ops.facts import Facts
from qengine.model.ops.filters import Channels, Filters, Shape
from qengine.model.ops.operator import Role, declare_delegated

_WEIGHTS, _RECURRENT_WEIGHTS, _PEEPHOLES = 1, 2, 7
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class RecurrentFilters(Filters):
    """Weights (directions, gates * hidden, inputs) of a recurrent operator; they have no form in blocks."""

    channels = Channels.LAST

    def channel_axis(self, node: Node, ndim: int) -> int:  # noqa: ARG002
        """Return the axis of the gates' units; both directions share their formats."""
        return 1

    def groups(self, node: Node, shape: Shape) -> int:  # noqa: ARG002
        """Return 0: W and R of all directions are not one linear operator."""
        return 0

    def blocks(self, node: Node, weights: NDArray[np.generic], groups: int) -> NDArray[np.generic]:  # noqa: ARG002
        """Raise ValueError, as there are no blocks."""
        raise ValueError(f"{node} has no form in blocks")

    def from_blocks(self, node: Node, blocks: NDArray[np.generic], shape: Shape) -> NDArray[np.generic]:  # noqa: ARG002
        """Raise ValueError, as there are no blocks."""
        raise ValueError(f"{node} has no form in blocks")

    def macs(self, node: Node, x: Shape, w: Shape | None, y: Shape) -> int | None:  # noqa: ARG002
        """Return the products of x with W and of the states with R, for each step of time of each sequence."""
        if w is None or len(x) != 3 or len(w) != 3:
            return None
        directions, rows, size = w
        return x[0] * x[1] * directions * rows * (size + rows // _GATES[node.operator])

    def factor(self, node: Node, names: Container[str]) -> str:
        """Return the state for R, the cell for peepholes, x for W, and nothing for a first state."""
        factors = dict(
            zip((_WEIGHTS, _RECURRENT_WEIGHTS, _PEEPHOLES), (node.inputs[0], *node.hidden[::2]), strict=False)
        )
        return next((name for i, name in factors.items() if node.inputs[i : i + 1] and node.inputs[i] in names), "")

    def addends(self, node: Node, bias: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Return the two biases of each row and their sum."""
        if bias.ndim != 2 or bias.shape[-1] % 2:
            return bias  # a run refuses it
        rows = bias.shape[-1] // 2
        first, second = bias[..., :rows], bias[..., rows:]
        return np.concatenate([first, second, first + second])


_INPUTS = {
    "X": Role.DATA,
    "W": Role.WEIGHTS,
    "R": Role.WEIGHTS,
    "B": Role.BIAS,
    "sequence_lens": Role.PLAIN,
    "initial_h": Role.DATA,
}

for _name, _more in (
    ("LSTM", {"initial_c": Role.DATA, "P": Role.DATA}),
    ("GRU", {}),
    ("RNN", {}),
):
    declare_delegated(_name, Facts(filters=RecurrentFilters()), {**_INPUTS, **_more})
