"""Effect of a constant before or after a linear operator on its weights and its bias, for each layout of weights.

A constant that the output is multiplied by multiplies weights: those of an output channel have one factor. So does a
constant that the input is multiplied by: the weights of an input channel have one factor. A constant that is added to
the output is added to the bias. A constant c that is added to the input adds what the operator makes of c alone to the
bias, if that is the same at every position: a convolution must not pad.

Constants broadcast as NumPy does, aligned at the last axis. They must not give a tensor more axes or longer ones.
"""

from __future__ import annotations

from qengine.model.graph import Graph, Node
from qengine.model.ops.filters import (
    ConvFilters,
    Filters,
    MatrixFilters,
    RowScaleFilters,
    ScaleFilters,
    TransposedConvFilters,
)
from qengine.model.ops.operator import find
from qengine.model.passes.affine_terms import Constants, is_real, shape_of
from qengine.model.passes.linear_weights.images import ConvWeights, RowScaleWeights, ScaleWeights, TransposedConvWeights
from qengine.model.passes.linear_weights.layout import LinearWeights, NoFold
from qengine.model.passes.linear_weights.matrices import LeftMatrixWeights, MatrixWeights

_KINDS: dict[type[Filters], type[LinearWeights]] = {
    TransposedConvFilters: TransposedConvWeights,
    ConvFilters: ConvWeights,
    MatrixFilters: MatrixWeights,
    RowScaleFilters: RowScaleWeights,
    ScaleFilters: ScaleWeights,
}
"""By the layout that an operator declares; the first that it is an instance of."""


def linear_weights(node: Node, graph: Graph, constants: Constants, source: str = "") -> LinearWeights | None:
    """Return the weights of a linear operator; None for another node, and where the weights are not constant.

    Parameters
    ----------
    node
        The operator.
    graph
        Graph that knows shapes.
    constants
        Constants of the new graph.
    source
        Tensor whose shape stands for that of the input; "" for the input itself.
    """
    filters = find(node).facts.filters
    kind = next((one for layout, one in _KINDS.items() if isinstance(filters, layout)), None)
    if kind is None or len(node.inputs) < 2 or len(node.outputs) != 1 or node.activation is not None:
        return None
    if kind is MatrixWeights and any(node.number(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return None
    place = 1
    if node.inputs[0] in constants and node.operator == "MatMul":
        kind, place = LeftMatrixWeights, 0
    weights, x = node.inputs[place], node.inputs[1 - place]
    if not is_real(weights, constants) or x in constants:
        return None
    linear = kind(node, constants[weights].shape, shape_of(source or x, graph), place)
    return linear if linear.is_whole else None


__all__ = ["LinearWeights", "NoFold", "RowScaleWeights", "ScaleWeights", "linear_weights"]
