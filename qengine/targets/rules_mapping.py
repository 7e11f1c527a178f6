"""Rules and constraints as nested mappings, such as TOML's `[rules]`: reading onto a base, and writing.

Reading replaces only what a mapping names, so that a file that extends another, an option of a session and a `--rule`
of the command line are one operation: single rules over all rules of a base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from qengine.errors import TargetError, did_you_mean
from qengine.model.rules import KINDS, Modes, Rules
from qengine.model.steps import ISLANDS
from qengine.targets import schema
from qengine.targets.constraints import Constraints
from qengine.targets.contradictions import Contradiction, contradictions, contradictions_of_constraints
from qengine.targets.key_lines import Path
from qengine.targets.origin import Origin
from qengine.targets.values import Value, ValueNotAllowedError, found, operator_name

_NAMED = ("tensors", "operators")
"""Tables of `[rules]` that hold a table of modes for each name."""


def rules_over(base: Rules, given: Mapping[str, Any], origin: Origin, *, complete: bool = True) -> Rules:
    """Return rules of which a mapping such as TOML's `[rules]` replaces some.

    Parameters
    ----------
    base
        Rules of all that the mapping does not name.
    given
        The mapping, nested or with dots in its keys ("mean.rounding").
    origin
        Origin of the mapping, for messages.
    complete
        Whether the result is all rules, so that contradictions are errors; other rules may be laid under them later.

    Raises
    ------
    TargetError
        If a key or a value is not allowed, or the rules contradict each other.
    """
    given = _nested(given, origin)
    known = [*schema.RULES, *schema.TABLES, *_NAMED]
    changes: dict[str, Any] = {}
    kinds = dict(base.kinds)
    for key, value in given.items():
        if key in schema.RULES:
            changes[key] = _read(schema.RULES[key], value, (key,), origin)
        elif key in _NAMED:
            changes[key] = _named_modes(getattr(base, key), key, value, origin)
        elif key in schema.TABLES:
            fields = _table(schema.TABLES[key], value, (key,), origin)
            if key in schema.PARTS:
                part = {name: fields.pop(name) for name in tuple(fields) if name in schema.PARTS[key]}
                changes[key] = replace(getattr(base, key), **part)
            if fields:
                kinds[key] = Modes(**fields).over(kinds.get(key, Modes()))  # type: ignore[index, call-overload]
        else:
            raise origin.error((str(key),), f"does not exist{did_you_mean(str(key), known)}", known)
    rules = replace(base, **changes, kinds=kinds)
    if complete:
        _refuse(contradictions(rules), given, origin)
    return rules


def checked_rules(rules: Rules, origin: Origin, *, complete: bool = True) -> Rules:
    """Return a copy of rules that Python code made, each of which was read as one of a file is; see `rules_over`."""
    if not isinstance(rules, Rules):
        raise TargetError(f"{origin}: rules must be Rules, not {type(rules).__name__}")
    for key, given, known in (("kinds", rules.kinds, KINDS), ("islands", rules.islands, tuple(ISLANDS))):
        for name in given:
            if name not in known:
                raise origin.error((key,), f"is {name!r}{did_you_mean(str(name), known)}", known)
    try:
        mapping = rules_mapping(rules)
    except (AttributeError, TypeError, ValueError) as error:
        raise TargetError(f"{origin}: a rule is of a type that it cannot have: {error}") from None
    return rules_over(Rules(), mapping, origin, complete=complete)


def constraints_over(base: Constraints, given: Mapping[str, Any], origin: Origin) -> Constraints:
    """Return constraints of which a mapping such as TOML's `[constraints]` replaces some; see `rules_over`."""
    found_ = replace(base, **_table(schema.CONSTRAINTS, given, (), origin))
    _refuse(contradictions_of_constraints(found_), given, origin)
    return found_


def rules_mapping(rules: Rules) -> dict[str, Any]:
    """Return the mapping that `rules_over` reads as these rules, without rules that are the default."""
    default = Rules()
    result: dict[str, Any] = {}
    for name, value in schema.RULES.items():
        if getattr(rules, name) != getattr(default, name):
            result[name] = value.write(getattr(rules, name))
    for name, keys in schema.PARTS.items():
        part, usual = getattr(rules, name), getattr(default, name)
        result[name] = {k: v.write(getattr(part, k)) for k, v in keys.items() if getattr(part, k) != getattr(usual, k)}
    for kind in KINDS:
        result[kind] = {**_modes_mapping(rules.kinds.get(kind, Modes())), **result.get(kind, {})}
    for name in _NAMED:
        result[name] = {key: _modes_mapping(modes) for key, modes in getattr(rules, name).items()}
    return {key: value for key, value in result.items() if value != {}}


