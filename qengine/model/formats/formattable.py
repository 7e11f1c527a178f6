"""Formattable: a model whose tensors get formats, with all about it that no request changes, computed once."""

from __future__ import annotations

from functools import cached_property

from qengine.model.formats.constants import Readers, biases_of, readers_of
from qengine.model.formats.groups import Group, format_groups, is_real
from qengine.model.graph import Graph
from qengine.model.ops.operator import Role, find


class Formattable:
    """A model whose tensors get formats, and what no request changes.

    Parameters
    ----------
    model
        Graph as the file has it, after `read_quantized` only; the names in a request are its names.
    optimized
        Graph after all passes, which a run computes.
    known
        Tensors of `model` whose elements are known before a run; see `known_tensors`.
    """

    def __init__(self, model: Graph, optimized: Graph, known: frozenset[str]) -> None:
        self.model, self.optimized, self.known = model, optimized, known

    @cached_property
    def inner(self) -> set[str]:
        """The tensors of graphs in nodes alone."""
        return self.model.inner_tensors() - self.model.tensors()

    @cached_property
    def tensors(self) -> set[str]:
        """The names that formats may have."""
        return self.model.tensors() | set(self.model.derived.values())

    @cached_property
    def groups(self) -> dict[str, Group]:
        """The group of each activation."""
        return format_groups(self.model, self.known)

    @cached_property
    def roles(self) -> dict[str, set[Role]]:
        """The roles in which nodes read a tensor, by the model's names."""
        roles: dict[str, set[Role]] = {}
        for node in self.model.nodes:
            for name, role in find(node).roles(node):
                roles.setdefault(self.model.derived.get(name, name), set()).add(role)
        return roles

    @cached_property
    def captured(self) -> set[str]:
        """The tensors of the model that the graphs in nodes read."""
        return captured_tensors(self.model)

    @cached_property
    def remaining(self) -> set[str]:
        """The tensors of the graph after the passes, with those inside of its nodes."""
        return self.optimized.tensors().union(*(node.hidden for node in self.optimized.nodes))

    @cached_property
    def real(self) -> set[str]:
        """The remaining tensors that the model declares as real numbers."""
        return {name for name in self.remaining if is_real(name, self.model)}

    @cached_property
    def readers(self) -> dict[str, Readers]:
        """The readers of every constant after the passes."""
        return readers_of(self.optimized, self.known)

    @cached_property
    def biases(self) -> dict[str, set[str]]:
        """The constants that only linear operators read, and only as biases, after the passes."""
        return biases_of(self.optimized, self.known, self.readers)

    @cached_property
    def all_readers(self) -> dict[str, Readers]:
        """The readers of every constant, after the passes where there are any."""
        return {**readers_of(self.model, self.known), **self.readers}


def captured_tensors(model: Graph) -> set[str]:
    """Return the tensors that the graphs in nodes read."""
    return {name for node in model.nodes for name in node.captures}
