"""Choice of what a command takes from a project file: the defaults of the options that were not typed.

What is typed goes first, and what it takes the place of is left out with it: other data has other labels, a typed
--qformat is not overridden by the formats of the file. A table of the command, such as [sweep], goes before the keys
of the file. A typed model that is not the project's takes neither formats nor names of results, which are the model's
own; a typed bundled model, or a pack, takes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from qengine.cli.project import rules
from qengine.cli.project.file import Project
from qengine.cli.project.keys import KEYS, OUTPUTS, PREPROCESSING, Key, PathKind
from qengine.cli.project.options import Option, table_values
from qengine.data.zoo import ENTRIES
from qengine.errors import ProjectError


@dataclass
class Taken:
    """Defaults that a command takes from a project file.

    Attributes
    ----------
    values : values by parameter of the command.
    keys : keys of the file that each parameter comes from.
    words : words for the command line: inputs, which are added to those that were typed.
    notes : lines for the user, of what was left out for a reason that is not on the command line.
    folders : folders to make before the command writes to them.
    """

    values: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def put(self, option: str, path: tuple[str, ...], value: Any) -> None:
        """Take a value for a parameter."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        self.values[option], self.keys[option] = str(value) if is_whole else value, path

    def drop(self, *options: str) -> None:
        """Leave out what was taken for some parameters."""
        for option in options:
            self.values.pop(option, None)
            self.keys.pop(option, None)

    def key_names(self) -> list[str]:
        """Return the names of what was taken, each once."""
        names = [path[0] if path[0] == PREPROCESSING else ".".join(path) for path in self.keys.values()]
        return list(dict.fromkeys([*names, *(["inputs"] if self.words else [])]))


def taken(project: Project, command: str, options: Mapping[str, Option], typed: Mapping[str, Any]) -> Taken:
    """Return what a command takes from a project file.

    Parameters
    ----------
    project
        The file.
    command
        Name of the command, after that of its group.
    options
        Parameters of the command by name.
    typed
        Values of the parameters that were typed.

    Raises
    ------
    ProjectError
        If what the command takes is not there, or its table has something that the command has not.
    """
    result = Taken()
    model = rules.typed_model(command, typed)
    own = _is_own(project, command, model)
    if own is None:
        return result
    table = table_values(project, command, options)
    for key, option in _keys(project, command, options):
        is_typed = model is not None if key.name == "model" else option in typed and key.name != "inputs"
        if not is_typed and (own or key.path_kind is not PathKind.MADE):
            result.put(option, key.path, project.values[key.path])
    if own:
        _put_output(result, project, command, options, typed)
    for option, (path, value) in table.items():
        if option not in typed:
            result.put(option, path, value)
    given = {**typed, **{option: value for option, (_, value) in table.items()}}
    rules.apply(result, project, command, typed, given)
    for key in KEYS:
        if key.path in result.keys.values():
            project.check_path(key)
    _put_inputs(result, typed)
    return result


def _keys(project: Project, command: str, options: Mapping[str, Option]) -> Iterator[tuple[Key, str]]:
    """Yield the keys of a file that a command has an option for, and the option."""
    for key in KEYS:
        option = key.option(command)
        if (
            key.path in project.values
            and option is not None
            and option in options
            and key.path_kind is not PathKind.FOLDER
        ):
            yield key, option


def _is_own(project: Project, command: str, model: str | None) -> bool | None:
    """Return whether a command is about the project's model, or another; None where the file does not matter to it."""
    mine = project.get("model")
    if model is None:
        return True if mine is not None or command not in rules.MODEL_IS_OPTIONAL else None
    if model == mine or _is_same_file(model, mine):
        return True
    if model in ENTRIES or (command == "compare" and PurePath(model).suffix.lower() != ".onnx"):
        return None
    return False if model else None


def _is_same_file(one: str, other: str | None) -> bool:
    try:
        return other is not None and os.path.samefile(one, other)  # noqa: PTH121 - names that are too long
    except (OSError, ValueError):
        return False


def _put_output(
    result: Taken, project: Project, command: str, options: Mapping[str, Option], typed: Mapping[str, Any]
) -> None:
    """Take the name of what a command writes in the output folder."""
    folder, model = project.get("output"), project.get("model")
    if folder is None or command not in OUTPUTS or "out" not in options or "out" in typed:
        return
    stem = "model" if model is None else PurePath(model).stem
    result.put("out", ("output",), os.path.join(folder, OUTPUTS[command].format(model=stem)))  # noqa: PTH118
    result.folders.append(folder)


def _put_inputs(result: Taken, typed: Mapping[str, Any]) -> None:
    """Turn inputs into words of the command line, without those that were typed."""
    inputs = result.values.get("inputs", {})
    result.drop("inputs")
    for name, text in inputs.items():
        if not any(one.startswith(f"{name}=") for one in typed.get("inputs") or ()):
            result.words += ["-i", f"{name}={text}"]


def make_folders(result: Taken) -> None:
    """Make the folders of what a command writes.

    Raises
    ------
    ProjectError
        If one cannot be made.
    """
    for folder in result.folders:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(f"cannot make the folder {folder}: {error.strerror or error}") from None
