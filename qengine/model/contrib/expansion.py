"""Declaration of expansions: an operator that ONNX does not have, as nodes of operators that it has.

An expansion is one function with the decorator `@expansion`. Its first parameter is a `Builder`; the other positional
ones are the names of the operator's inputs, "" for one that is left out, and the keyword-only ones its attributes. The
function adds nodes and returns the names of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.custom.signature import GroupedSignature
from qengine.model.graph import Attribute, Dim, Names, Node, Value

CONTRIB = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""

OLDEST = 13
"""Oldest opset of the new nodes: from it on, Softmax, Split, Unsqueeze and ReduceSum have their present form."""

Infer = Callable[[Node, Mapping[str, Value], Mapping[str, NDArray[Any]]], Mapping[str, Value]]
"""(node, known values, constants) -> values of the node's outputs that are inferred."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Builder:
    """Builder of the nodes that replace one node.

    Attributes
    ----------
    node : node to replace.
    nodes : new nodes.
    constants : constants that the new nodes may read, with those that they add.
    values : types and shapes of tensors as far as they are known, with those of the new nodes.
    """

    def __init__(
        self,
        node: Node,
        version: int,
        constants: dict[str, NDArray[Any]],
        values: dict[str, Value],
        names: Names,
        infer: Infer,
    ) -> None:
        self.node, self.constants, self.values = node, constants, values
        self.nodes: list[Node] = []
        self._version = max(version, OLDEST)
        self._names, self._infer = names, infer

    def op(self, operator: str, *inputs: str | None, since: int = OLDEST, **attributes: Attribute | None) -> str:
        """Add a node with one output and return the name of the output; see `ops`."""
        return self.ops(1, operator, *inputs, since=since, **attributes)[0]

    def ops(
        self, count: int, operator: str, *inputs: str | None, since: int = OLDEST, **attributes: Attribute | None
    ) -> tuple[str, ...]:
        """Add a node and return the names of its outputs.

        Parameters
        ----------
        count
            Number of outputs.
        operator, inputs
            Operator of ONNX, and the tensors that it reads; "" or None for one that is left out.
        since
            First opset that has the operator in the form that is meant.
        attributes
            Attributes; one of None is left out.
        """
        label = next((name for name in self.node.outputs if name), "")
        outputs = tuple(self._names.fresh(f"{label} by {operator}") for _ in range(count))
        given = {name: value for name, value in attributes.items() if value is not None}
        names = [name or "" for name in inputs]
        while names and not names[-1]:
            names.pop()
        node = Node(operator, tuple(names), outputs, given, self.node.name, "", max(self._version, since))
        self.add(node)
        return outputs

    def add(self, node: Node) -> None:
        """Add a node, and what is inferred of its outputs."""
        self.nodes.append(node)
        self.values |= {
            name: value
            for name, value in self._infer(node, self.values, self.constants).items()
            if name in node.outputs
        }

    # Constants

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of a new constant."""
        label = next((name for name in self.node.outputs if name), "")
        name = self._names.fresh(f"constant of {label}")
        self.constants[name] = array
        return name

    def ints(self, *numbers: int) -> str:
        """Return the name of a new constant, a vector of int64."""
        return self.constant(np.array(numbers, np.int64))

    def number(self, value: float, like: str) -> str:
        """Return the name of a new constant without axes, of the element type of a tensor; float32 if not known."""
        return self.constant(np.array(value, self.dtype(like) or np.float32))

    # Knowledge of tensors

    def needs(self, **inputs: str | None) -> None:
        """Raise ModelError for an input that is left out, of those by name that must not be."""
        for name, given in inputs.items():
            if not given:
                raise ModelError(f"input '{name}' is missing")

    def wants(self, index: int) -> bool:
        """Whether an output of the node is read."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index])

    def dtype(self, name: str) -> np.dtype[Any] | None:
        """Return the element type of a tensor; None where it is not known."""
        if name in self.constants:
            return self.constants[name].dtype
        return self.values[name].dtype if name in self.values else None

    def shape(self, name: str) -> tuple[Dim, ...] | None:
        """Return the shape of a tensor; None where its rank is not known."""
        if name in self.constants:
            return tuple(self.constants[name].shape)
        return self.values[name].shape if name in self.values else None

    def rank(self, name: str) -> int:
        """Return the number of axes of a tensor.

        Raises
        ------
        UnsupportedError
            If it is not known before a run.
        """
        shape = self.shape(name)
        if shape is None:
            raise UnsupportedError(f"the rank of '{name}' is not known; declare its shape in value_info")
        return len(shape)

    def known(self, name: str, what: str) -> NDArray[Any]:
        """Return the elements of a constant.

        Raises
        ------
        UnsupportedError
            If the tensor is not a constant; `what` says what it is.
        """
        if name not in self.constants:
            raise UnsupportedError(f"{what} '{name}' is not a constant, which is not supported; make it one")
        return self.constants[name]


