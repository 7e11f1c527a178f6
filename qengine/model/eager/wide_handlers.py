"""Evaluation of a node by its handler on wider elements, for element types that the handler does not take.

Handlers take the real numbers of NumPy, all of one type. ONNX also allows bfloat16, different types in some inputs, and
integers where elements are interpolated. The data of a node of the operators named here is then widened, the handler's
steps are computed, and their results are rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.custom import Custom
from qengine.model.eager.elements import checked_shape, is_float
from qengine.model.eager.evaluator import Element
from qengine.model.graph import Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import Operator, Role, find
from qengine.model.steps import Tensor

_DATA = (Role.DATA, Role.WEIGHTS, Role.BIAS)
_NAMES = frozenset(
    (
        *("AveragePool", "BatchNormalization", "GlobalAveragePool", "GlobalMaxPool", "GridSample"),
        *("LogSoftmax", "MaxPool", "Resize", "Upsample"),
    )
)
_INTERPOLATING = ("Resize", "Upsample")
"""Operators whose results in integers are rounded, ties to even, and saturate, as those of onnx.reference."""


def _data(op: Operator, inputs: Sequence[Element]) -> list[NDArray[Any]]:
    """Return the inputs that the handler needs in one type; those that are sequences are left out."""
    found = []
    for i, array in enumerate(inputs):
        parameter = op.parameter(i)
        if isinstance(array, np.ndarray) and parameter is not None and parameter.role in _DATA:
            found.append(array)
    return found


def _wide(node: Node, op: Operator, inputs: Sequence[Element]) -> np.dtype[Any] | None:
    """Return the type in which the handler computes the node; None where it takes the types or cannot."""
    data = _data(op, inputs)
    if not data:
        return None
    types = {array.dtype for array in data}
    if all(map(is_float, types)):
        is_taken = len(types) == 1 and data[0].dtype.isbuiltin == 1
        return None if is_taken else np.dtype(np.float64 if np.dtype(np.float64) in types else np.float32)
    first = data[0].dtype
    is_small = first.kind in "iub" and first.itemsize < 8  # float64 holds the integers exactly
    if node.operator in _INTERPOLATING and is_small and first.kind != "b":
        return np.dtype(np.float64)
    if node.operator == "GridSample" and is_small and node.attributes.get("mode") == "nearest":
        return np.dtype(np.float64)
    return None


def computes(node: Node, inputs: Sequence[Element]) -> bool:
    """Whether the node's handler computes it from these inputs after they are widened, and not before."""
    op = find(node)
    if op.is_delegated or isinstance(op, Custom) or node.domain or node.operator not in _NAMES:
        return False
    return _wide(node, op, inputs) is not None


def compute(node: Node, inputs: Sequence[Element]) -> list[Element]:
    """Return the outputs of a node, None for an output that is left out.

    Raises
    ------
    QEngineError
        If the handler refuses the node.
    """
    op = find(node)
    wide, data = _wide(node, op, inputs), _data(op, inputs)
    assert wide is not None
    tensors = {}
    for i, (name, array) in enumerate(zip(node.inputs, inputs, strict=True)):
        parameter = op.parameter(i)
        if name and isinstance(array, np.ndarray):
            if parameter is not None and parameter.role in _DATA:
                array = array.astype(wide)
            tensors[name] = Tensor(name, array.dtype, array.shape, array)
    outputs: list[Element] = []
    for name, step in zip(node.outputs, make_steps(node, tensors.__getitem__), strict=False):
        checked_shape(step.shape)
        checked_shape(step.scratch)
        outputs.append(_narrowed(np.asarray(step.known()), wide, data[0].dtype) if name else None)
    return outputs


def _narrowed(y: NDArray[Any], wide: np.dtype[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an output in the type of the data; one of another type, such as indices, is not changed."""
    if y.dtype != wide or dtype == wide:
        return y
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        y = np.rint(y).clip(info.min, info.max)
    return y.astype(dtype)