def constraints_mapping(constraints: Constraints) -> dict[str, Any]:
    """Return the mapping that `constraints_over` reads as these constraints, without those that allow everything."""
    return {name: schema.CONSTRAINTS[name].write(getattr(constraints, name)) for name in constraints.differences}


def _refuse(found_: Iterator[Contradiction], given: Mapping[str, Any], origin: Origin) -> None:
    """Raise TargetError for the first contradiction, at the last of its keys that a mapping has."""
    for one in found_:
        own = [path for path in one.keys if _has(given, path)]
        raise origin.error((own or list(one.keys))[-1], f"contradicts other keys: {one.reason}")


def _has(given: Mapping[str, Any], path: Path) -> bool:
    for key in path:
        if not isinstance(given, Mapping) or key not in given:
            return False
        given = given[key]
    return True


def _modes_mapping(modes: Modes) -> dict[str, str]:
    return {name: str(value) for name in schema.MODES if (value := getattr(modes, name)) is not None}


def _named_modes(base: Mapping[str, Modes], key: str, given: Any, origin: Origin) -> dict[str, Modes]:
    if not isinstance(given, Mapping):
        raise origin.error((key,), f"is {found(given)}", ["a table of tables, one for each name"])
    result = dict(base)
    for name, table in given.items():
        if key == "operators":
            try:
                operator_name(name)
            except ValueNotAllowedError as error:
                raise origin.error((key, str(name)), f"is not an operator of ONNX: {error}") from None
        modes = table if isinstance(table, Modes) else Modes(**_table(schema.MODES, table, (key, str(name)), origin))
        result[str(name)] = modes.over(result.get(str(name), Modes()))
    return result


def _table(keys: schema.Keys, given: Any, path: Path, origin: Origin) -> dict[str, Any]:
    """Return the values of a table, each read by its key."""
    if not isinstance(given, Mapping):
        raise origin.error(path, f"is {found(given)}", [f"a table with {', '.join(keys)}"])
    result = {}
    for key, value in given.items():
        if key not in keys:
            raise origin.error((*path, str(key)), f"does not exist{did_you_mean(str(key), keys)}", list(keys))
        result[str(key)] = _read(keys[key], value, (*path, str(key)), origin)
    return result


def _read(kind: Value, value: Any, path: Path, origin: Origin) -> Any:
    try:
        return kind.read(value)
    except ValueNotAllowedError as error:
        raise origin.error(path, f"is {error}", [kind.allowed]) from None


def read_top(given: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Return the values of the keys of a file outside of its tables."""
    return _table(schema.TOP, given, (), origin)


def _nested(given: Any, origin: Origin) -> dict[str, Any]:
    """Return a mapping without dots in its keys.

    The name of a tensor may hold dots itself: it ends before the last one.
    """
    if not isinstance(given, Mapping):
        raise TargetError(
            f"{origin}: rules are a mapping such as {{'rounding': 'half_up'}}, not {type(given).__name__}"
        )
    result: dict[str, Any] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            raise TargetError(f"{origin}: rules are given by name, not by {key!r}")
        first, _, rest = key.partition(".")
        name, _, last = rest.rpartition(".")
        path = (first, name, last) if name and first in _NAMED else (first, rest) if rest else (first,)
        _put(result, path, value)
    return result


def _put(result: dict[str, Any], path: Path, value: Any) -> None:
    """Set a value in nested dictionaries, and keep what else they hold."""
    first, *rest = path
    if rest:
        inner = result.get(first)
        result[first] = inner = dict(inner) if isinstance(inner, Mapping) else {}
        _put(inner, tuple(rest), value)
    elif isinstance(value, Mapping) and isinstance(result.get(first), dict):
        for key, one in value.items():
            _put(result[first], (key,), one)
    else:
        result[first] = dict(value) if isinstance(value, Mapping) else value
