"""Origin: the file or option in which rules were given, so that a message can name the file and the line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qengine.errors import TargetError
from qengine.targets.key_lines import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Origin:
    """Origin of rules or constraints.

    Attributes
    ----------
    name : file, or option, in words.
    table : keys before those of the mapping, such as ("rules",).
    lines : line of each key of the file; empty where there is none.
    """

    name: str
    table: Path = ()
    lines: Mapping[Path, int] = field(default_factory=dict)

    def error(self, path: Path, reason: str, allowed: Sequence[str] = ()) -> TargetError:
        """Return the error about a key.

        Parameters
        ----------
        path
            Keys from the mapping to the key.
        reason
            Rest of a sentence that begins with the key.
        allowed
            Values or keys that are allowed, if there is such a list.
        """
        full = (*self.table, *path)
        line = next((self.lines[full[:n]] for n in range(len(full), 0, -1) if full[:n] in self.lines), None)
        where = self.name if line is None else f"{self.name}, line {line}"
        key = ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in full)
        rest = f"; allowed: {', '.join(allowed)}" if allowed else ""
        return TargetError(f"{where}: {key} {reason}{rest}" if key else f"{where} {reason}{rest}")

    def __str__(self) -> str:
        return self.name
