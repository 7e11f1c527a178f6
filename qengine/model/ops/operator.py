"""Declaration and lookup of the operators of ONNX.

An operator is one function, its *handler*, with the decorator `@operator`. The handler is called when a plan is made,
with tensors whose shapes (and in fixed point formats) are known, and returns *steps*: the few kinds of computation in
`qengine.model.steps`, each with a kernel in float32 and one in fixed point. A handler has no arithmetic of its own.

The declaration has three parts, and there is no other list to extend:

- the signature gives the inputs, the attributes with ONNX's names and defaults, and the kind of step; see `signature`;
- the arguments `name`, `domain`, `since` and `until` of the decorator say which nodes the handler serves;
- its other arguments are facts that passes, calibration, corrections and inspection read; see `facts` and `filters`.

Importing the package `qengine.model.ops` imports every file in it, and so declares every operator. `find` returns the
`Operator` that serves a node: the newest version that the node's opset reaches, then one that a user registered, and
else an operator without a handler, which an evaluator computes. `binding.make_steps` calls the handler.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeVar

from qengine.model.graph import CHAIN_DOMAIN, Node
from qengine.model.ops.declaration import NeedsElements, NeedsRun, Operator, no_handler
from qengine.model.ops.facts import NO_FACTS, ChannelRule, Facts, NumberKind, Sign, SignRule
from qengine.model.ops.filters import Channels, Filters
from qengine.model.ops.signature import (
    NEVER,
    Bias,
    Floats,
    Handler,
    Ints,
    Known,
    Parameter,
    Role,
    Selector,
    Shaped,
    Signature,
    Since,
    Until,
    Weights,
    kinds_of,
)
from qengine.model.steps import Move, Tensor

REAL, NUMBER, LOGICAL, ANY = "f", "fiu", "b", "fiub"
"""Element types that data inputs may have, as NumPy's kinds."""

_Declared = TypeVar("_Declared", bound=Handler)


_ANY_INPUTS = (Parameter("input", Tensor, None, Role.PLAIN, required=False, variadic=True, since=1, until=NEVER),)

_registry: dict[tuple[str, str], list[Operator]] = {}
_registered: dict[tuple[str, str], list[Operator]] = {}
_delegated_facts: dict[str, tuple[Facts, tuple[Parameter, ...]]] = {}


def operator(
    name: str,
    *,
    since: int = 1,
    until: int = NEVER,
    domain: str = "",
    elements: str = REAL,
    preserves_format: bool | Callable[[Node], bool] | None = None,
    sign: Sign | SignRule | None = None,
    channels: ChannelRule | None = None,
    filters: Filters | None = None,
    numbers: Mapping[str, NumberKind] | None = None,
    padding_value: float | None = None,
    keeps_mean: bool | Callable[[Node], bool] = False,
) -> Callable[[_Declared], _Declared]:
    """Declare the handler of an operator.

    Parameters
    ----------
    name, domain
        ONNX's names; a domain of "qengine" is for operators that passes make.
    since, until
        The first opset that this handler serves, and the first that it does not serve. Of several handlers the newest
        that the opset of the model reaches is used.
    elements
        `REAL`, `NUMBER`, `LOGICAL` or `ANY`: element types of data inputs. All data inputs have the same one.
    preserves_format
        Whether the outputs have the format of the first input. By default they do where the kind is `Move`.
    sign, channels, filters, numbers, padding_value, keeps_mean
        See `Facts`. An operator that always keeps the format keeps the sign too, unless it has numbers of its own or
        declares another sign.

    Raises
    ------
    ValueError
        If the version is declared already, or a number is neither an input nor an attribute.
    """

    def declare(handler: _Declared) -> _Declared:
        kinds = kinds_of(handler)
        preserves = kinds == (Move,) if preserves_format is None else preserves_format
        signature = Signature.of(handler)
        unknown = set(numbers or {}) - signature.attributes.keys() - {one.name for one in signature.inputs}
        if unknown:
            raise ValueError(f"{name} since {since} has no input or attribute {', '.join(sorted(unknown))}")
        versions = _registry.setdefault((domain, name), [])
        if any(o.since == since for o in versions):
            raise ValueError(f"{name} since {since} is declared twice")
        keeps_sign = preserves is True and not numbers
        versions.append(
            Operator(
                name=name,
                domain=domain,
                since=since,
                until=until,
                handler=handler,
                parameters=signature.inputs,
                attributes=signature.attributes,
                elements=elements,
                kinds=kinds,
                counts_outputs=signature.counts_outputs,
                options=signature.options,
                facts=Facts(
                    preserves_format=preserves,
                    sign=Sign.KEPT if sign is None and keeps_sign else sign,
                    channels=channels,
                    filters=filters,
                    numbers=numbers or {},
                    padding_value=padding_value,
                    keeps_mean=keeps_mean,
                ),
            )
        )
        versions.sort(key=lambda o: o.since)
        return handler

    return declare


def declare_delegated(name: str, facts: Facts, roles: Mapping[str, Role] | None = None) -> None:
    """Declare the facts of an operator of ONNX that has no handler.

    Parameters
    ----------
    name
        ONNX's name.
    facts
        The facts.
    roles
        Roles by the names of the inputs, in order; None for an operator that reads all elements unchanged.
    """
    given = tuple(
        Parameter(one, Tensor, None, role, required=False, variadic=False, since=1, until=NEVER)
        for one, role in (roles or {}).items()
    )
    _delegated_facts[name] = facts, given or _ANY_INPUTS


def versions() -> Mapping[tuple[str, str], Sequence[Operator]]:
    """Return every declared operator by (domain, name), its versions in ascending order."""
    return _registry


def register(op: Operator) -> None:
    """Add an operator of a user; it replaces the one of the same name and opset."""
    key = (op.domain, op.name)
    others = [other for other in _registered.get(key, []) if other.since != op.since]
    _registered[key] = sorted([*others, op], key=lambda o: o.since)


def registered() -> Mapping[tuple[str, str], Sequence[Operator]]:
    """Return the operators of users by (domain, name), their versions in ascending order."""
    return _registered


def find(node: Node) -> Operator:
    """Return the operator that serves a node; one without a handler where none is declared or registered."""
    key = (node.domain, "Chain" if node.domain == CHAIN_DOMAIN else node.operator)
    served = [o for o in _registry.get(key) or _registered.get(key, []) if o.since <= node.version]
    if served and node.version < served[-1].until:
        return served[-1]
    return _delegated(node.operator, node.domain)


@cache
def _delegated(name: str, domain: str) -> Operator:
    facts, inputs = (NO_FACTS, _ANY_INPUTS) if domain else _delegated_facts.get(name, (NO_FACTS, _ANY_INPUTS))
    return Operator(name, domain, 1, NEVER, no_handler, inputs, {}, ANY, (), counts_outputs=False, facts=facts)


__all__ = [
    "ANY",
    "LOGICAL",
    "NUMBER",
    "REAL",
    "Bias",
    "Channels",
    "Facts",
    "Filters",
    "Floats",
    "Ints",
    "Known",
    "NeedsElements",
    "NeedsRun",
    "NumberKind",
    "Operator",
    "Role",
    "Selector",
    "Shaped",
    "Sign",
    "Since",
    "Until",
    "Weights",
    "declare_delegated",
    "find",
    "no_handler",
    "operator",
    "register",
    "registered",
    "versions",
]
