"""Reading of a project file: TOML whose every key, type and value is checked, with errors that name the line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qengine.cli import parsing
from qengine.cli.project.keys import GROUPED_TABLES, KEYS, PREPROCESSING, TABLES, Key, PathKind
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError, ProjectError, TargetError, did_you_mean
from qengine.near_files import missing_file
from qengine.targets.origin import Origin
from qengine.targets.toml import read_table
from qengine.targets.values import ValueNotAllowedError, found


@dataclass(frozen=True)
class Project:
    """A project file as it was read.

    Attributes
    ----------
    path : path of the file, as it was found or typed.
    values : value of each key that the file has, by its keys from the top; paths are from the current folder.
    options : table of each command that has one, by the name of the command.
    origin : origin that names the lines of the file.
    """

    path: str
    values: Mapping[tuple[str, ...], Any]
    options: Mapping[str, Mapping[str, Any]]
    origin: Origin

    def get(self, name: str) -> Any:
        """Return the value of a key of the file itself; None where it has none."""
        return self.values.get((name,))

    def error(self, path: tuple[str, ...], reason: str) -> ProjectError:
        """Return the error about a key."""
        return ProjectError(str(self.origin.error(path, reason)))

    def located(self, text: str) -> str:
        """Return the path of a text that is relative to the file."""
        return located(self.path, text)

    def check_path(self, key: Key) -> None:
        """Raise ProjectError where a key names a file or folder that is not there."""
        value = self.values[key.path]
        if key.path_kind is not PathKind.READ or not key.names_path(value) or os.path.exists(value):  # noqa: PTH110
            return
        named = ", and nothing bundled has that name" if key.bundled() else ""
        near = missing_file(value, key.bundled())
        raise self.error(key.path, f"is {found(value)}, and there is no such file or folder{named}{near}")


def read_project(path: str) -> Project:
    """Return the content of a project file.

    Raises
    ------
    ProjectError
        If the file cannot be read, is not TOML, or has a key, a type or a value that is not allowed.
    """
    try:
        table, named = read_table(Path(path), "project file")
        origin = Origin(path, lines=named.lines)
        values = _values(table, "", path, origin)
        values |= _values(_preprocessing(table, origin), PREPROCESSING, path, origin)
        options = _tables(table, origin)
        _check_preprocessing(values, origin)
    except TargetError as error:
        raise ProjectError(str(error)) from None
    return Project(path, values, options, origin)


def located(project: str, text: str) -> str:
    """Return the path from the current folder of a path that is relative to a project file."""
    return os.path.join(os.path.dirname(project), os.path.expanduser(text))  # noqa: PTH111, PTH118, PTH120


def _values(table: Mapping[str, Any], name: str, path: str, origin: Origin) -> dict[tuple[str, ...], Any]:
    """Return the values of the keys of one table."""
    keys = {key.name: key for key in KEYS if key.table == name}
    tables = () if name else (PREPROCESSING, *TABLES, *GROUPED_TABLES)
    result = {}
    for given, value in table.items():
        if given in tables:
            continue
        if given not in keys:
            raise _unknown((name, given) if name else (given,), [*keys, *tables], origin)
        key = keys[given]
        try:
            read = key.value.read(value)
        except ValueNotAllowedError as error:
            raise origin.error(key.path, f"is {error}; allowed: {key.value.allowed}") from None
        result[key.path] = _placed(key, read, path)
    return result


def _placed(key: Key, value: Any, path: str) -> Any:
    """Return a value with the path of a place in it."""
    if key.name == "inputs":
        return {name: _placed_input(text, path) for name, text in value.items()}
    return located(path, value) if key.path_kind is not PathKind.NONE and key.names_path(value) else value


def _placed_input(text: str, path: str) -> str:
    """Return an input's text with the path of a file in it; numbers and truth values have neither dots nor slashes."""
    try:
        parsing.numbers("", text)
    except OptionError:
        return located(path, text) if "." in text or "/" in text else text
    return text


def _unknown(path: tuple[str, ...], known: list[str], origin: Origin) -> TargetError:
    """Return the error about a key that does not exist, which may be one of another table."""
    name = path[-1]
    elsewhere = [key for key in KEYS if key.name == name and key.path != path]
    if elsewhere:
        table = elsewhere[0].table
        return origin.error(path, f"stands in the table [{table}]" if table else "stands above the tables")
    return origin.error(path, f"does not exist{did_you_mean(name.replace('-', '_'), known)}", known)


def _preprocessing(table: Mapping[str, Any], origin: Origin) -> Mapping[str, Any]:
    return _mapping(table.get(PREPROCESSING, {}), (PREPROCESSING,), origin)


def _mapping(value: Any, path: tuple[str, ...], origin: Origin) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise origin.error(path, f"is {found(value)}; allowed: a table, [{'.'.join(path)}]")
    return value


def _tables(table: Mapping[str, Any], origin: Origin) -> dict[str, Mapping[str, Any]]:
    """Return the tables of commands, whose keys `defaults` checks when the command is called."""
    result = {name: _mapping(table[name], (name,), origin) for name in TABLES if name in table}
    for group, commands in GROUPED_TABLES.items():
        for name, value in _mapping(table.get(group, {}), (group,), origin).items():
            if name not in commands:
                raise origin.error((group, name), f"does not exist{did_you_mean(name, commands)}", commands)
            result[f"{group} {name}"] = _mapping(value, (group, name), origin)
    return result


def _check_preprocessing(values: Mapping[tuple[str, ...], Any], origin: Origin) -> None:
    """Raise TargetError where values of [preprocessing] contradict each other."""
    given = {path[-1]: value for path, value in values.items() if path[0] == PREPROCESSING}
    try:
        Preprocessing.of(
            mean=parsing.some_numbers("", given.get("mean")),
            std=parsing.some_numbers("", given.get("std")),
            scale=parsing.some_numbers("", given.get("scale")),
            resize=parsing.some_lengths("", given.get("resize")),
            crop=parsing.some_lengths("", given.get("crop")),
        )
    except OptionError as error:
        name, _, reason = str(error).replace("--", "").partition(" ")
        if name in given and not reason.startswith("and "):
            raise origin.error((PREPROCESSING, name), f"is not allowed: {name} {reason}") from None
        raise origin.error((PREPROCESSING,), f"is not allowed: {name} {reason}") from None
