"""Files of targets: TOML with the keys of `schema`, read strictly and written back.

A file may say `extends = "NAME"`: it then starts from the rules and constraints of a bundled target, or of the file of
a path relative to it, and replaces single keys. Lists (`notes`, `sources`, `functions`, ...) are replaced whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qengine.errors import TargetError
from qengine.input_files import read_input
from qengine.near_files import missing_file
from qengine.targets import schema
from qengine.targets.key_lines import key_lines
from qengine.targets.origin import Origin

_POSITION = re.compile(r"(?P<reason>.*) \(at (?P<where>line \d+, column \d+|end of document)\)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MAX_BYTES = 1_000_000


def read_table(path: Path, kind: str = "target file") -> tuple[dict[str, Any], Origin]:
    """Return the content of a TOML file, and the origin that names its lines.

    Raises
    ------
    TargetError
        If the file cannot be read or is not TOML.
    """
    import tomllib  # seldom needed

    origin = f"{kind} {path}"
    try:
        content = read_input(path)
        if len(content) > _MAX_BYTES:
            raise TargetError(f"{origin}: {len(content):,} bytes; allowed: {_MAX_BYTES:,}")
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        text += "" if text.endswith("\n") else "\n"  # the last line has a number in messages, too
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _POSITION.fullmatch(str(error))
        where, reason = (match["where"], match["reason"]) if match else ("", str(error))
        raise TargetError(f"{origin}, {where}: {reason}" if where else f"{origin}: {reason}") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        near = missing_file(path) if isinstance(error, FileNotFoundError) else ""
        raise TargetError(f"{origin}: {reason}{near}") from None
    return table, Origin(origin, lines=key_lines(text))


def write_table(table: Mapping[str, Any]) -> str:
    """Return TOML that `read_table` reads as a mapping."""
    return "\n".join(_lines(table, ())).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    own = {key: value for key, value in table.items() if key not in inner}
    lines = ["", f"[{'.'.join(map(_key, path))}]"] if path and (own or not inner) else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in own.items()]
    for key, value in inner.items():
        lines += _lines(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        one_line = f"[{', '.join(map(_value, value))}]"
        return one_line if len(one_line) <= 100 else "[\n" + "".join(f"    {_value(one)},\n" for one in value) + "]"
    # A string of JSON is one of TOML, but for DEL and for characters outside of the basic plane.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def known_tables() -> tuple[str, ...]:
    """Return the keys and tables that a file may have."""
    return (*schema.TOP, "rules", "constraints")
