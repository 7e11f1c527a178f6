"""Constant folding: nodes whose inputs are all constants are computed once, in float arithmetic."""

from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import prod
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import UnsupportedError
from qengine.model.eager import single_node
from qengine.model.graph import Graph, Node, StoredConstant, Value
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import NeedsRun, find
from qengine.model.schemas import is_defined
from qengine.model.static_values import may_be_known
from qengine.model.steps import Linear, Step, Tensor

_MAX_ELEMENTS = 1 << 22
"""Largest result that is folded: a node such as ConstantOfShape takes less memory than its output."""


MAX_SECONDS = 120
"""Seconds in which the constants of a model are computed. What is left is not computed in the run instead: whether a
tensor is constant decides its format, and the speed of a machine must not.
"""


MAX_PRODUCTS = 1 << 33
"""Largest number of products of one node that is folded, about half a minute: time is looked at between nodes only."""


def _products(step: Step) -> int:
    """Return the number of products in a step; 0 unless it is linear."""
    return prod(step.shape) * prod(step.w.shape[axis] for axis in step.summed) if isinstance(step, Linear) else 0


def fold_constants(graph: Graph, keep: Container[str] = ()) -> Graph:
    """Replace each node whose inputs are all constants by its outputs, which keep their names.

    Parameters
    ----------
    keep
        Operators whose nodes are not folded.
    """
    constants, stored = dict(graph.constants), dict(graph.stored)

    def known(name: str) -> Tensor:
        value = constants[name]
        return Tensor(name, value.dtype, value.shape, value)

    kept = []
    start = monotonic()
    for node in graph.nodes:
        outputs = None
        if monotonic() - start > MAX_SECONDS:
            raise UnsupportedError(
                f"what follows from its constants takes longer than {MAX_SECONDS} seconds to compute, at {node}; "
                "fold the constants where the model is exported"
            )
        if node.operator not in keep and may_be_known(node) and all(name in constants for name in node.reads):
            if find(node).is_delegated:
                outputs = _delegated(node, constants, graph.values)
            else:
                outputs = _computed(node, known, partial(_delegated, node, constants, graph.values))
        if outputs is None:
            kept.append(node)
        else:
            memory.hold(sum(array.nbytes for array in outputs.values()), str(node))
            if node.operator == "DequantizeLinear" and not node.domain and not node.number("block_size", 0):
                stored[node.outputs[0]] = _stored(node, constants, outputs[node.outputs[0]])
            constants |= outputs
    return replace(graph, nodes=tuple(kept), constants=constants, stored=stored)


def _stored(node: Node, constants: Mapping[str, NDArray[Any]], value: NDArray[Any]) -> StoredConstant:
    """Return what a DequantizeLinear of constants reads, and its result."""
    codes, scale, *rest = (constants.get(name) for name in node.inputs)
    assert codes is not None
    assert scale is not None
    return StoredConstant(value, codes, scale, rest[0] if rest else None, int(node.number("axis", 1)))


def _computed(
    node: Node, known: Callable[[str], Tensor], delegated: Callable[[], dict[str, NDArray[Any]] | None]
) -> dict[str, NDArray[Any]] | None:
    """Return the outputs of a node by name, computed by its handler; None if a run must compute them.

    What the handler refuses, such as a Cast of bfloat16, is `delegated`.
    """
    try:
        steps = make_steps(node, known)
    except NeedsRun:
        return None
    except UnsupportedError:
        if not is_defined(node):
            raise
        with suppress(UnsupportedError):
            return delegated()
        return None
    if any(prod(step.shape) > _MAX_ELEMENTS for step in steps):
        return None
    if (products := sum(map(_products, steps))) > MAX_PRODUCTS:
        raise UnsupportedError(
            f"{node}: {products:,} products of constants take too long; fold the constants where the model is exported"
        )
    with node.errors_named():
        return {name: step.known() for name, step in zip(node.outputs, steps, strict=False) if name}


def _delegated(
    node: Node, constants: Mapping[str, NDArray[Any]], values: Mapping[str, Value]
) -> dict[str, NDArray[Any]] | None:
    """Return the outputs of a node without a handler by name; None if one is not a tensor, or too large."""
    outputs = single_node.compute(node, [constants[name] if name else None for name in node.inputs], values)
    arrays = {name: array for name, array in zip(node.outputs, outputs, strict=True) if name}
    if not all(isinstance(array, np.ndarray) and array.size <= _MAX_ELEMENTS for array in arrays.values()):
        return None
    return arrays  # type: ignore[return-value]
