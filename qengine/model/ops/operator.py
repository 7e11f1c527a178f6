"""How an ONNX operator is declared, found and called: a function whose signature says what it takes.

See `signature` for what the annotations mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Graph, Node
from qengine.model.ops.signature import (
    NEVER,
    Attributes,
    Bias,
    Floats,
    Handler,
    Ints,
    Known,
    Parameter,
    Role,
    Selector,
    Shaped,
    Since,
    Until,
    Weights,
    kinds_of,
    read_signature,
)
from qengine.model.steps import Combine, Linear, Move, Step, Tensor

REAL, NUMBER, LOGICAL, ANY = "f", "fiu", "b", "fiub"
"""What the elements of data may be, as NumPy's kinds."""

_Declared = TypeVar("_Declared", bound=Handler)


@dataclass(frozen=True)
class Operator:
    """One version of an operator.

    Attributes
    ----------
    name, domain : ONNX's; the domain of ONNX itself is "".
    since, until : the opsets that the handler serves, from the first to before the second.
    handler : makes the steps, one for each output.
    parameters : the inputs.
    attributes : by name.
    elements : the element types of data inputs, as NumPy's kinds.
    kinds : the kinds of step that the handler may answer with.
    counts_outputs : whether the handler is told how many outputs the node has.
    """

    name: str
    domain: str
    since: int
    until: int
    handler: Handler
    parameters: tuple[Parameter, ...]
    attributes: Mapping[str, Parameter]
    elements: str
    kinds: tuple[type[Step], ...]
    counts_outputs: bool
    _preserves: bool | Callable[[Attributes], bool] = False
    _channel_axis: int | Callable[[Attributes, int], int | None] | None = None

    @property
    def is_delegated(self) -> bool:
        """Whether it has no handler here: a run computes the node by itself, from elements as they are."""
        return self.handler is no_handler

    def check(self, node: Node) -> None:
        """Refuse a node before any shape is known; a handler does so when it makes steps."""

    def preserves_format(self, node: Node) -> bool:
        """Whether the node's outputs have the format of its first input."""
        given = self._preserves
        return given if isinstance(given, bool) else given(node.attributes)

    def channel_axis(self, node: Node, ndim: int) -> int | None:
        """The axis of weights with `ndim` axes that counts output channels; None where there is none."""
        given = self._channel_axis
        return given(node.attributes, ndim) if callable(given) else given

    def parameter(self, index: int) -> Parameter | None:
        """Return the parameter that takes input number `index`."""
        if index < len(self.parameters):
            return self.parameters[index]
        last = self.parameters[-1] if self.parameters else None
        return last if last and last.variadic else None

    def roles(self, node: Node) -> list[tuple[str, Role]]:
        """Return (tensor, role) for every input that the node gives."""
        found = []
        for i, name in enumerate(node.inputs):
            parameter = self.parameter(i)
            if name and parameter:
                found.append((name, parameter.role))
        return found + [(name, Role.PLAIN) for name in node.captures]


_registry: dict[tuple[str, str], list[Operator]] = {}
_registered: dict[tuple[str, str], list[Operator]] = {}


def operator(
    name: str,
    *,
    since: int = 1,
    until: int = NEVER,
    domain: str = "",
    elements: str = REAL,
    preserves_format: bool | Callable[[Attributes], bool] | None = None,
    channel_axis: int | Callable[[Attributes, int], int | None] | None = None,
) -> Callable[[_Declared], _Declared]:
    """Declare the handler of an operator; discovery is by importing the package `qengine.model.ops`.

    Parameters
    ----------
    name, domain
        ONNX's names.
    since, until
        The first opset that this handler serves, and the first that it does not. Of several handlers the newest
        that the model's opset reaches is used.
    elements
        `REAL`, `NUMBER`, `LOGICAL` or `ANY`: what the elements of data inputs may be. All have one type.
    preserves_format
        Whether outputs have the first input's format; by default, where the kind is `Move`.
    channel_axis
        Which axis of the `Weights` counts output channels, for formats per channel; a function gets the
        attributes and the number of axes.
    """

    def declare(handler: _Declared) -> _Declared:
        kinds = kinds_of(handler)
        preserves = kinds == (Move,) if preserves_format is None else preserves_format
        parameters, attributes, counts_outputs = read_signature(handler)
        versions = _registry.setdefault((domain, name), [])
        if any(o.since == since for o in versions):
            raise ValueError(f"{name} since {since} is declared twice")
        versions.append(
            Operator(
                name=name,
                domain=domain,
                since=since,
                until=until,
                handler=handler,
                parameters=parameters,
                attributes=attributes,
                elements=elements,
                kinds=kinds,
                counts_outputs=counts_outputs,
                _preserves=preserves,
                _channel_axis=channel_axis,
            )
        )
        versions.sort(key=lambda o: o.since)
        return handler

    return declare


