"""One node by itself, on real numbers: by the function that was registered for it, or by onnx.reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qengine.model.custom import Custom
from qengine.model.eager import onnx_reference
from qengine.model.eager.onnx_reference import Element
from qengine.model.graph import Node, Value
from qengine.model.ops.operator import find


def is_possible(node: Node) -> bool:
    """Whether something computes the node."""
    return isinstance(find(node), Custom) or onnx_reference.is_known(node)


def is_deterministic(node: Node) -> bool:
    """Whether the same inputs always give the same outputs."""
    op = find(node)
    return op.deterministic if isinstance(op, Custom) else onnx_reference.is_deterministic(node)


def declared_types(node: Node, values: Mapping[str, Value]) -> list[np.dtype[Any] | None]:
    """Return the element types that the model declares for the outputs of a node; None where it does not."""
    return [values[name].dtype if name in values else None for name in node.outputs]


def compute(node: Node, inputs: Sequence[Element], values: Mapping[str, Value]) -> list[Element]:
    """Return the outputs of a node, None for those that are left out.

    Parameters
    ----------
    node
        Without graphs in its attributes.
    inputs
        One for each name in `node.inputs`; None also where the name is empty.
    values
        What the model says of tensors.

    Raises
    ------
    QEngineError
        If it cannot be computed from such inputs; the message names the node.
    """
    op = find(node)
    if not isinstance(op, Custom):
        return onnx_reference.compute(node, inputs)
    with node.blamed():
        return list(op.compute(node, inputs, declared_types(node, values)))
