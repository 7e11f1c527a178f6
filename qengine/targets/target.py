"""Target: a device by name, with its rules, its constraints, and their sources."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from qengine.atomic_files import write_text
from qengine.errors import TargetError, did_you_mean, printable
from qengine.model.rules import Rules
from qengine.near_files import missing_file
from qengine.targets.constraints import Constraints
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import (
    checked_rules,
    constraints_mapping,
    constraints_over,
    read_top,
    rules_mapping,
    rules_over,
)
from qengine.targets.toml import known_tables, read_table, write_table

BUNDLED = Path(__file__).parent / "bundled"
"""Folder of the files of bundled targets."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, repr=False)
class Target:
    """A device: how it computes, and what it can be asked to compute.

    Attributes
    ----------
    name : name, without blanks.
    description : the device in one line.
    status : "verified" where results of these rules were compared with the device's own code, else "unverified".
    checked : comparison that was made, in words.
    sources : documents and files in which the rules were read.
    rules : the arithmetic.
    constraints : the formats and operators that the device has.
    notes : computations of the device that the rules cannot say.

    Raises
    ------
    TargetError
        If a rule is not allowed, or the rules contradict each other.

    Examples
    --------
    >>> from qengine import Target
    >>> target = Target.named("cmsis-nn-q7")
    >>> str(target.rules.rounding), str(target.rules.kinds["mean"].rounding), target.rules.accumulator.bits
    ('half_up', 'trunc', 32)
    >>> target.constraints.activation_bits
    (8,)
    """

    name: str
    description: str = ""
    status: str = "unverified"
    checked: str = ""
    sources: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    constraints: Constraints = field(default_factory=Constraints)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        text = f": {self.description}" if self.description else ""
        return printable(f"<Target {self.name}, {self.status}{text}>")

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", checked_rules(self.rules, Origin(f"target {self.name}")))

    @classmethod
    def named(cls, name: str) -> Target:
        """Return a bundled target.

        Raises
        ------
        TargetError
            If there is none of the name.
        """
        if name not in names():
            near = did_you_mean(str(name), names()) or missing_file(str(name))
            near = near or f"; there are {', '.join(names())}"
            raise TargetError(f"no target is named {name!r}{near}")
        return _read(BUNDLED / f"{name}.toml", ())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Target:
        """Return the target of a file.

        Raises
        ------
        TargetError
            If the file cannot be read, or has a key, a value or a contradiction that is not allowed; the message names
            the line and the key.
        """
        return _read(Path(path), ())

    @classmethod
    def of(cls, target: Target | str | os.PathLike[str]) -> Target:
        """Return a target unchanged, or that of a bundled name or of a path.

        A name that is both is the bundled target; give "./NAME" for the file.
        """
        if isinstance(target, Target):
            return target
        if isinstance(target, str) and target in names():
            return cls.named(target)
        if isinstance(target, os.PathLike) or (isinstance(target, str) and _is_path(target)):
            return cls.read(target)
        if isinstance(target, str):
            return cls.named(target)
        raise TargetError(f"target must be a name, a path or a Target, not {target!r}")

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Target:
        """Return the target of a mapping that `record` returned, or that is written as a file is.

        Raises
        ------
        TargetError
            If it has a key, a value or a contradiction that is not allowed.
        """
        return _of_table(record, Origin("target"), Target("default"))

    def record(self) -> dict[str, Any]:
        """Return the target as the mapping that its file holds, complete: without `extends`."""
        found: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "status": self.status,
            "checked": self.checked,
            "sources": list(self.sources),
            "notes": list(self.notes),
            "rules": rules_mapping(self.rules),
            "constraints": constraints_mapping(self.constraints),
        }
        return {key: value for key, value in found.items() if value not in ("", [], {})}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file of the target, which `read` reads.

        Raises
        ------
        OptionError
            If it cannot be written.
        """
        write_text(path, write_table(self.record()))


@lru_cache(1)
def names() -> tuple[str, ...]:
    """Return the names of the bundled targets."""
    return tuple(sorted(path.stem for path in BUNDLED.glob("*.toml")))


def _is_path(text: str) -> bool:
    return text.endswith(".toml") or os.sep in text or "/" in text or os.path.lexists(text)


def _read(path: Path, before: tuple[Path, ...]) -> Target:
    """Read a file; `before` are the files that extend it."""
    table, origin = read_table(path)
    own = read_top({key: value for key, value in table.items() if key == "extends"}, origin)
    base = _extended(own.get("extends"), path, before, origin)
    return _of_table({"name": path.stem, **table}, origin, base)


def _of_table(table: Mapping[str, Any], origin: Origin, base: Target) -> Target:
    """Return the target of a table over one that it extends."""
    unknown = [key for key in table if key not in known_tables()]
    if unknown:
        near = did_you_mean(str(unknown[0]), known_tables())
        raise origin.error((str(unknown[0]),), f"does not exist{near}", known_tables())
    parts = {key: table.get(key, {}) for key in ("rules", "constraints")}
    for key, part in parts.items():
        if not isinstance(part, Mapping):
            raise origin.error((key,), "is not a table: begin it with a line", [f"[{key}]"])
    own = read_top({key: value for key, value in table.items() if key not in parts}, origin)
    own.pop("extends", None)
    if not _NAME.fullmatch(own.get("name", "")):
        raise origin.error(("name",), f"is '{own.get('name', '')}'", ["letters, digits, and . _ + - between them"])
    in_rules, in_constraints = (Origin(origin.name, (key,), origin.lines) for key in parts)
    found = Target(
        **{"sources": base.sources, "notes": base.notes, **own},
        rules=rules_over(base.rules, parts["rules"], in_rules),
        constraints=constraints_over(base.constraints, parts["constraints"], in_constraints),
    )
    if found.status == "verified" and not found.checked:
        raise origin.error(("status",), "is verified: say in `checked` what was compared with what")
    return found


def _extended(name: str | None, path: Path, before: tuple[Path, ...], origin: Origin) -> Target:
    """Return the target that a file extends, or one without rules."""
    if name is None:
        return Target("default")
    chain = (*before, path.resolve())
    other = BUNDLED / f"{name}.toml" if name in names() else path.parent / name
    if name not in names() and not _is_path(name) and not other.exists():
        near = did_you_mean(name, names())
        raise origin.error(("extends",), f"names '{name}', and no target has that name{near}", names())
    if other.resolve() in chain:
        raise origin.error(("extends",), f"names '{name}', which extends this file")
    return _read(other, chain)