def versions() -> Mapping[tuple[str, str], Sequence[Operator]]:
    """Return every declared operator by (domain, name), its versions in ascending order."""
    return _registry


def register(op: Operator) -> None:
    """Add an operator of a user, or put it in the place of the one of the same opset."""
    key = (op.domain, op.name)
    others = [other for other in _registered.get(key, []) if other.since != op.since]
    _registered[key] = sorted([*others, op], key=lambda o: o.since)


def registered() -> Mapping[tuple[str, str], Sequence[Operator]]:
    """Return the operators of users by (domain, name), their versions in ascending order."""
    return _registered


def find(node: Node) -> Operator:
    """Return the operator that serves a node; where none is declared or registered, one that is delegated."""
    key = (node.domain, node.operator)
    served = [o for o in _registry.get(key) or _registered.get(key, []) if o.since <= node.version]
    if served and node.version < served[-1].until:
        return served[-1]
    return _delegated(node.operator, node.domain)


def no_handler(*_: Any, **__: Any) -> Step:
    """Stand for the handler of an operator whose nodes run by themselves."""
    raise NeedsRun("no handler makes steps of it")


@cache
def _delegated(name: str, domain: str) -> Operator:
    inputs = Parameter("input", Tensor, None, Role.PLAIN, required=False, variadic=True, since=1, until=NEVER)
    return Operator(name, domain, 1, NEVER, no_handler, (inputs,), {}, ANY, (), counts_outputs=False)


class NeedsRun(UnsupportedError):  # noqa: N818 - told apart by those who can run nodes one by one
    """A plan cannot hold a node: what it gives, or of which shape, is known only in a run."""


