"""Evaluation of a single node on real numbers, by its registered function or by onnx.reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qengine.model.custom import Custom
from qengine.model.eager import onnx_reference
from qengine.model.eager.onnx_reference import Element
from qengine.model.graph import Node, Value
from qengine.model.ops.operator import find


def is_computable(node: Node) -> bool:
    """Whether the node has a registered function or is an operator of ONNX."""
    return isinstance(find(node), Custom) or onnx_reference.is_defined(node)


def is_deterministic(node: Node) -> bool:
    """Whether the same inputs always give the same outputs."""
    op = find(node)
    return op.deterministic if isinstance(op, Custom) else onnx_reference.is_deterministic(node)


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
    if not isinstance(op, Custom):
        return onnx_reference.compute(node, inputs)
    with node.errors_named():
        return list(op.compute(node, inputs, declared_types(node, values)))
