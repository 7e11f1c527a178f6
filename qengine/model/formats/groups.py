"""Groups of tensors that share one format.

A format-preserving operator (Reshape, MaxPool, Relu, ...) copies codes from its first input to its outputs, so these
tensors must have one format. The relation is transitive: the groups are its connected components.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qengine.model.graph import Graph
from qengine.model.ops.operator import find
from qengine.model.passes.hidden_tensors import tied_states


class Group:
    """A set of tensors that share one format.

    Attributes
    ----------
    members : names of the tensors.
    """

    def __init__(self, name: str) -> None:
        self.members = {name}


def format_groups(model: Graph, known: frozenset[str]) -> dict[str, Group]:
    """Return the group of each tensor that is quantized as an activation, by tensor name.

    Parameters
    ----------
    model
        Graph as the file has it, after `read_quantized` only.
    known
        Tensors whose elements are known before a run; see `known_tensors`. They have no format, except constants
        from which a format-preserving operator such as Gather picks elements.
    """
    names = [value.name for value in model.inputs]
    names += [name for node in model.nodes for name in node.outputs if name]
    groups = {name: Group(name) for name in names if name not in known and may_be_real(name, model)}
    for node in model.nodes:
        for tied in tied_states(node, model):
            _join(groups, [name for name in tied if name in groups])
        outputs = [name for name in find(node).kept_outputs(node) if name in groups]
        if not outputs:
            continue
        source = node.inputs[0]
        if source in known:
            groups.setdefault(source, Group(source))  # a lookup table
        if source in groups:
            _join(groups, [source, *outputs])
    return groups


def _join(groups: dict[str, Group], names: Sequence[str]) -> None:
    """Make one group of the groups of some names."""
    for name in names[1:]:
        if groups[names[0]] is not groups[name]:
            small, large = sorted((groups[names[0]], groups[name]), key=lambda g: len(g.members))
            large.members |= small.members
            for member in small.members:
                groups[member] = large


def is_real(name: str, model: Graph) -> bool:
    """Whether the model declares that a tensor holds real numbers."""
    return may_be_real(name, model) and _element_type(name, model) is not None


def may_be_real(name: str, model: Graph) -> bool:
    """Whether a tensor holds real numbers, as far as the model says: an undeclared element type counts as real."""
    value = model.values.get(name)
    if value is not None and value.container is not None:  # a sequence holds real numbers, but is not a tensor
        return False
    dtype = _element_type(name, model)
    return dtype is None or dtype.kind == "f"


def _element_type(name: str, model: Graph) -> np.dtype[Any] | None:
    """Return the element type that the model declares for a tensor; None where it declares none."""
    constant, value = model.constants.get(name), model.values.get(name)
    return constant.dtype if constant is not None else value.dtype if value else None