@dataclass(frozen=True)
class Expansion:
    """A declared expansion.

    Attributes
    ----------
    function : function that adds the nodes.
    signature : inputs and attributes of the operator.
    """

    function: Callable[..., Any]
    signature: GroupedSignature

    def expand(self, builder: Builder) -> list[Node]:
        """Return the nodes that replace the builder's node, with the names of its outputs.

        Raises
        ------
        QEngineError
            If the node does not fit its operator, or cannot be expressed; without the node's name.
        """
        node, signature = builder.node, self.signature.signature
        signature.check(node)
        missing = len(signature.inputs) - len(node.inputs)
        result = self.function(builder, *node.inputs, *[""] * missing, **self.signature.keywords(node.attributes))
        results = [result] if isinstance(result, str) else list(result)
        if any(node.outputs[len(results) :]):
            raise ModelError(f"has {len(results)} outputs, {len(node.outputs)} are asked for")
        return _with_outputs(builder, results)


def _with_outputs(builder: Builder, results: Sequence[str]) -> list[Node]:
    """Return the builder's nodes in which the results have the names of the node's outputs."""
    made = {name for node in builder.nodes for name in node.outputs}
    renamed: dict[str, str] = {}
    for name, result in zip(builder.node.outputs, results, strict=False):
        if not name:
            continue
        if result in made and result not in renamed:
            renamed[result] = name
        else:
            source = renamed.get(result, result)
            builder.add(Node("Identity", (source,), (name,), {}, builder.node.name, "", OLDEST))
    for old, new in renamed.items():
        if old in builder.values:
            builder.values[new] = replace(builder.values.pop(old), name=new)

    def new_names(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(renamed.get(name, name) for name in names)

    is_alone = len(builder.nodes) == 1
    labels = Names(())  # other software refuses two nodes of one name
    return [
        replace(
            node,
            inputs=new_names(node.inputs),
            outputs=new_names(node.outputs),
            name=node.name if is_alone or not node.name else labels.fresh(f"{node.name}/{node.operator}"),
        )
        for node in builder.nodes
    ]


_registry: dict[tuple[str, str], Expansion] = {}


def expansion(*names: str, domain: str = CONTRIB) -> Callable[[_Function], _Function]:
    """Declare a function as the expansion of one or several operators.

    Parameters
    ----------
    names, domain
        The operators.

    Raises
    ------
    ValueError
        If an operator has two expansions.
    """

    def declare(function: _Function) -> _Function:
        whole = GroupedSignature.of(function)
        own = whole.signature
        if "builder" not in own.inputs[:1]:
            raise ValueError(f"the first parameter of {function.__name__} is not the builder")
        signature = replace(whole, signature=replace(own, inputs=own.inputs[1:], required=own.required - 1))
        for name in names:
            if (domain, name) in _registry:
                raise ValueError(f"{name} is declared twice")
            _registry[domain, name] = Expansion(function, signature)
        return function

    return declare


def expansions() -> Mapping[tuple[str, str], Expansion]:
    """Return every expansion by (domain, name)."""
    _declare()
    return _registry


@cache
def _declare() -> None:
    """Import every file of the package; slow, and most models need none."""
    package = import_module("qengine.model.contrib")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
