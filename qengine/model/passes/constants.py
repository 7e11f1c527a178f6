"""What depends on constants alone is computed once, in float arithmetic."""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model.eager import onnx_reference, single_node
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import NeedsRun, find
from qengine.model.static_values import may_be_known
from qengine.model.steps import Tensor

# A constant that is cheap to keep as a rule and large once written out (ConstantOfShape) stays a rule.
_LARGEST = 1 << 22


def fold_constants(graph: Graph, but: Container[str] = ()) -> Graph:
    """Replace nodes whose inputs are all constant by their results, which keep the nodes' names.

    Parameters
    ----------
    but
        Operators that stay.
    """
    constants = dict(graph.constants)

    def known(name: str) -> Tensor:
        value = constants[name]
        return Tensor(name, value.dtype, value.shape, value)

    kept = []
    for node in graph.nodes:
        found = None
        if node.operator not in but and may_be_known(node) and all(name in constants for name in node.reads):
            found = _delegated(node, constants, graph.values) if find(node).is_delegated else _computed(node, known)
        if found is None:
            kept.append(node)
        else:
            constants |= found
    return replace(graph, nodes=tuple(kept), constants=constants)


def _computed(node: Node, known: Callable[[str], Tensor]) -> dict[str, NDArray[Any]] | None:
    """Return the outputs by name; None where they are better computed in a run."""
    try:
        steps = make_steps(node, known)
    except NeedsRun:
        return None
    except UnsupportedError:
        if not onnx_reference.is_known(node):
            raise
        return None
    if any(prod(step.shape) > _LARGEST for step in steps):
        return None
    with node.blamed():
        return {name: step.known() for name, step in zip(node.outputs, steps, strict=False) if name}


def _delegated(
    node: Node, constants: Mapping[str, NDArray[Any]], values: Mapping[str, Value]
) -> dict[str, NDArray[Any]] | None:
    found = single_node.compute(node, [constants[name] if name else None for name in node.inputs], values)
    arrays = {name: array for name, array in zip(node.outputs, found, strict=True) if name}
    if not all(isinstance(array, np.ndarray) and array.size <= _LARGEST for array in arrays.values()):
        return None
    return arrays  # type: ignore[return-value]