class NeedsElements(NeedsRun):
    """A plan can hold a node if it begins with the elements of some of its inputs.

    Attributes
    ----------
    names : of them.
    """

    def __init__(self, message: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.names = names


def check(graph: Graph, is_known: Callable[[Node], bool]) -> None:
    """Refuse a graph with operators that nothing computes, naming all of them at once.

    Parameters
    ----------
    is_known
        Whether a node without a handler can be computed nevertheless.

    Raises
    ------
    UnsupportedError
        The message lists each operator with its opset and how often it occurs.
    QEngineError
        If a node of a registered operator has inputs or attributes that its function does not take.
    """
    missing: dict[str, int] = {}
    foreign: Node | None = None
    for node in _everywhere(graph):
        op = find(node)
        with node.errors_named():
            op.check(node)
        if op.is_delegated and not is_known(node):
            name = f"{node.domain}.{node.operator}" if node.domain else node.operator
            label = f"{name}-{node.version}"
            missing[label] = missing.get(label, 0) + 1
            foreign = node if node.domain else foreign
    if missing:
        listed = ", ".join(f"{name} (x{n})" if n > 1 else name for name, n in sorted(missing.items()))
        plural = "s" if len(missing) > 1 else ""
        remedy = "replace them before the export"
        if foreign is not None:
            remedy = _how_to_register(foreign)
        raise UnsupportedError(f"operator{plural} not supported: {listed}; {remedy}")


def _how_to_register(node: Node) -> str:
    if (node.domain, node.operator) in _registered:
        since = _registered[node.domain, node.operator][0].since
        return f"{node.operator} is registered since {since}: register it with since={node.version} for this model"
    return (
        f'register them first, as @qengine.register_operator("{node.operator}", domain="{node.domain}"), on the '
        "command line in a file for --operators"
    )


def _everywhere(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for inner in node.graphs.values():
            yield from _everywhere(inner)


def make_steps(node: Node, tensor: Callable[[str], Tensor]) -> tuple[Step, ...]:
    """Return the steps of a node, one for each output that its handler gives.

    Parameters
    ----------
    node
        What to compute.
    tensor
        Looks up an input by name; its `value` is set where the elements are known.

    Raises
    ------
    QEngineError
        If the inputs or attributes are not what the operator allows; the message names the node.
    """
    op = find(node)
    with node.errors_named():
        steps = op.handler(*_inputs(op, node, tensor), **_attributes(op, node))
        steps = steps if isinstance(steps, tuple) else (steps,)
        if len([n for n in node.outputs if n]) > len(steps):
            raise UnsupportedError(f"gives {len(steps)} output(s), the model asks for {len(node.outputs)}")
        return (_with_activation(steps[0], node), *steps[1:]) if node.activation else steps


def _with_activation(step: Step, node: Node) -> Step:
    assert isinstance(step, Linear | Combine)
    return replace(step, activation=node.activation)


def _inputs(op: Operator, node: Node, tensor: Callable[[str], Tensor]) -> list[Any]:
    given: list[Any] = []
    first: Tensor | None = None  # whose element type the other data inputs share
    for i, name in enumerate(node.inputs):
        parameter = op.parameter(i)
        if parameter is None or not (parameter.serves(node.version) or not name):
            most = sum(p.serves(node.version) for p in op.parameters)
            raise ModelError(f"takes at most {most} inputs at opset {node.version}, {len(node.inputs)} given")
        if not name:
            if parameter.required:
                raise ModelError(f"input '{parameter.name}' is missing")
            given.append(None)
            continue
        t = tensor(name)
        if parameter.role in (Role.DATA, Role.WEIGHTS, Role.BIAS):
            _check_elements(t, op.elements)
            first = first or t
            if t.dtype != first.dtype and not _is_wide_bias(t, parameter.role):
                raise ModelError(f"inputs '{first.name}' ({first.dtype}) and '{name}' ({t.dtype}) differ in type")
        elif parameter.role is Role.SELECTOR:
            _check_elements(t, "iub")
        elif parameter.role is Role.KNOWN and t.value is None:
            raise NeedsElements(f"input '{parameter.name}' ('{name}') depends on the data", (name,))
        given.append(t.value if parameter.role is Role.KNOWN else t)
    for parameter in op.parameters[len(given) :]:
        if parameter.required:
            raise ModelError(f"input '{parameter.name}' is missing")
    return given


def _is_wide_bias(t: Tensor, role: Role) -> bool:
    """Whether it is a bias of a quantized model that float32 does not hold exactly."""
    return role is Role.BIAS and t.value is not None and t.dtype == np.float64


def _check_elements(t: Tensor, kinds: str) -> None:
    if t.dtype.kind not in kinds:
        names = {"f": "floating-point", "i": "integer", "b": "boolean"}
        allowed = " or ".join(name for kind, name in names.items() if kind in kinds)
        raise UnsupportedError(f"'{t.name}' is {t.dtype}; {allowed} elements are needed")


def _attributes(op: Operator, node: Node) -> dict[str, Any]:
    known = {name: parameter for name, parameter in op.attributes.items() if parameter.serves(node.version)}
    given: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UnsupportedError(f"attribute '{name}' does not exist at opset {node.version}; there are {listed}")
        if not _is_a(value, known[name].element):
            raise ModelError(f"attribute '{name}' has the wrong type: {value!r}")
        given[name] = value
    for name, parameter in known.items():
        if name not in given and parameter.required:
            raise ModelError(f"attribute '{name}' is missing")
        given.setdefault(name, parameter.default)
    if op.counts_outputs:
        given["outputs"] = len(node.outputs)
    return given


def _is_a(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(isinstance(v, get_args(wanted)[0]) for v in value)
    if get_origin(wanted) is np.ndarray:
        return isinstance(value, np.ndarray)
    return isinstance(value, wanted)


__all__ = [
    "ANY",
    "LOGICAL",
    "NUMBER",
    "REAL",
    "Attributes",
    "Bias",
    "Floats",
    "Ints",
    "Known",
    "NeedsElements",
    "NeedsRun",
    "Operator",
    "Role",
    "Selector",
    "Shaped",
    "Since",
    "Until",
    "Weights",
    "check",
    "find",
    "make_steps",
    "no_handler",
    "operator",
    "register",
    "registered",
    "versions",
]
