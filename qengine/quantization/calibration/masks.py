"""Scores of an attention: a mask before a Softmax takes no range.

An attention masks a score by a number that is so low that its exponential is 0: minus infinity, -1e9, -65504, the
least float32. A format that holds such a number has no fraction bits left for the scores. It need not hold it: Softmax
only reads how far a score is below the greatest of its row, and a score that is `VISIBLE` below adds less than half a
step of a probability in 16 bits. Calibration therefore counts a lower score as that one, in tensors that nothing but a
Softmax reads; in fixed point the mask then saturates at the least code.

Between the tensor and its Softmax there may be nodes that only give it another shape, or multiply it by a constant. A
row that is masked as a whole tells nothing, and is not counted.

The mask itself is an *addend* of such scores, or of other addends, or is subtracted. What is `MASKED` or more below 0
in it counts as minus infinity: its format only has to saturate the scores, so that a bias in the same tensor keeps its
bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find

VISIBLE = 17 * log(2)
"""Distance from the greatest score of a row beyond which a probability is less than 2^-17."""

MASKED = 8192.0
"""Magnitude from which a negative addend of scores is a mask: exports use -1e4, -65504, -1e9 and the least float32."""

_KEEPS_ALL = ("Identity", "Cast", "Dropout")
_KEEPS_ORDER = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_LAST_AXIS_ONLY = 13
"""First opset at which Softmax is over one axis; before, it is over all axes from `axis` on."""


@dataclass(frozen=True)
class Scores:
    """A tensor that only a Softmax reads.

    Attributes
    ----------
    axis : axis along which the scores of a row lie.
    is_rest : whether a row lies along all axes from there on.
    distance : distance from the greatest score of its row beyond which a score adds nothing.
    """

    axis: int
    is_rest: bool
    distance: float

    def visible(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the scores, with none further below the greatest of its row than the distance.

        Rows of -inf stay, and rows of masks are left out.
        """
        if not scores.size or not scores.ndim:
            return scores
        axis = self.axis % scores.ndim
        axes = tuple(range(axis, scores.ndim)) if self.is_rest else axis
        greatest = np.fmax.reduce(scores, axis=axes, keepdims=True)
        found = np.asarray(np.maximum(scores, greatest - scores.dtype.type(self.distance)))
        is_masked = np.isfinite(greatest) & (greatest <= -MASKED)
        return found[np.broadcast_to(~is_masked, found.shape)] if is_masked.any() else found


@dataclass(frozen=True)
class Addend:
    """A tensor that is only added to scores, or subtracted from them.

    Attributes
    ----------
    is_negated : whether it is subtracted.
    """

    is_negated: bool = False

    def visible(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the values, of which those that mask a score are infinite."""
        infinity = values.dtype.type(np.inf if self.is_negated else -np.inf)
        return np.where(values >= MASKED if self.is_negated else values <= -MASKED, infinity, values)


Seen = Scores | Addend


def scores_of(graph: Graph) -> dict[str, Seen]:
    """Return the tensors of a graph, and of the graphs in its nodes, whose only readers lead to Softmax nodes.

    A tensor that several read is left out unless they agree.
    """
    result: dict[str, Seen] = {}
    readers = graph.readers()
    outputs = {value.name for value in graph.outputs}
    for node in reversed(graph.nodes):
        for name in node.outputs:
            if not name or name in outputs or not readers.get(name):
                continue
            found = {_through(reader, name, graph, result) for reader in readers[name]}
            if len(found) == 1 and (scores := found.pop()) is not None:
                result[name] = scores
        for inner in node.graphs.values():
            result |= scores_of(inner)
    for value in graph.inputs:
        found = {_through(reader, value.name, graph, result) for reader in readers.get(value.name, ())}
        if len(found) == 1 and isinstance(addend := found.pop(), Addend):
            result[value.name] = addend
    return result


def _through(node: Node, name: str, graph: Graph, known: Mapping[str, Seen]) -> Seen | None:
    """Return how a reader reads a tensor as scores; None where it reads it in another way."""
    if node.domain or node.inputs.count(name) != 1 or name in node.captures:
        return None
    if node.operator == "Softmax":
        is_rest = node.version < _LAST_AXIS_ONLY
        axis = node.number("axis", 1 if is_rest else -1)
        return Scores(axis, is_rest, VISIBLE)
    after = known.get(node.outputs[0]) if node.outputs else None
    if after is None:
        return None
    if node.operator in ("Add", "Sub") and len(node.inputs) == 2:
        is_negated = node.operator == "Sub" and node.inputs[1] == name
        wanted = Addend(is_negated != (isinstance(after, Addend) and after.is_negated))
        return None if _is_product(name, graph) else wanted
    if isinstance(after, Addend):
        return after if node.inputs[0] == name and find(node).preserves_format(node) else None
    if node.operator in _KEEPS_ALL:
        return after
    if node.operator == "Transpose":
        return _before_transpose(node, after)
    if node.operator in _KEEPS_ORDER:
        keeps = node.inputs[0] == name and _keeps_rows(name, node.outputs[0], after, graph)
        return Scores(-1, False, after.distance) if keeps else None
    if node.operator in ("Mul", "Div") and len(node.inputs) == 2:
        factor = _positive_constant(node, name, graph)
        return None if factor is None else Scores(after.axis, after.is_rest, after.distance / factor)
    return None


def _is_product(name: str, graph: Graph) -> bool:
    """Whether a tensor is a product of matrices, times a constant: scores, and no mask."""
    producers = graph.producers()
    while (node := producers.get(name)) is not None:
        if node.operator in ("MatMul", "Gemm", "Einsum", "Conv"):
            return True
        if node.operator not in ("Mul", "Div") or not graph.constants.keys() & set(node.inputs[1:]):
            return False
        name = node.inputs[0]
    return False


def _before_transpose(node: Node, after: Scores) -> Scores | None:
    """Return how scores are read through a Transpose; None where their axis is not known."""
    perm = node.attributes.get("perm")
    if after.is_rest or not isinstance(perm, tuple):
        return None
    return Scores(int(perm[after.axis]), False, after.distance)


def _positive_constant(node: Node, name: str, graph: Graph) -> float | None:
    """Return the positive number that a Mul or Div multiplies a tensor by; None where there is none."""
    other = node.inputs[1 - node.inputs.index(name)]
    constant = graph.constants.get(other)
    if constant is None or constant.size != 1 or constant.dtype.kind != "f":
        return None
    number = float(constant.item())
    if not 0 < number < np.inf or (node.operator == "Div" and node.inputs[0] != name):
        return None
    return number if node.operator == "Mul" else 1 / number


def _keeps_rows(before: str, after: str, scores: Scores, graph: Graph) -> bool:
    """Whether rows along the last axis are the same in both shapes of a tensor."""
    shapes = [graph.values[name].shape if name in graph.values else None for name in (before, after)]
    if scores.is_rest or not all(shapes):
        return False
    last = len(shapes[1] or ()) - 1
    lengths = [shape[-1] for shape in shapes if shape]
    return scores.axis in (-1, last) and isinstance(lengths[0], int) and lengths[0] == lengths[1]
