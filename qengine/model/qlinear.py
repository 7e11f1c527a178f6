"""Quantized operators as the three that each stands for: inputs dequantized, a plain operator, its output quantized."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Attribute, Graph, Node

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

_OPSET = 13  # the least of the nodes that are made: the first with a scale for each channel


@dataclass(frozen=True)
class _Spelling:
    """How a quantized operator is spelled.

    Attributes
    ----------
    operator : the plain one.
    inputs : how many tensors it takes, each followed by its scale and zero point; None for any number, at the end.
    weights : the axis of the second input's channels, where it may have a scale for each.
    bias : where an int32 bias is given, at the scale of the two inputs' product.
    output : where the output's scale and zero point are given.
    """

    operator: str
    inputs: int | None
    output: int
    weights: int | None = None
    bias: int | None = None


_STANDARD = {
    "QLinearConv": _Spelling("Conv", 2, output=6, weights=0, bias=8),
    "QLinearMatMul": _Spelling("MatMul", 2, output=6, weights=-1),
}
_OF_RUNTIME = {
    "QLinearConv": _STANDARD["QLinearConv"],
    "QLinearAdd": _Spelling("Add", 2, output=6),
    "QLinearMul": _Spelling("Mul", 2, output=6),
    "QLinearSigmoid": _Spelling("Sigmoid", 1, output=3),
    "QLinearLeakyRelu": _Spelling("LeakyRelu", 1, output=3),
    "QLinearSoftmax": _Spelling("Softmax", 1, output=3),
    "QLinearAveragePool": _Spelling("AveragePool", 1, output=3),
    "QLinearGlobalAveragePool": _Spelling("GlobalAveragePool", 1, output=3),
    "QLinearConcat": _Spelling("Concat", None, output=0),
    "QGemm": _Spelling("Gemm", 2, output=7, weights=-1, bias=6),
}
_DROPPED = frozenset({"channels_last", "opset"})
"""Attributes that the plain operators do not have."""
_SAME = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Operators that ONNX Runtime has in its domain too, for types that ONNX took up later."""


def spell_out(graph: Graph, *, of_runtime_only: bool = False) -> Graph:
    """Return the graph with QuantizeLinear and DequantizeLinear around plain operators.

    A node is left as it is where a scale that another follows from is not constant.

    Parameters
    ----------
    of_runtime_only
        Only the operators of ONNX Runtime, which ONNX itself does not define.
    """
    version = max((node.version for node in graph.nodes if not node.domain), default=_OPSET)
    made = _Made(graph, dict(graph.constants), max(version, _OPSET))
    nodes: list[Node] = []
    for node in graph.nodes:
        inner = {name: spell_out(held, of_runtime_only=of_runtime_only) for name, held in node.graphs.items()}
        one = replace(node, attributes={**node.attributes, **inner}) if inner else node
        if one.domain == CONTRIB and one.operator in _SAME:
            one = replace(one, domain="", version=made.version)
        table = _OF_RUNTIME if one.domain == CONTRIB else {} if one.domain or of_runtime_only else _STANDARD
        spelling = table.get(one.operator)
        if spelling is None or one.attributes.get("channels_last"):
            nodes.append(one)
        else:
            nodes += made.spelled(one, spelling) or (one,)
    if len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=tuple(nodes), constants=made.constants)


class _Made:
    """What is made while a graph is spelled out."""

    def __init__(self, graph: Graph, constants: dict[str, NDArray[Any]], version: int) -> None:
        self.constants, self.version = constants, version
        self._graph = graph
        self._names: set[str] = set()

    def spelled(self, node: Node, spelling: _Spelling) -> list[Node] | None:
        given = [*node.inputs, *[""] * 9]
        first = 2 if spelling.inputs is None else 0
        count = (len(node.inputs) - 2) // 3 if spelling.inputs is None else spelling.inputs
        places = [first + 3 * i for i in range(count)]
        of_weights = 0 if node.attributes.get("transB") else spelling.weights
        channels = [None, of_weights] if of_weights is not None else [None] * count
        nodes, operands = [], []
        for place, axis in zip(places, channels, strict=False):
            made = self._dequantize(given[place : place + 3], axis, node)
            nodes.append(made)
            operands.append(made.outputs[0])
        if spelling.bias is not None and given[spelling.bias]:
            scale = self._product(given[places[0] + 1], given[places[1] + 1], node)
            if scale is None:
                return None
            bias = self._dequantize((given[spelling.bias], scale, ""), 0, node)
            nodes.append(bias)
            operands.append(bias.outputs[0])
        scale, zero_point = given[spelling.output : spelling.output + 2]
        name = self._name(f"{node.outputs[0]} as real numbers") if scale else node.outputs[0]
        attributes: Mapping[str, Attribute] = {
            key: value for key, value in node.attributes.items() if key not in _DROPPED
        }
        version = node.number("opset", self.version)
        plain = Node(spelling.operator, tuple(operands), (name,), attributes, node.name, "", version)
        nodes.append(plain)
        if scale:
            quantized = (name, scale, zero_point) if zero_point else (name, scale)
            nodes.append(Node("QuantizeLinear", quantized, node.outputs, {}, node.name, "", self.version))
        return nodes

    def _dequantize(self, given: Any, axis: int | None, node: Node) -> Node:
        tensor, scale, zero_point = given
        inputs = (tensor, scale, zero_point) if zero_point else (tensor, scale)
        attributes: dict[str, Attribute] = {}
        constant = self.constants.get(scale)
        if axis is not None and constant is not None and constant.size > 1:
            ndim = self.constants[tensor].ndim if tensor in self.constants else 2
            attributes = {"axis": axis % ndim}
        name = self._name(f"{tensor} as real numbers")
        return Node("DequantizeLinear", inputs, (name,), attributes, node.name, "", self.version)

    def _product(self, first: str, second: str, node: Node) -> str | None:
        """Return the name of a constant that is the product of two, rounded once; None where one is no constant."""
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
