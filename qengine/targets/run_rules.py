"""The rules of a run: those of its target, with the options that were given laid over them.

Options are laid over the target in an order, the most general first: `rounding`, `overflow`, `accumulator_bits` and
`islands` stand for every result, and replace what the target says of kinds, operators and tensors too; `rules` then
names single ones. What an option has replaced is said in words, so that nobody takes the bits of a run for a device's
that are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from qengine.errors import OptionError, did_you_mean
from qengine.model.rules import KINDS, Modes, Rules
from qengine.qformat import Overflow, Rounding
from qengine.targets import schema
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import checked_rules, rules_over
from qengine.targets.target import Target
from qengine.targets.toml import read_table

RulesOption = Rules | Mapping[str, Any]
"""Rules as a session has them: all of them, or a mapping of single ones such as TOML's `[rules]`."""

_Named = TypeVar("_Named", bound=str)
_MAX_TOLD = 6


@dataclass(frozen=True)
class Shorthands:
    """Options that stand for a rule of every result; None for the target's.

    Attributes
    ----------
    rounding, overflow : modes of all results; constants keep theirs.
    accumulator_bits : width of accumulators.
    islands : families of operators that are computed in float32.
    """

    rounding: Rounding | None = None
    overflow: Overflow | None = None
    accumulator_bits: int | None = None
    islands: frozenset[str] | None = None

    def over(self, rules: Rules) -> Rules:
        """Return rules in which these options replace what is less general too."""
        modes = Modes(self.rounding, self.overflow)
        if modes != Modes():
            kinds = {kind: one if kind == "constants" else _without(one, modes) for kind, one in rules.kinds.items()}
            rules = replace(
                rules,
                rounding=self.rounding or rules.rounding,
                overflow=self.overflow or rules.overflow,
                kinds=_set(kinds),
                operators=_set({name: _without(one, modes) for name, one in rules.operators.items()}),
                tensors=_set({name: _without(one, modes) for name, one in rules.tensors.items()}),
            )
        accumulator = rules.accumulator
        if self.accumulator_bits is not None:
            accumulator = replace(accumulator, bits=self.accumulator_bits)
        if self.rounding not in (None, Rounding.HALF_UP, Rounding.FLOOR):  # they have another constant, or none
            accumulator = replace(accumulator, rounds_inside=False)
        islands = rules.islands if self.islands is None else self.islands
        return replace(rules, accumulator=accumulator, islands=islands)


def read_rules(given: Any) -> RulesOption | None:
    """Return the `rules` of a session's options: a file is read, and a mapping copied, once.

    Raises
    ------
    TargetError
        If a file cannot be read, or a rule is not allowed or contradicts others.
    OptionError
        If they are neither `Rules`, a mapping nor a path.
    """
    if given is None:
        return None
    if isinstance(given, Rules):
        return checked_rules(given, Origin("rules"), complete=False)
    if isinstance(given, str | os.PathLike):
        table, origin = read_table(Path(given), "rules file")
        for key in table:
            if key != "rules":
                raise origin.error((key,), f"does not exist{did_you_mean(key, ['rules'])}", ["[rules]"])
        found = table.get("rules", {})
        rules_over(Rules(), found, Origin(origin.name, ("rules",), origin.lines), complete=False)
        return dict(found)
    if not isinstance(given, Mapping):
        raise OptionError(
            f"rules must be Rules, a mapping such as {{'mean.rounding': 'trunc'}} or a path, not {given!r}"
        )
    rules_over(Rules(), given, Origin("rules"), complete=False)
    return deepcopy(dict(given))


def rules_of_run(target: Target | None, shorthands: Shorthands, rules: RulesOption | None) -> Rules:
    """Return the rules of a run.

    Raises
    ------
    TargetError
        If the rules that result contradict each other.
    """
    if isinstance(rules, Rules):
        return rules_over(shorthands.over(rules), {}, Origin("rules"))
    base = shorthands.over(Rules() if target is None else target.rules)
    return rules_over(base, rules or {}, Origin("rules" if target is None else f"rules over target {target.name}"))


def replaced(target: Target, rules: Rules) -> tuple[str, ...]:
    """Return the rules of a target that a run does not have, in words such as "mean.rounding trunc, not half_even"."""
    before, now = dict(_flat(target.rules)), dict(_flat(rules))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    words = [f"{key} {now.get(key, 'unset')}, not {before.get(key, 'unset')}" for key in changed]
    return tuple(words[:_MAX_TOLD]) + ((f"and {len(words) - _MAX_TOLD} more",) if len(words) > _MAX_TOLD else ())


def _flat(rules: Rules) -> Iterator[tuple[str, str]]:
    """Yield every rule by its key with dots."""
    for name, value in schema.RULES.items():
        written = value.write(getattr(rules, name))
        yield name, _word(written)
    for name, keys in schema.PARTS.items():
        for key, value in keys.items():
            written = value.write(getattr(getattr(rules, name), key))
            yield f"{name}.{key}", _word(written)
    kinds = {kind: rules.kinds.get(kind, Modes()) for kind in KINDS}
    named = {f"{name}.{key}": modes for name in ("operators", "tensors") for key, modes in getattr(rules, name).items()}
    for name, modes in [*kinds.items(), *named.items()]:
        for field in fields(modes):
            if getattr(modes, field.name) is not None:
                yield f"{name}.{field.name}", str(getattr(modes, field.name))


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without(modes: Modes, replaced_by: Modes) -> Modes:
    """Return modes without those that others replace."""
    return Modes(None if replaced_by.rounding else modes.rounding, None if replaced_by.overflow else modes.overflow)


def _set(modes: dict[_Named, Modes]) -> dict[_Named, Modes]:
    return {name: one for name, one in modes.items() if one != Modes()}
