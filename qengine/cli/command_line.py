"""A command line as files record it: options that were typed, and names of files without their folders."""

import shlex
from dataclasses import fields
from pathlib import PurePath
from typing import Any


def written_line(command: str, model: str, *given: Any) -> str:
    """Return the line of an export.

    Parameters
    ----------
    command
        Name of the command in its group.
    model
        Model as typed.
    given
        Groups of options, of which those are written that are not the defaults; lists are those of --shape.
    """
    words = ["qengine", "export", command, _plain(model)]
    for group in given:
        if group is None or isinstance(group, list):
            words += [word for text in group or () for word in ("--shape", text)]
            continue
        for field in fields(group):
            value = getattr(group, field.name)
            if value != field.default and field.name not in _UNWRITTEN:
                words += _option(field.name, value)
    return shlex.join(words)


_UNWRITTEN = {"verify"}
"""Options that change no file but the report on it."""


def _option(name: str, value: Any) -> list[str]:
    flag = {"inputs": "-i"}.get(name, f"--{name.replace('_', '-')}")
    if isinstance(value, bool):
        return [flag] if value else [flag.replace("per-channel", "per-tensor")]
    if isinstance(value, list):
        return [word for one in value for word in (flag, _assigned(str(one)))]
    return [flag, _plain(str(value))]


def _assigned(text: str) -> str:
    """Return NAME=VALUE with a file's name in place of its path."""
    name, equals, value = text.rpartition("=")
    return f"{name}{equals}{_plain(value)}" if equals else text


def _plain(text: str) -> str:
    return PurePath(text).name if "/" in text or "\\" in text else text
