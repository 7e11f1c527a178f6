"""Replacement of every node in a graph that has an expansion by the nodes that its operator means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model.contrib.expansion import CONTRIB, OLDEST, Builder, Infer, expansions
from qengine.model.graph import Graph, Names, Node, Value
from qengine.model.ops.operator import registered
from qengine.model.schemas import is_defined

_LAYOUT_DOMAINS = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
"""Domains of operators in the blocked layouts of one kind of CPU, which only a run of ONNX Runtime should see."""


_SIMILAR = {"DynamicQuantizeLSTM": ("LSTM", 3), "Inverse": ("Identity", 1)}
"""Operators of ONNX whose outputs have the types and shapes of those of ONNX Runtime, and how many inputs they need.

The first input alone decides; it stands for the others, whose types may not be those of ONNX.
"""


def expand_contrib(graph: Graph, infer: Infer) -> Graph:
    """Return the graph without the operators that have an expansion.

    An operator that the user registered under its name stays.

    Parameters
    ----------
    infer
        Function that infers types and shapes of the outputs of one node.

    Raises
    ------
    QEngineError
        If a node does not fit its operator, or is in a layout of ONNX Runtime's own.
    """
    if not _has_contrib(graph):
        return graph
    names = Names(graph.tensors() | graph.inner_tensors())
    return _Expander(graph, names, infer, {}, {}).expanded()


def _has_contrib(graph: Graph) -> bool:
    return any(
        node.domain in (CONTRIB, *_LAYOUT_DOMAINS)
        or not (node.domain or is_defined(node))
        or any(map(_has_contrib, node.graphs.values()))
        for node in graph.nodes
    )


def _is_expanded(node: Node) -> bool:
    """Whether a node has an expansion; one of ONNX's own domain only where ONNX lacks the operator at its opset."""
    return (node.domain, node.operator) in expansions() and (bool(node.domain) or not is_defined(node))


class _Expander:
    """Expansion of one graph; the constants and values of the graphs around it are known too."""

    def __init__(
        self,
        graph: Graph,
        names: Names,
        infer: Infer,
        constants: Mapping[str, NDArray[Any]],
        values: Mapping[str, Value],
    ) -> None:
        self.graph, self.names, self.infer = graph, names, infer
        self.outer = frozenset(constants)
        self.constants = {**constants, **graph.constants}
        self.values = {**values, **graph.values}
        version = max((node.version for node in graph.nodes if not node.domain), default=OLDEST)
        self.version = max(version, OLDEST)

    def expanded(self) -> Graph:
        """Return the expanded graph."""
        nodes: list[Node] = []
        for node in self.graph.nodes:
            inner = {
                name: _Expander(value, self.names, self.infer, self.constants, self.values).expanded()
                for name, value in node.graphs.items()
            }
            one = replace(node, attributes={**node.attributes, **inner}) if inner else node
            with one.errors_named():
                nodes += self._replacement(one)
        own = {name: array for name, array in self.constants.items() if name not in self.outer}
        kept = own.keys() | {name for node in nodes for name in node.outputs} | {v.name for v in self.graph.inputs}
        values = {name: value for name, value in self.values.items() if name in kept or name in self.graph.values}
        outputs = tuple(values.get(value.name, value) for value in self.graph.outputs)
        return replace(self.graph, nodes=tuple(nodes), constants=own, values=values, outputs=outputs)

    def _replacement(self, node: Node) -> list[Node]:
        """Return the nodes that replace a node; the node itself where it stays."""
        key = (node.domain, node.operator)
        if node.domain in _LAYOUT_DOMAINS:
            raise UnsupportedError(
                "is in a layout that ONNX Runtime makes for one kind of CPU; save the model with "
                "graph_optimization_level = ORT_ENABLE_EXTENDED or lower"
            )
        if key in registered():
            return [node]
        if _is_expanded(node):
            builder = Builder(node, self.version, self.constants, self.values, self.names, self.infer)
            return expansions()[key].expand(builder)
        self._note(node)
        return [node]

    def _note(self, node: Node) -> None:
        """Remember what is inferred of the outputs of a node, where the model did not say it."""
        if node.graphs or all(self._is_known(name) for name in node.outputs if name):
            return
        if node.domain == CONTRIB and node.operator in _SIMILAR:
            operator, count = _SIMILAR[node.operator]
            node = replace(node, operator=operator, domain="", inputs=node.inputs[:1] * count, version=self.version)
        for name, value in self.infer(node, self.values, self.constants).items():
            if not self._is_known(name):
                self.values[name] = value

    def _is_known(self, name: str) -> bool:
        value = self.values.get(name)
        return value is not None and (
            value.container is not None or (value.dtype is not None and value.shape is not None)
        )
