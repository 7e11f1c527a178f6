"""The rule of evaluations that pick elements, by their order or by indices: codes are in the order of the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, count
from qengine.model.rules import Arithmetic
from qengine.model.steps.evaluated import Evaluation
from qengine.model.steps.step import Tensor


@dataclass(frozen=True, eq=False)
class Picking:
    """A node whose first output has elements of its first input, in the same format; other outputs are integers.

    Attributes
    ----------
    evaluation : the node with all its inputs and outputs.
    arithmetic : arithmetic of the run, which decides nothing.
    """

    evaluation: Evaluation
    arithmetic: Arithmetic

    def output(self, index: int, arrays: Sequence[NDArray[Any]], tally: Tally | None) -> NDArray[Any]:
        """Return an output; see `FixedRule`. Evaluators take real numbers, and float32 holds all codes."""
        codes, *others = arrays
        given = iter((codes.astype(np.float32), *others))
        inputs = [None if t is None else next(given) for t in self.evaluation.inputs]
        found = np.asarray(self.evaluation.compute(inputs)[index])
        if index:
            return found
        picked = found.astype(codes.dtype)
        if tally is not None:
            count(tally, picked, np.False_, np.False_, picked)
        return picked

    def saturated_bias(self) -> tuple[int, Tensor] | None:
        """Return None: there is no bias."""
        return None


def picks_codes(evaluation: Evaluation) -> bool:
    """Whether the tensors of a node that picks have formats with which it picks codes."""
    x, y = evaluation.inputs[0], evaluation.outputs[0]
    return x is not None and x.format is not None and x.format == y.format and evaluation.node.activation is None
