"""The number of axes of tensors whose shapes onnx does not infer, as those after a Reshape to computed lengths.

Passes need to know how many axes a tensor has, as a constant may add some. The rules here find that from operators that
say it, such as Conv by its weights, Transpose by its permutation and Reshape by the length of its target. They go from
node to node, and also keep the lengths that they know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Dim, Graph, Node, Value

_Shape = tuple[Dim, ...]
_Known = Callable[[str], _Shape | None]

_UNKNOWN = (None, (None,))
"""No shape, and that of a vector, which may be a shape itself."""


def with_axes(graph: Graph) -> Graph:
    """Return the graph with a shape for each tensor whose axes can be counted; unknown lengths are None."""
    values = dict(graph.values)

    def known(name: str) -> _Shape | None:
        if name in graph.constants:
            return graph.constants[name].shape
        value = values.get(name)
        return None if value is None else value.shape

    for node in graph.nodes:
        if node.domain or len(node.outputs) != 1 or not node.inputs or known(node.outputs[0]) not in _UNKNOWN:
            continue
        shape = _shape(node, known, graph.constants)
        if shape is not None:
            name = node.outputs[0]
            values[name] = replace(values.get(name, Value(name)), shape=shape)
    outputs = tuple(values.get(output.name, output) for output in graph.outputs)
    return replace(graph, values=values, outputs=outputs)


def _shape(node: Node, known: _Known, constants: Mapping[str, NDArray[Any]]) -> _Shape | None:
    x = known(node.inputs[0])
    if node.operator == "Reshape" and len(node.inputs) == 2:
        target = known(node.inputs[1])
        length = target[0] if target is not None and len(target) == 1 else None
        return (None,) * length if isinstance(length, int) else None
    if node.operator == "Transpose":
        perm = node.attributes.get("perm")
        return None if not isinstance(perm, tuple) else _turned(x, perm)
    if node.operator == "Conv" and len(node.inputs) > 1:
        w = known(node.inputs[1])
        return None if w is None or len(w) < 2 else (None, w[0], *(None,) * (len(w) - 2))
    if node.operator in _BROADCASTING and "axis" not in node.attributes:
        shapes = [known(name) for name in node.inputs]
        return _broadcast([shape for shape in shapes if shape is not None]) if None not in shapes else None
    if x is None:
        return None
    if node.operator in _SAME:
        return x
    if node.operator == "Shape" and not node.attributes:
        return (len(x),)
    if node.operator == "Slice":
        return (_sliced(node, x[0], constants),) if len(x) == 1 else (None,) * len(x)
    if node.operator == "Concat":
        lengths = [shape[0] if shape else None for shape in map(known, node.inputs)]
        whole = [n for n in lengths if isinstance(n, int)]
        return (None,) * len(x) if len(x) != 1 or len(whole) != len(lengths) else (sum(whole),)
    if node.operator == "MatMul" and node.inputs[1] in constants:
        w = constants[node.inputs[1]].shape
        return (*x[:-1], w[1]) if len(w) == 2 and len(x) > 1 else None
    if node.operator in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "Squeeze"):
        return _without(node, x, constants)
    return None


_SAME = {
    *(
        "Relu",
        "Sigmoid",
        "Tanh",
        "Clip",
        "LeakyRelu",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "Softplus",
        "Erf",
        "Exp",
        "Log",
    ),
    *(
        "Sqrt",
        "Abs",
        "Neg",
        "Identity",
        "Dropout",
        "Softmax",
        "LogSoftmax",
        "BatchNormalization",
        "Gelu",
        "Mish",
        "Cast",
    ),
    *("LayerNormalization", "InstanceNormalization", "Reciprocal", "Floor", "Ceil", "Cast", "Log"),
}
_BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"}


def _turned(x: _Shape | None, perm: tuple[Any, ...]) -> _Shape | None:
    if sorted(perm) != list(range(len(perm))) or (x is not None and len(x) != len(perm)):
        return None
    return (None,) * len(perm) if x is None else tuple(x[axis] for axis in perm)


def _broadcast(shapes: list[_Shape]) -> _Shape:
    """Return the shape to which shapes broadcast, as far as it is known."""
    rank = max(map(len, shapes))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(map(_length, columns))


def _length(lengths: tuple[Dim, ...]) -> Dim:
    long = next((n for n in lengths if isinstance(n, int) and n != 1), None)
    if long is not None:
        return long
    others = {n for n in lengths if n != 1}
    return 1 if not others else others.pop() if len(others) == 1 else None


def _sliced(node: Node, length: Dim, constants: Mapping[str, NDArray[Any]]) -> Dim:
    """Return the length of a vector after a Slice by constants."""
    names = [name for name in node.inputs[1:] if name]
    if not isinstance(length, int) or len(names) < 2 or any(name not in constants for name in names):
        return None
    starts, ends, _, *steps = (*(int(constants[name].item()) for name in names), *(0,) * (3 - len(names)))
    return len(range(length)[starts : ends : steps[0] if steps else 1])


def _without(node: Node, x: _Shape, constants: Mapping[str, NDArray[Any]]) -> _Shape | None:
    """Return the shape after axes became single ones, or were left out."""
    axes: Any = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] in constants:
        axes = constants[node.inputs[1]]
    given = None if axes is None else {int(axis) % len(x) for axis in np.ravel(axes)} if x else set()
    if node.operator != "Squeeze" and node.number("keepdims", 1):
        return tuple(None if not given else 1 if axis in given else n for axis, n in enumerate(x))
    return None if not given else tuple(n for axis, n in enumerate(x) if axis not in given)
