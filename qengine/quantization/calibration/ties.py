"""Ties: operators around which a user, or a device, wants one format for several tensors.

Format-preserving operators tie tensors because they copy codes. Other operators could read and write different
formats, but a device may have no shift there: an Add that only adds, a Concat that only copies, an average pool whose
result has the scale of its operand. The tensors around such an operator are then put into one group too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find
from qengine.model.steps import Join


@dataclass(frozen=True)
class Ties:
    """Operators around which tensors share a format.

    Attributes
    ----------
    joins : whether the inputs of Concat, Where, Max and Min share the format of the output.
    equal_formats : operators whose operands and result share a format.
    equal_operands : operators whose operands share one.
    """

    joins: bool = False
    equal_formats: frozenset[str] = frozenset()
    equal_operands: frozenset[str] = frozenset()

    @property
    def whole_concats(self) -> bool:
        """Whether all parts of a Concat have the format of the whole."""
        return self.joins or "Concat" in self.equal_formats

    def of(self, graph: Graph) -> Iterator[list[str]]:
        """Yield the tensors of a graph after the passes that share a format, by their names in the graph."""
        for node in graph.nodes:
            if tied := self._tied(node):
                yield tied

    def _tied(self, node: Node) -> list[str]:
        if self.joins and Join in find(node).kinds:
            return [*filter(None, node.inputs), *filter(None, node.outputs)]
        if node.operator in self.equal_formats:
            return [*_operands(node), *filter(None, node.outputs[:1])]
        return _operands(node) if node.operator in self.equal_operands else []


def _operands(node: Node) -> list[str]:
    return [name for name, role in find(node).roles(node) if role is Role.DATA]
