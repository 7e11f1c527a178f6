"""Evaluation of a single node on real numbers: by a registered function, an evaluator or its handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model import schemas
from qengine.model.custom import Custom
from qengine.model.eager import by_handler
from qengine.model.eager.evaluator import Element, OutputType, find_evaluator
from qengine.model.graph import Node, Value
from qengine.model.ops.operator import find
from qengine.model.steps import RuleOf, Tensor


def is_computable(node: Node) -> bool:
    """Whether something computes a node that has no handler, or that its handler refuses."""
    op = find(node)
    if isinstance(op, Custom) or not op.is_delegated:
        return True
    return find_evaluator(node) is not None and (not schemas.is_standard(node.domain) or schemas.is_defined(node))


def is_deterministic(node: Node) -> bool:
    """Whether the same inputs always give the same outputs."""
    op = find(node)
    if isinstance(op, Custom):
        return op.deterministic
    return schemas.is_deterministic(node) or (bool(node.domain) and find_evaluator(node) is not None)


def declared_types(node: Node, values: Mapping[str, Value]) -> list[np.dtype[Any] | None]:
    """Return the element type that the model declares for each output of a node; None where it declares none."""
    return [values[name].dtype if name in values else None for name in node.outputs]


def output_types(node: Node, inputs: Sequence[Tensor | None]) -> Sequence[OutputType] | None:
    """Return the shape and dtype of each output of a node that an evaluator computes.

    Parameters
    ----------
    node
        Node without graphs in its attributes.
    inputs
        A tensor for each name in `node.inputs`; None where the name is empty.

    Returns
    -------
    sequence of (shape, dtype), or None
        None where only a run knows them, or where no evaluator computes the node.

    Raises
    ------
    NeedsElements
        If they depend on elements that only a run computes.
    QEngineError
        If the node cannot be computed from such inputs; the message names the node.
    """
    if isinstance(find(node), Custom) or node.graphs:
        return None
    own = find_evaluator(node)
    if own is None or own.outputs is None or not is_deterministic(node):
        return None
    with node.errors_named():
        schemas.check_form(node)
        schemas.check_types(node, [None if t is None else _stand_in(t) for t in inputs])
        return own.output_types(node, inputs)


def rule_of(node: Node) -> RuleOf | None:
    """Return the function that tells how codes of a node are computed; None for an island."""
    own = None if isinstance(find(node), Custom) else find_evaluator(node)
    return None if own is None else own.rule


def _stand_in(t: Tensor) -> NDArray[Any]:
    """Return an array of a tensor's type and shape that takes no memory."""
    return np.broadcast_to(np.zeros((), t.dtype), t.shape)


def check(node: Node, inputs: Sequence[Element]) -> None:
    """Raise ModelError where a node or the types of its inputs are not what ONNX's schema allows."""
    schemas.check_form(node)
    schemas.check_types(node, inputs)


def compute(node: Node, inputs: Sequence[Element], values: Mapping[str, Value]) -> list[Element]:
    """Return the outputs of a node, None for an output that is left out.

    Parameters
    ----------
    node
        Node without graphs in its attributes.
    inputs
        An element for each name in `node.inputs`; None where the name is empty.
    values
        Declared types and shapes of the model's tensors.

    Raises
    ------
    QEngineError
        If the node cannot be computed from these inputs; the message names the node.
    """
    op = find(node)
    with node.errors_named():
        if isinstance(op, Custom):
            return list(op.compute(node, inputs, declared_types(node, values)))
        check(node, inputs)
        own = find_evaluator(node)
        if own is not None:
            return own.compute(node, inputs)
        if op.is_delegated:
            raise UnsupportedError("nothing computes it")
        return by_handler.compute(node, inputs)
