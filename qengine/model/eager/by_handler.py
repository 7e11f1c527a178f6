"""A node computed by its handler where only the element type kept a plan from it.

- Operators that move elements (Reshape, Gather, Concat ...) do so for any type: text, complex numbers, bfloat16,
  float8, int4. The handler moves the *positions* of the elements instead, and the elements are picked by them.
- Any other operator on bfloat16 is computed in float32, and its results of the same type are rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.eager.elements import checked_shape, zero
from qengine.model.eager.evaluator import Element
from qengine.model.graph import Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import Operator, Role, find
from qengine.model.schemas import schema
from qengine.model.steps import Join, Move, Step, Tensor

_MOVING = frozenset(
    [
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
"""Operators of ONNX that give their elements unchanged."""


def compute(node: Node, inputs: Sequence[Element]) -> list[Element] | None:
    """Return the outputs of a node; None where its handler cannot compute it in one of these ways.

    Parameters
    ----------
    node
        Node without graphs in its attributes.
    inputs
        An element for each name in `node.inputs`; None where the name is empty.

    Raises
    ------
    QEngineError
        If the handler refuses the node, for another reason than the element type.
    """
    op = find(node)
    if op.is_delegated or node.domain:
        return None
    arrays = {name: value for name, value in zip(node.inputs, inputs, strict=True) if name}
    if node.operator == "Identity" and not isinstance(inputs[0], np.ndarray):
        return [inputs[0]]  # a sequence, or an empty optional
    if not all(isinstance(value, np.ndarray) for value in arrays.values()):
        return None
    known: dict[str, NDArray[Any]] = arrays  # type: ignore[assignment]
    if node.operator in _MOVING:
        return _moved(node, op, known)
    if any(value.dtype.name == "bfloat16" for value in known.values()):
        return _rounded(node, known)
    return None


def _moved(node: Node, op: Operator, arrays: dict[str, NDArray[Any]]) -> list[Element]:
    """Return the outputs of a node that moves elements."""
    roles = dict(op.roles(node))
    numbers = {node.inputs[i] for i in op.number_inputs if i < len(node.inputs)}
    names = [name for name in arrays if roles.get(name) is Role.DATA or name in numbers]
    kind = arrays[names[0]].dtype
    parts = [np.array([zero(kind)], kind), *(arrays[name].ravel() for name in names)]
    elements = np.concatenate(parts)  # what fills new places comes first
    start, positions = 1, dict(arrays)
    for name in names:
        array = arrays[name]
        positions[name] = np.arange(start, start + array.size, dtype=np.int64).reshape(array.shape)
        start += array.size
    return [elements[found] if isinstance(step, Move | Join) else found for step, found in _computed(node, positions)]


def _rounded(node: Node, arrays: dict[str, NDArray[Any]]) -> list[Element]:
    """Return the outputs of a node on bfloat16."""
    definition = schema(node.operator, node.version, "")
    narrow = next(value.dtype for value in arrays.values() if value.dtype.name == "bfloat16")
    types = {
        definition.inputs[min(i, len(definition.inputs) - 1)].type_str
        for i, name in enumerate(node.inputs)
        if name and arrays[name].dtype == narrow
    }
    wide = {name: value.astype(np.float32) if value.dtype == narrow else value for name, value in arrays.items()}
    outputs: list[Element] = []
    for i, (_, found) in enumerate(_computed(node, wide)):
        is_narrow = definition.outputs[min(i, len(definition.outputs) - 1)].type_str in types
        outputs.append(found.astype(narrow) if is_narrow else found)
    return outputs


def _computed(node: Node, arrays: dict[str, NDArray[Any]]) -> list[tuple[Step, NDArray[Any]]]:
    """Return the steps of a node, and their results."""
    tensors = {name: Tensor(name, value.dtype, value.shape, value) for name, value in arrays.items()}
    steps = make_steps(node, tensors.__getitem__)
    for step in steps:
        checked_shape(step.shape)
        checked_shape(step.scratch)
    return [(step, step.known()) for step, _ in zip(steps, node.outputs, strict=False)]
