"""Nodes that run alone on one native kernel, because only their run shows the shapes of their outputs.

Such a node is between two sections of a plan, so that it is in no segment. Its kernel gets room for a number of
results, and counts them; where they are more, it runs again with room for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.kernels.isa import Isa
from qengine.kernels.locks import Lock
from qengine.kernels.program import Call, Program, Slot
from qengine.kernels.suppression import BOX_BYTES, FACTS, Suppression
from qengine.model.eager import single_node
from qengine.model.eager.boxes import Suppressed
from qengine.model.graph import Node

_ROOM = 1 << 18
"""Most rows that a kernel gets room for at first; what it does not write takes no memory."""

Arrays = list[NDArray[Any]]


class _Kernel:
    """A kernel whose arguments are all arrays of the caller.

    Parameters
    ----------
    spec, isa
        Specification and instruction set.
    """

    def __init__(self, spec: Any, isa: Isa) -> None:
        self._program = Program(isa, [[Call(spec, {name: Slot(name) for name in spec.arguments})]])
        self._lock = Lock()

    def run(self, **arrays: NDArray[Any]) -> None:
        """Run the kernel on an array for each of its arguments."""
        with self._lock.guard:
            self._program.run(arrays)


@cache
def _kernel(spec: Any, isa: Isa) -> _Kernel:
    return _Kernel(spec, isa)


def compute_alone(node: Node, inputs: Sequence[Any], isa: Isa) -> Arrays | None:
    """Return the outputs of a node that has a kernel of this kind; None for any other.

    Raises
    ------
    QEngineError
        If the node cannot be computed from such inputs.
    """
    compute = _COMPUTE.get(node.operator) if not node.domain else None
    return None if compute is None else compute(node, inputs, isa)


def _suppress(node: Node, inputs: Sequence[Any], isa: Isa) -> Arrays | None:
    with node.errors_named():
        single_node.check(node, inputs)
        given = Suppressed.of(*inputs, center_point_box=node.number("center_point_box", 0))
    boxes, scores = (np.ascontiguousarray(x) for x in (given.boxes, given.scores))
    if not scores.size or given.most <= 0:
        return [np.zeros((0, 3), np.int64)]
    batches, classes, count = scores.shape
    numbers = dict.fromkeys(FACTS, 0) | {"batches": batches, "classes": classes, "boxes": count, "most": given.most}
    numbers |= {"is_centered": given.center_point_box, "has_least": int(given.least is not None)}
    limits = np.array([given.overlap, 0.0 if given.least is None else given.least], np.float32)
    capacity = min(_ROOM, prod((batches, classes, min(count, given.most))))
    scratch = np.empty(BOX_BYTES * count, np.uint8)
    while True:
        memory.require(24 * capacity + scratch.nbytes, str(node))
        facts, y = np.array([*numbers.values()], np.int64), np.empty((capacity, 3), np.int64)
        facts[FACTS.index("capacity")] = capacity
        _kernel(Suppression(), isa).run(
            **{"boxes": boxes, "scores": scores, "y": y, "facts": facts, "limits": limits, "scratch": scratch}
        )
        found = int(facts[FACTS.index("found")])
        if found <= capacity:
            return [y[:found].copy()]
        capacity = found


_COMPUTE: dict[str, Callable[[Node, Sequence[Any], Isa], Arrays | None]] = {"NonMaxSuppression": _suppress}
