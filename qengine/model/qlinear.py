"""Expansion of ONNX's quantized operators, QLinearConv and QLinearMatMul.

Each becomes DequantizeLinear for every input, the plain operator, and QuantizeLinear for the output.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Attribute, Graph, Names, Node
from qengine.model.ops.quantization import check_scale

_MIN_OPSET = 13  # of the new nodes: the first opset of QuantizeLinear with one scale per channel

_PLAIN = {"QLinearConv": ("Conv", 0), "QLinearMatMul": ("MatMul", -1)}
"""The plain operator, and the axis of the second tensor that counts channels."""


def expand_qlinear(graph: Graph) -> Graph:
    """Return the graph with QuantizeLinear and DequantizeLinear around plain operators.

    A node with a bias stays as it is if a scale from which the scale of the bias follows is not constant.
    """
    version = max((node.version for node in graph.nodes if not node.domain), default=_MIN_OPSET)
    expander = _Expander(graph, dict(graph.constants), max(version, _MIN_OPSET))
    nodes: list[Node] = []
    for node in graph.nodes:
        inner = {name: expand_qlinear(value) for name, value in node.graphs.items()}
        one = replace(node, attributes={**node.attributes, **inner}) if inner else node
        is_quantized = one.operator in _PLAIN and not one.domain
        nodes += (expander.expand(one) if is_quantized else None) or (one,)
    if len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=tuple(nodes), constants=expander.constants)


class _Expander:
    """Builder of the plain nodes; `constants` holds those of the graph and the new scales."""

    def __init__(self, graph: Graph, constants: dict[str, NDArray[Any]], version: int) -> None:
        self.constants, self.version = constants, version
        self._names = Names(graph.tensors())

    def expand(self, node: Node) -> list[Node] | None:
        """Return the nodes that replace a quantized operator; None if the scale of its bias is not constant."""
        operator, axis = _PLAIN[node.operator]
        inputs = [*node.inputs, *[""] * 9]
        nodes = [self._dequantize(inputs[:3], None, node), self._dequantize(inputs[3:6], axis, node)]
        if bias := inputs[8]:
            scale = self._product(inputs[1], inputs[4], node)
            if scale is None:
                return None
            nodes.append(self._dequantize((bias, scale, ""), 0, node))
        with node.errors_named():
            for one in (inputs[1], inputs[4], inputs[6]):
                if one in self.constants:
                    is_per_channel = one == inputs[4] and self.constants[one].size > 1
                    check_scale(self.constants[one], f"scale '{one}'", may_be_zero=is_per_channel)
        operands = tuple(one.outputs[0] for one in nodes)
        name = self._names.fresh(f"{node.outputs[0]} as real numbers")
        nodes.append(Node(operator, operands, (name,), node.attributes, node.name, "", self.version))
        quantized = (name, *filter(None, inputs[6:8]))
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
        name = self._names.fresh(f"{tensor} as real numbers")
        return Node("DequantizeLinear", inputs, (name,), attributes, node.name, "", self.version)

    def _product(self, first: str, second: str, node: Node) -> str | None:
        """Return the name of a new constant, the product of two rounded once; None if one of them is not constant."""
        if first not in self.constants or second not in self.constants:
            return None
        exact = self.constants[first].astype(np.float64) * self.constants[second].astype(np.float64)
        name = self._names.fresh(f"scale of the bias of {node.outputs[0]}")
        self.constants[name] = (exact.reshape(-1) if exact.size > 1 else exact).astype(np.float32)
        return name
