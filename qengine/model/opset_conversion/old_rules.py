"""Rules for opsets before 7, the oldest that handlers serve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Node
from qengine.model.opset_conversion.conversion import Conversion, rule, with_inputs, without
from qengine.model.schemas import element_type_code

_CONSUMED = (
    "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp", "Floor", "HardSigmoid",
    "InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu",
    "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh",
)  # fmt: skip
"""Operators that had an attribute without a meaning for the result."""


@rule(*_CONSUMED, to=6)
def _consumed(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (without(node, "consumed_inputs"),)


@rule("Selu", to=6)
def _selu(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    """Write out the numbers that were the defaults."""
    defaults = {"alpha": float(np.float32(1.6732)), "gamma": float(np.float32(1.0507))}
    return (without(node, "consumed_inputs", **{**defaults, **_numbers(node, "alpha", "gamma")}),)


def _numbers(node: Node, *names: str) -> dict[str, Any]:
    return {name: node.attributes[name] for name in names if name in node.attributes}


@rule("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", to=7)
def _broadcast(node: Node, to: Conversion) -> tuple[Node, ...]:
    """Give the second input axes of length 1 at its end, where it is matched to axes from `axis` on."""
    spelled = without(node, "axis", "broadcast")
    axis = node.attributes.get("axis")
    if not node.number("broadcast", 0) or not isinstance(axis, int) or len(node.inputs) != 2:
        return (spelled,)
    a, b = node.inputs
    ranks = to.rank(a), to.rank(b)
    if None in ranks:
        raise UnsupportedError(f"its axis {axis} counts axes of '{a}', whose number is not known; export it again")
    rank_a, rank_b = (rank or 0 for rank in ranks)
    more = rank_a - (axis if axis >= 0 else axis + rank_a) - rank_b
    if more < 0:
        raise ModelError(f"axis {axis} of {rank_a} axes leaves no room for the {rank_b} axes of '{b}'")
    name, nodes = _with_axes(node, b, rank_b, more, to)
    return (*nodes, with_inputs(spelled, a, name))


def _with_axes(node: Node, name: str, rank: int, more: int, to: Conversion) -> tuple[str, list[Node]]:
    """Return the name of a tensor with `more` axes of length 1 at its end, and the nodes that compute it."""
    if not more:
        return name, []
    array = to.graph.constants.get(name)
    if array is not None:
        return to.constant(f"{name}_of_{node.outputs[0]}", array.reshape(*array.shape, *(1,) * more)), []
    out = to.fresh(f"{name}_of_{node.outputs[0]}")
    axes = tuple(range(rank, rank + more))
    return out, [Node("Unsqueeze", (name,), (out,), {"axes": axes}, out)]


@rule("PRelu", to=7)
def _prelu(node: Node, to: Conversion) -> tuple[Node, ...]:
    """Give a slope for each channel axes of length 1 at its end."""
    x, slope = node.inputs
    ranks = to.rank(x), to.rank(slope)
    lengths = to.value(slope).shape
    if None in ranks or ranks[1] != 1 or lengths in ((1,), None):
        return (node,)
    name, nodes = _with_axes(node, slope, 1, max((ranks[0] or 0) - 2, 0), to)
    return (*nodes, with_inputs(node, x, name))


@rule("Gemm", to=7)
def _gemm(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (without(node, "broadcast"),)


@rule("BatchNormalization", to=7)
def _batchnorm(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    if not node.number("is_test", 0):
        raise UnsupportedError("it trains (is_test=0); export the model in eval mode")
    return (without(node, "is_test"),)


@rule("Dropout", to=7)
def _dropout(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (without(node, "is_test"),)


@rule("Cast", to=6)
def _cast(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    name = str(node.attributes.get("to", ""))
    code = element_type_code(name)
    if code is None:
        raise ModelError(f"ONNX has no element type {name!r}, which its attribute 'to' names")
    return (without(node, to=code),)


@rule("Concat", to=4)
def _concat(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (without(node, axis=node.number("axis", 1)),)


@rule("Reshape", to=5)
def _reshape(node: Node, to: Conversion) -> tuple[Node, ...]:
    if "shape" not in node.attributes:
        raise ModelError("it has no attribute 'shape'")
    shape = to.whole_numbers(f"{node.outputs[0]}_shape", node.attributes["shape"])
    return (with_inputs(without(node, "shape", "consumed_inputs"), node.inputs[0], shape),)


@rule("Pad", to=2)
def _pad(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    if "paddings" not in node.attributes:
        raise ModelError("it has no attribute 'paddings'")
    return (without(node, "paddings", pads=node.attributes["paddings"]),)


@rule("Split", to=2)
def _split(node: Node, to: Conversion) -> tuple[Node, ...]:
    spelled = without(node, axis=node.number("axis", 0))
    if len(node.inputs) < 2 or not node.inputs[1]:
        return (spelled,)
    lengths = tuple(int(n) for n in _constant(to, node.inputs[1]).ravel())
    return (with_inputs(without(spelled, split=lengths), node.inputs[0]),)


def _constant(to: Conversion, name: str) -> NDArray[Any]:
    array = to.graph.constants.get(name)
    if array is None or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise UnsupportedError(f"'{name}' is computed, which no newer opset allows; make it a constant")
    return array


@rule("Tile", to=6)
def _tile(node: Node, to: Conversion) -> tuple[Node, ...]:
    x, *names = node.inputs
    rank = to.rank(x)
    tiles, axes = (_constant(to, name) for name in names)
    if rank is None or tiles.size != 1 or axes.size != 1 or not 0 <= int(axes.item()) < rank:
        raise UnsupportedError("its axis does not fit its input, or the number of axes is not known; export it again")
    repeats = [1] * rank
    repeats[int(axes.item())] = int(tiles.item())
    return (with_inputs(node, x, to.whole_numbers(f"{node.outputs[0]}_repeats", repeats)),)


@rule("Upsample", to=7)
def _upsample(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    scales = (1.0, 1.0, node.number("height_scale", 1.0), node.number("width_scale", 1.0))
    return (without(node, "height_scale", "width_scale", scales=scales),)


@rule("LpPool", "GlobalLpPool", to=2)
def _lp_pool(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    power = node.number("p", 2.0)
    if power != int(power):
        raise UnsupportedError(f"p is {power}, and newer opsets have whole numbers only; export the model again")
    return (without(node, p=int(power)),)


@rule("GRU", to=3)
def _gru(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    direction = str(node.attributes.get("direction", "forward"))
    return (without(node, direction="forward" if direction == "foward" else direction),)


@rule("GRU", "LSTM", "RNN", to=7)
def _recurrent(node: Node, to: Conversion) -> tuple[Node, ...]:  # noqa: ARG001
    return (without(node, "output_sequence"),)
