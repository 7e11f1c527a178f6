"""Signature of a function that computes or expands an operator, also of a user's: its inputs and attributes."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from qengine.errors import ModelError, OptionError, UnsupportedError, did_you_mean
from qengine.model.graph import Graph, Node, OpaqueAttribute
from qengine.model.ops.signature import as_float32

_NAMES = {
    **{float: "a number", int: "an integer", bool: "0 or 1", str: "text", tuple: "a list"},
    OpaqueAttribute: "a type",
}
_LISTS = {tuple[int, ...]: int, tuple[float, ...]: float, tuple[str, ...]: str}
"""Type of the elements, by the annotations of lists."""
_PLURALS = {float: "numbers", int: "integers", str: "text"}


@dataclass(frozen=True)
class Attribute:
    """An attribute of an operator.

    Attributes
    ----------
    kind : type that is checked; None where the annotation names no such type.
    default : default value.
    required : whether the parameter has no default.
    elements : type of the elements of a list, which is checked; None for any.
    """

    kind: type | None
    default: Any
    required: bool
    elements: type | None = None

    @classmethod
    def of(cls, annotation: Any, default: Any) -> Attribute:
        """Return the attribute that a parameter or a field declares."""
        kind, elements = _kind(annotation)
        return cls(kind, default, default is inspect.Parameter.empty, elements)


@dataclass(frozen=True)
class Signature:
    """Inputs and attributes of a function.

    Attributes
    ----------
    inputs : names of the positional parameters.
    required : number of inputs that must be given; the others may be left out.
    variadic : whether any number of inputs may follow.
    attributes : keyword-only parameters by name.
    """

    inputs: tuple[str, ...]
    required: int
    variadic: bool
    attributes: Mapping[str, Attribute]

    @classmethod
    def of(cls, function: Callable[..., Any], what: str) -> Signature:
        """Return the signature of a function; `what` names it in errors.

        Raises
        ------
        OptionError
            If its parameters are not positional inputs followed by keyword-only attributes.
        """
        inputs, attributes, required, variadic = [], {}, 0, False
        for p in _parameters(function, what):
            if p.kind is p.VAR_KEYWORD:
                raise OptionError(f"{what}: '**{p.name}' names no attributes; name each, as in (x, *, alpha)")
            if p.kind is p.VAR_POSITIONAL:
                variadic = True
            elif p.kind is p.KEYWORD_ONLY:
                attributes[p.name] = Attribute.of(p.annotation, p.default)
            elif p.default is p.empty:
                inputs.append(p.name)
                required = len(inputs)
            elif p.default is None:
                inputs.append(p.name)
            else:
                raise OptionError(
                    f"{what}: input '{p.name}' has the default {p.default!r}; an optional input has the default None, "
                    "and an attribute stands after '*'"
                )
        return cls(tuple(inputs), required, variadic, attributes)

    def check(self, node: Node) -> None:
        """Raise ModelError or UnsupportedError, without the node's name, if a node does not fit the signature."""
        if len(node.inputs) > len(self.inputs) and not self.variadic:
            listed = ", ".join(self.inputs) or "none"
            raise ModelError(f"takes at most {len(self.inputs)} inputs ({listed}), {len(node.inputs)} given")
        for i, name in enumerate(self.inputs[: self.required]):
            if i >= len(node.inputs) or not node.inputs[i]:
                raise ModelError(f"input '{name}' is missing")
        self.keywords(node.attributes)

    def arguments(self, values: Sequence[Any]) -> list[Any]:
        """Return the positional arguments for the inputs of a node, None for an input that is left out."""
        return [*values, *[None] * (len(self.inputs) - len(values))]

    def keywords(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments for the attributes of a node, defaults included."""
        for name, value in given.items():
            expected = self.attributes[name].kind if name in self.attributes else None
            if isinstance(value, OpaqueAttribute | Graph) and expected is not type(value):
                raise UnsupportedError(f"attribute '{name}' is a graph or a type, which a function cannot take")
            if name not in self.attributes:
                listed = ", ".join(self.attributes) or "none"
                raise ModelError(
                    f"attribute '{name}' is unknown to its function, which takes {listed}"
                    f"{did_you_mean(name, self.attributes)}"
                )
        keywords = {}
        for name, attribute in self.attributes.items():
            if name in given:
                keywords[name] = _converted(name, given[name], attribute)
            elif attribute.required:
                raise ModelError(f"attribute '{name}' is missing, and its function has no default for it")
            else:
                keywords[name] = attribute.default
        return keywords

    def takes_the_same(self, other: Signature) -> bool:
        """Whether another function can be called with the same arguments."""
        same = len(self.inputs) == len(other.inputs) and self.variadic == other.variadic
        return same and self.attributes.keys() == other.attributes.keys()

    def __str__(self) -> str:
        rest = ["*"] if self.attributes and not self.variadic else []
        rest = ["*..."] if self.variadic else rest
        return f"({', '.join([*self.inputs, *rest, *self.attributes])})"


@dataclass(frozen=True)
class GroupedSignature:
    """A signature in which a keyword-only parameter may be several attributes: the fields of a dataclass.

    Attributes
    ----------
    signature : inputs, and the attributes of all groups.
    groups : dataclass of several attributes, by the name of the parameter that takes it.
    """

    signature: Signature
    groups: Mapping[str, type[Any]]

    @classmethod
    def of(cls, function: Callable[..., Any], aside: Collection[str] = ()) -> GroupedSignature:
        """Return the signature of a function; `aside` names keyword-only parameters of another kind.

        The defaults of real numbers are rounded to float32, in which a model stores them.
        """
        signature = Signature.of(function, function.__name__)
        groups = {
            name: kind
            for name, kind in get_type_hints(function).items()
            if name in signature.attributes and is_dataclass(kind) and isinstance(kind, type) and name not in aside
        }
        declared = {k: v for k, v in signature.attributes.items() if k not in groups and k not in aside}
        for group in groups.values():
            declared |= _fields(group)
        attributes = {name: replace(one, default=as_float32(one.default)) for name, one in declared.items()}
        return cls(replace(signature, attributes=attributes), groups)

    def keywords(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments for the attributes of a node, defaults included."""
        keywords = self.signature.keywords(given)
        for name, group in self.groups.items():
            keywords[name] = group(**{one.name: keywords.pop(one.name) for one in fields(group)})
        return keywords


def _fields(group: type[Any]) -> dict[str, Attribute]:
    """Return the attributes that the fields of a dataclass declare."""
    hints = get_type_hints(group)
    return {
        one.name: Attribute.of(hints[one.name], inspect.Parameter.empty if one.default is MISSING else one.default)
        for one in fields(group)
    }


def _parameters(function: Callable[..., Any], what: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except (ValueError, TypeError):
        raise OptionError(f"{what}: {function!r} has no signature; register a Python function that calls it") from None
    except Exception:  # annotations are the user's, and may name what exists for a type checker alone
        return list(inspect.signature(function).parameters.values())


def _kind(annotation: Any) -> tuple[type | None, type | None]:
    """Return the type of an annotation that is checked, T for `T | None`, and that of a list's elements."""
    if get_origin(annotation) in (Union, types.UnionType):
        others = [a for a in get_args(annotation) if a is not type(None)]
        annotation = others[0] if len(others) == 1 else None
    if annotation in _LISTS:
        return tuple, _LISTS[annotation]
    return annotation if annotation in _NAMES else None, None


def _converted(name: str, value: Any, attribute: Attribute) -> Any:
    """Return an attribute in the type of its annotation; ONNX writes a truth value as an integer."""
    kind = attribute.kind
    if value is attribute.default:
        return value
    if kind is None:
        if isinstance(value, np.ndarray):
            value = value.view()
            value.flags.writeable = False
        return value
    if attribute.elements is not None and isinstance(value, tuple):
        return _list(name, value, attribute.elements)
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is bool and value in (0, 1) and isinstance(value, int):
        return bool(value)
    if kind is bool or not isinstance(value, kind):
        raise ModelError(f"attribute '{name}' is {value!r}, and its function takes {_NAMES[kind]}")
    return value


def _list(name: str, values: tuple[Any, ...], kind: type) -> tuple[Any, ...]:
    """Return a list in the type of its annotation."""
    kinds = set(map(type, values))  # lists may be long
    if kind is float and all(issubclass(one, int) for one in kinds):
        return tuple(map(float, values))
    if not all(issubclass(one, kind) for one in kinds):
        raise ModelError(f"attribute '{name}' is a list with other elements than {_PLURALS[kind]}")
    return values
