"""A node computed by its handler from elements that are all known.

Where only the element type keeps a plan from a node, the handler computes it in another way:

- Operators that move elements (Reshape, Gather, Concat ...) do so for any type: text, complex numbers, bfloat16,
  float8, int4. The handler moves the *positions* of the elements instead, and the elements are picked by them.
- Any other operator on bfloat16, or on real numbers of two types, is computed in one wider type, and its results are
  rounded once to the types that ONNX gives them. Resize and GridSample compute integers so too, which are then rounded
  with ties to even and saturate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import checked_shape, is_float, working_dtype, zero
from qengine.model.eager.evaluator import Element
from qengine.model.graph import Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import Operator, Role, find
from qengine.model.schemas import schema
from qengine.model.steps import Join, Move, Step, Tensor

_DATA = (Role.DATA, Role.WEIGHTS, Role.BIAS)
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


def compute(node: Node, inputs: Sequence[Element]) -> list[Element]:
    """Return the outputs of a node, None for an output that is left out.

    Parameters
    ----------
    node
        Node without graphs in its attributes, whose operator has a handler.
    inputs
        An element for each name in `node.inputs`; None where the name is empty.

    Raises
    ------
    QEngineError
        If the handler refuses the node, and no other way is right.
    """
    op = find(node)
    arrays = {name: value for name, value in zip(node.inputs, inputs, strict=True) if name}
    if node.operator == "Identity" and not isinstance(inputs[0], np.ndarray):
        return [inputs[0]]  # a sequence, or an empty optional
    if not all(isinstance(value, np.ndarray) for value in arrays.values()):
        raise ModelError("is given a sequence, a map or an empty optional, and takes tensors")
    known: dict[str, NDArray[Any]] = arrays  # type: ignore[assignment]
    wide = None if node.domain else _wide(node, op, known)
    results: list[Element]
    if node.operator in _MOVING and not node.domain:
        results = _moved(node, op, known)
    elif wide is not None:
        results = _rounded(node, known, wide)
    else:
        results = [found for _, found in _computed(node, known)]
    if len(results) < len(node.outputs):
        raise ModelError(f"has {len(results)} outputs, {len(node.outputs)} are asked for")
    return [found if name else None for name, found in zip(node.outputs, results, strict=False)]


def _wide(node: Node, op: Operator, arrays: dict[str, NDArray[Any]]) -> np.dtype[Any] | None:
    """Return the type in which the handler computes a node; None where it takes the types, or no other is right."""
    data = [arrays[name].dtype for name, role in op.roles(node) if role in _DATA]
    has_narrow = any(value.dtype.name == "bfloat16" for value in arrays.values())
    if has_narrow or (len(set(data)) > 1 and all(map(is_float, data))):
        return working_dtype(*data)
    is_small = bool(data) and data[0].kind in "iu" and data[0].itemsize < 8  # float64 holds the integers exactly
    interpolates = node.operator in ("Resize", "Upsample")
    picks = node.operator == "GridSample" and node.attributes.get("mode") == "nearest"
    return np.dtype(np.float64) if is_small and (interpolates or picks) else None


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


def _rounded(node: Node, arrays: dict[str, NDArray[Any]], wide: np.dtype[Any]) -> list[Element]:
    """Return the outputs of a node that is computed in a wider type."""
    definition, roles = schema(node.operator, node.version, ""), find(node).roles(node)
    widened = {name for name, role in roles if role in _DATA or arrays[name].dtype.name == "bfloat16"}
    types = {
        definition.inputs[min(i, len(definition.inputs) - 1)].type_str: arrays[name].dtype
        for i, name in enumerate(node.inputs)
        if name in widened
    }
    given = {name: value.astype(wide) if name in widened else value for name, value in arrays.items()}
    outputs: list[Element] = []
    for i, (_, found) in enumerate(_computed(node, given)):
        kind = types.get(definition.outputs[min(i, len(definition.outputs) - 1)].type_str, found.dtype)
        if kind.kind in "iu" and found.dtype == wide:
            found = np.rint(found).clip(np.iinfo(kind).min, np.iinfo(kind).max)
        outputs.append(found.astype(kind))
    return outputs


def _computed(node: Node, arrays: dict[str, NDArray[Any]]) -> list[tuple[Step, NDArray[Any]]]:
    """Return the steps of a node, and their results."""
    tensors = {name: Tensor(name, value.dtype, value.shape, value) for name, value in arrays.items()}
    steps = make_steps(node, tensors.__getitem__)
    for step in steps:
        checked_shape(step.shape)
        checked_shape(step.scratch)
    return [(step, step.known()) for step, _ in zip(steps, node.outputs, strict=False)]
