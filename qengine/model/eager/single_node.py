"""Evaluation of a single node on real numbers: by a registered function, an evaluator, a handler or onnx.reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qengine.errors import UnsupportedError
from qengine.model import schemas
from qengine.model.custom import Custom
from qengine.model.eager import (  # noqa: F401 - importing `evaluators` declares them
    by_handler,
    evaluators,
    onnx_reference,
    wide_handlers,
)
from qengine.model.eager.evaluator import Element, delegations, find_evaluator
from qengine.model.graph import Node, Value
from qengine.model.ops.operator import find


def is_computable(node: Node) -> bool:
    """Whether the node has a registered function or an evaluator, or is an operator of ONNX."""
    return isinstance(find(node), Custom) or find_evaluator(node) is not None or schemas.is_defined(node)


def is_deterministic(node: Node) -> bool:
    """Whether the same inputs always give the same outputs."""
    op = find(node)
    if isinstance(op, Custom):
        return op.deterministic
    return schemas.is_deterministic(node) or (bool(node.domain) and find_evaluator(node) is not None)


def declared_types(node: Node, values: Mapping[str, Value]) -> list[np.dtype[Any] | None]:
    """Return the element type that the model declares for each output of a node; None where it declares none."""
    return [values[name].dtype if name in values else None for name in node.outputs]


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
        schemas.check_form(node)
        schemas.check_types(node, inputs)
        own = find_evaluator(node)
        if own is not None:
            return own.compute(node, inputs)
        if wide_handlers.computes(node, inputs):
            return wide_handlers.compute(node, inputs)
        by_its_handler = by_handler.compute(node, inputs)
        if by_its_handler is not None:
            return by_its_handler
        delegation = delegations().get((node.domain, node.operator))
        reason = delegation.is_refused and delegation.is_refused(node, inputs) if delegation else None
        if reason:
            raise UnsupportedError(reason)
        return onnx_reference.compute(node, inputs)
