"""Declaration of evaluators: NumPy functions that compute one node on real numbers, integers or text.

An operator without a handler in `qengine.model.ops` becomes no steps: its *evaluator* computes the whole node at once.
Every operator of ONNX has a handler, an evaluator, or both, or is refused by name. Tests compare evaluators with
software that we did not write.

An evaluator is a function with the decorator `@evaluator`:

- Its positional parameters are the inputs in ONNX's order, None where a node leaves an optional one out.
- Its keyword-only parameters are the attributes, with ONNX's names and defaults. The name `node` is not an attribute:
  the function then gets the `Node`, because it depends on the opset or on the number of outputs.
- A keyword-only parameter whose annotation is a dataclass is several attributes: the fields, with their defaults.
- It gets arrays that it must not write to, and returns an array, a list (a sequence), or a tuple for several outputs.
- `outputs=` names a function that tells the shapes and dtypes of the outputs without a run, so that a plan can hold the
  node, and a native kernel can compute it. It takes what the evaluator takes, with a `Tensor` in the place of each
  array, and returns a (shape, dtype) for each output. Where it needs elements, it gets them from `known_elements`,
  which raises NeedsElements where only a run computes them.
- `rule=` names a function that tells how codes are computed: a `FixedRule` of an `Evaluation` and the arithmetic.
  Without one the node is an island in fixed point.
- It raises ModelError for values that ONNX does not allow, such as an index out of range, and UnsupportedError for
  values that ONNX allows and it does not implement.

Importing the package `qengine.model.eager.evaluators` declares every evaluator, which the first search for one does.
There is no other list to extend.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.custom.signature import GroupedSignature, Signature
from qengine.model.graph import Node
from qengine.model.ops.operator import NeedsElements
from qengine.model.steps import RuleOf, Tensor

Element = NDArray[Any] | list[Any] | dict[Any, Any] | None
"""Type of an input or output: a tensor, a sequence, a map, or None."""

OutputType = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and dtype of an output."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Evaluator:
    """A function that computes an operator.

    Attributes
    ----------
    name, domain : operator and its domain.
    since : first opset that it serves; of several evaluators the newest that a node's opset reaches is used.
    function : function that computes it.
    grouped : inputs and attributes of the function.
    takes_node : whether the function takes the node too.
    omits : whether those of its inputs that `*name` takes may be left out.
    outputs : function that returns the shapes and dtypes of the outputs; None where only a run knows them.
    rule : function that returns how codes are computed; None for an island.
    """

    name: str
    domain: str
    since: int
    function: Callable[..., Any]
    grouped: GroupedSignature
    takes_node: bool
    omits: bool
    outputs: Callable[..., Sequence[OutputType]] | None = None
    rule: RuleOf | None = None

    @property
    def signature(self) -> Signature:
        """The inputs and attributes of the function."""
        return self.grouped.signature

    def compute(self, node: Node, inputs: Sequence[Element]) -> list[Element]:
        """Return the outputs of a node, None for an output that is left out.

        Parameters
        ----------
        node
            Node whose operator this is.
        inputs
            An element for each name in `node.inputs`; None where the name is empty.

        Raises
        ------
        QEngineError
            If the node cannot be computed from these inputs; without the node's name.
        """
        result = self._call(self.function, node, inputs)
        outputs = list(result) if isinstance(result, tuple) else [result]
        if len(outputs) < len(node.outputs):
            raise ModelError(f"has {len(outputs)} outputs, {len(node.outputs)} are asked for")
        return [_element(one) if name else None for name, one in zip(node.outputs, outputs, strict=False)]

    def output_types(self, node: Node, inputs: Sequence[Tensor | None]) -> Sequence[OutputType] | None:
        """Return the shape and dtype of each output that the node has; None where only a run knows them.

        Parameters
        ----------
        node
            Node whose operator this is.
        inputs
            A tensor for each name in `node.inputs`; None where the name is empty.

        Raises
        ------
        NeedsElements
            If they depend on elements that only a run computes.
        QEngineError
            If the node cannot be computed from such inputs.
        """
        if self.outputs is None:
            return None
        types = self._call(self.outputs, node, inputs)
        return list(types)[: len(node.outputs)] if len(types) >= len(node.outputs) else None

    def _call(self, function: Callable[..., Any], node: Node, inputs: Sequence[Any]) -> Any:
        """Call a function with inputs and the attributes of a node."""
        self.signature.check(node)
        for name, value in zip(self.signature.inputs[: self.signature.required], inputs, strict=False):
            if value is None:
                raise ModelError(f"input '{name}' is an empty optional")
        if not self.omits and any(value is None for value in inputs[len(self.signature.inputs) :]):
            raise ModelError("one of its inputs is left out, and none may be")
        return function(*self.signature.arguments(inputs), **self.keywords(node))

    def keywords(self, node: Node) -> dict[str, Any]:
        """Return the keyword arguments that the function gets for a node, and the node itself if it takes it."""
        keywords = self.grouped.keywords(node.attributes)
        return keywords | {"node": node} if self.takes_node else keywords


_registry: dict[tuple[str, str], list[Evaluator]] = {}


def evaluator(
    *names: str,
    since: int = 1,
    domain: str = "",
    outputs: Callable[..., Sequence[OutputType]] | None = None,
    rule: RuleOf | None = None,
) -> Callable[[_Function], _Function]:
    """Declare a function as the evaluator of one or several operators.

    Parameters
    ----------
    names
        Operators that the function computes.
    since
        First opset that it serves.
    domain
        Domain of the operators.
    outputs
        Function that returns the shapes and dtypes of the outputs; None where only a run knows them.
    rule
        Function that returns how codes are computed; None for an island in fixed point.

    Raises
    ------
    ValueError
        If an operator has two evaluators since the same opset.
    """

    def declare(function: _Function) -> _Function:
        grouped = GroupedSignature.of(function, aside=("node",))
        takes_node = "node" in Signature.of(function, function.__name__).attributes
        omits = _may_be_none(function)
        for name in names:
            versions = _registry.setdefault((domain, name), [])
            if any(one.since == since for one in versions):
                raise ValueError(f"{name} since {since} is declared twice")
            versions.append(Evaluator(name, domain, since, function, grouped, takes_node, omits, outputs, rule))
            versions.sort(key=lambda one: one.since)
        return function

    return declare


def versions() -> Mapping[tuple[str, str], Sequence[Evaluator]]:
    """Return every evaluator by (domain, name), the versions of an operator in ascending order."""
    _declare_all()
    return _registry


@cache
def _declare_all() -> None:
    """Import every file of evaluators: slow, and most models need none."""
    package = import_module("qengine.model.eager.evaluators")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")


def find_evaluator(node: Node) -> Evaluator | None:
    """Return the evaluator that serves a node; None where there is none."""
    served = [one for one in versions().get((node.domain, node.operator), ()) if one.since <= node.version]
    return served[-1] if served else None


def same_type(x: Tensor, *_: Tensor | None, **__: Any) -> tuple[OutputType, ...]:
    """Return the shape and dtype of the first input: `outputs` of operators whose output has them."""
    return ((x.shape, x.dtype),)


def known_elements(t: Tensor) -> NDArray[Any]:
    """Return the elements of an input that decides the shape of an output.

    Raises
    ------
    NeedsElements
        If only a run computes them.
    """
    if t.value is None:
        raise NeedsElements(f"the elements of '{t.name}' decide the shapes of its outputs", (t.name,))
    return t.value


def _may_be_none(function: Callable[..., Any]) -> bool:
    """Whether the parameter `*name` of a function, if there is one, is declared to take None too."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return any(p.kind is p.VAR_POSITIONAL and type(None) in get_args(p.annotation) for p in parameters)


def _element(result: Any) -> Element:
    """Return an output as an array, a list, a dict or None: NumPy returns scalars where an array has no axes."""
    return result if result is None or isinstance(result, list | dict) else np.asarray(result)
