"""Conversion of the nodes of one graph to a newer opset.

Where ONNX changed an operator, a *rule* spells the old node in the new operator (`rules`). All other operators keep
their attributes and inputs. `_checked` compares the two definitions that ONNX has, so that a change for which there is
no rule is an error, and a default that changed is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model.graph import Attribute, Graph, Node, Value
from qengine.model.schemas import defaults, schema

Fresh = Callable[[str], str]
"""(wanted name) -> a name that no tensor of the model has."""


@dataclass
class Conversion:
    """The graph that is converted, and the constants that its new nodes read.

    Attributes
    ----------
    graph : graph with its old nodes.
    fresh : function that returns free names.
    added : new constants by name.
    """

    graph: Graph
    fresh: Fresh
    added: dict[str, NDArray[Any]] = field(default_factory=dict)

    def constant(self, wanted: str, array: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        name = self.fresh(wanted)
        self.added[name] = array
        return name

    def whole_numbers(self, wanted: str, numbers: Any) -> str:
        """Add a constant of int64 and return its name."""
        return self.constant(wanted, np.array(numbers, np.int64))

    def value(self, name: str) -> Value:
        """Return the type and shape of a tensor, as far as they are known."""
        known = {value.name: value for value in self.graph.inputs} | dict(self.graph.values)
        array = self.graph.constants.get(name)
        return known.get(name, Value(name)) if array is None else Value(name, array.dtype, array.shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the element type of a tensor; float32 where the model does not declare it."""
        return self.value(name).dtype or np.dtype(np.float32)


Rule = Callable[[Node, Conversion], tuple[Node, ...]]
"""(node, conversion) -> nodes of the newer opset, with the outputs of the node."""

_rules: dict[str, list[tuple[int, Rule]]] = {}


def rule(*operators: str, to: int) -> Callable[[Rule], Rule]:
    """Declare how nodes of operators are spelled from opset `to` on."""

    def declare(spell: Rule) -> Rule:
        for operator in operators:
            _rules.setdefault(operator, []).append((to, spell))
            _rules[operator].sort(key=lambda one: one[0])
        return spell

    return declare


def declared_rules() -> Mapping[str, list[tuple[int, Rule]]]:
    """Return the rules by operator, each with the opset that it leads to."""
    return _rules


def at_opset(graph: Graph, version: int, fresh: Fresh) -> Graph:
    """Return a graph with nodes of a newer opset of ONNX's own domain that compute the same.

    Graphs inside of nodes stay unchanged. Every tensor keeps its name.

    Parameters
    ----------
    graph
        The graph; nodes of this opset or a newer one stay.
    version
        The opset.
    fresh
        Function that returns free names for new tensors.

    Raises
    ------
    UnsupportedError
        If the newer opset has no equal of a node.
    """
    conversion = Conversion(graph, fresh)
    nodes = tuple(new for node in graph.nodes for new in _converted(node, version, conversion))
    return replace(graph, nodes=nodes, constants={**graph.constants, **conversion.added})


def _converted(node: Node, version: int, conversion: Conversion) -> list[Node]:
    if node.domain or node.version >= version:
        return [node]
    for to, spell in _rules.get(node.operator, ()):
        if node.version < to <= version:
            with node.errors_named():
                spelled = spell(node, conversion)
            return [new for one in spelled for new in _converted(replace(one, version=to), version, conversion)]
    return [replace(_checked(node, version), version=version)]


def _checked(node: Node, version: int) -> Node:
    """Return a node with the defaults that a newer opset changed; raise where that opset has no such node."""
    old, new = (schema(node.operator, at, node.domain) for at in (node.version, version))
    if old is None or (new is not None and old.since_version == new.since_version):
        return node
    why = _difference(node, new)
    if why:
        raise UnsupportedError(f"{node} of opset {node.version} cannot be written at opset {version}: {why}")
    before, after = defaults(old), defaults(new)
    changed: dict[str, Attribute] = {
        name: value
        for name, value in before.items()
        if name not in node.attributes and name in after and after[name] != value
    }
    return replace(node, attributes={**node.attributes, **changed}) if changed else node


def _difference(node: Node, new: Any) -> str | None:
    """Return why a definition of an operator does not serve a node; None where it does."""
    if new is None or new.deprecated:
        return f"that opset has no {node.operator}; export the model again"
    unknown = [name for name in node.attributes if name not in new.attributes]
    missing = [name for name, one in new.attributes.items() if one.required and name not in node.attributes]
    if unknown or missing:
        return f"its attribute '{(unknown or missing)[0]}' {'is gone' if unknown else 'is new'}; export the model again"
    if not new.min_input <= len(node.inputs) <= new.max_input or len(node.outputs) > new.max_output:
        return "its inputs or outputs are others; export the model again"
    return None
