"""Expansion of quantized operators such as QLinearConv.

Each becomes DequantizeLinear for every input, the plain operator, and QuantizeLinear for the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Attribute, Graph, Node
from qengine.model.ops.quantization import check_scale

CONTRIB = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""

_MIN_OPSET = 13  # of the new nodes: the first opset of QuantizeLinear with one scale per channel


@dataclass(frozen=True)
class _InputPositions:
    """Positions of the inputs of a quantized operator.

    Attributes
    ----------
    operator : name of the plain operator.
    inputs : number of tensors, each followed by its scale and zero point; None for any number, after all others.
    output : position of the output's scale; its zero point follows.
    weights : axis of the second tensor that counts channels, if it may have one scale per channel.
    bias : position of an int32 bias, whose scale is the product of the scales of the two tensors.
    """

    operator: str
    inputs: int | None
    output: int
    weights: int | None = None
    bias: int | None = None


_STANDARD = {
    "QLinearConv": _InputPositions("Conv", 2, output=6, weights=0, bias=8),
    "QLinearMatMul": _InputPositions("MatMul", 2, output=6, weights=-1),
}
_ONNX_RUNTIME = {
    "QLinearConv": _STANDARD["QLinearConv"],
    "QLinearAdd": _InputPositions("Add", 2, output=6),
    "QLinearMul": _InputPositions("Mul", 2, output=6),
    "QLinearSigmoid": _InputPositions("Sigmoid", 1, output=3),
    "QLinearLeakyRelu": _InputPositions("LeakyRelu", 1, output=3),
    "QLinearSoftmax": _InputPositions("Softmax", 1, output=3),
    "QLinearAveragePool": _InputPositions("AveragePool", 1, output=3),
    "QLinearGlobalAveragePool": _InputPositions("GlobalAveragePool", 1, output=3),
    "QLinearConcat": _InputPositions("Concat", None, output=0),
    "QGemm": _InputPositions("Gemm", 2, output=7, weights=-1, bias=6),
}
_DROPPED_ATTRIBUTES = frozenset({"channels_last", "opset"})
"""Attributes that the plain operators do not have."""
_ALSO_IN_ONNX = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Operators that ONNX Runtime has in its own domain too, for element types that ONNX added later."""


def expand_qlinear(graph: Graph, *, runtime_only: bool = False) -> Graph:
    """Return the graph with QuantizeLinear and DequantizeLinear around plain operators.

    A node with a bias stays as it is if a scale from which the scale of the bias follows is not constant.

    Parameters
    ----------
    runtime_only
        Whether to expand only operators of ONNX Runtime's domain, which ONNX does not define.
    """
    version = max((node.version for node in graph.nodes if not node.domain), default=_MIN_OPSET)
    expander = _Expander(graph, dict(graph.constants), max(version, _MIN_OPSET))
    nodes: list[Node] = []
    for node in graph.nodes:
        inner = {name: expand_qlinear(value, runtime_only=runtime_only) for name, value in node.graphs.items()}
        one = replace(node, attributes={**node.attributes, **inner}) if inner else node
        if one.domain == CONTRIB and one.operator in _ALSO_IN_ONNX:
            one = replace(one, domain="", version=expander.version)
        table = _ONNX_RUNTIME if one.domain == CONTRIB else {} if one.domain or runtime_only else _STANDARD
        layout = table.get(one.operator)
        if layout is None or one.attributes.get("channels_last"):
            nodes.append(one)
        else:
            nodes += expander.expand(one, layout) or (one,)
    if len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=tuple(nodes), constants=expander.constants)


class _Expander:
    """Builder of the plain nodes; `constants` holds those of the graph and the new scales."""

    def __init__(self, graph: Graph, constants: dict[str, NDArray[Any]], version: int) -> None:
        self.constants, self.version = constants, version
        self._graph = graph
        self._names: set[str] = set()

    def expand(self, node: Node, layout: _InputPositions) -> list[Node] | None:
        """Return the nodes that replace a quantized operator; None if the scale of its bias is not constant."""
        inputs = [*node.inputs, *[""] * 9]
        first = 2 if layout.inputs is None else 0
        count = (len(node.inputs) - 2) // 3 if layout.inputs is None else layout.inputs
        places = [first + 3 * i for i in range(count)]
        weights_axis = 0 if node.attributes.get("transB") else layout.weights
        axes = [None, weights_axis] if weights_axis is not None else [None] * count
        nodes, operands = [], []
        for place, axis in zip(places, axes, strict=False):
            dequantized = self._dequantize(inputs[place : place + 3], axis, node)
            nodes.append(dequantized)
            operands.append(dequantized.outputs[0])
        if layout.bias is not None and inputs[layout.bias]:
            scale = self._product(inputs[places[0] + 1], inputs[places[1] + 1], node)
            if scale is None:
                return None
            bias = self._dequantize((inputs[layout.bias], scale, ""), 0, node)
            nodes.append(bias)
            operands.append(bias.outputs[0])
        scale, zero_point = inputs[layout.output : layout.output + 2]
        with node.errors_named():
            for one in (*(inputs[place + 1] for place in places), scale):
                if one in self.constants:
                    check_scale(self.constants[one], f"scale '{one}'")
        name = self._name(f"{node.outputs[0]} as real numbers") if scale else node.outputs[0]
        attributes: Mapping[str, Attribute] = {
            key: value for key, value in node.attributes.items() if key not in _DROPPED_ATTRIBUTES
        }
        version = node.number("opset", self.version)
        plain = Node(layout.operator, tuple(operands), (name,), attributes, node.name, "", version)
        nodes.append(plain)
        if scale:
            quantized = (name, scale, zero_point) if zero_point else (name, scale)
            nodes.append(Node("QuantizeLinear", quantized, node.outputs, {}, node.name, "", self.version))
        return nodes

    def _dequantize(self, quantized: Sequence[str], axis: int | None, node: Node) -> Node:
        """Return DequantizeLinear of (tensor, scale, zero point); `axis` counts the channels of several scales."""
        tensor, scale, zero_point = quantized
        inputs = (tensor, scale, zero_point) if zero_point else (tensor, scale)
        attributes: dict[str, Attribute] = {}
        constant = self.constants.get(scale)
        if axis is not None and constant is not None and constant.size > 1:
            ndim = self.constants[tensor].ndim if tensor in self.constants else 2
            attributes = {"axis": axis % ndim}
        name = self._name(f"{tensor} as real numbers")
        return Node("DequantizeLinear", inputs, (name,), attributes, node.name, "", self.version)

    def _product(self, first: str, second: str, node: Node) -> str | None:
        """Return the name of a new constant, the product of two rounded once; None if one of them is not constant."""
        if first not in self.constants or second not in self.constants:
            return None
        exact = self.constants[first].astype(np.float64) * self.constants[second].astype(np.float64)
        name = self._name(f"scale of the bias of {node.outputs[0]}")
        self.constants[name] = (exact.reshape(-1) if exact.size > 1 else exact).astype(np.float32)
        return name

    def _name(self, wanted: str) -> str:
        name = self._graph.fresh_name(wanted, self._names | self.constants.keys())
        self._names.add(name)
        return name
