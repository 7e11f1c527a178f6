"""Parameters of a command as a project file sees them, and the tables of a file that hold them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qengine.cli.project.file import Project
from qengine.cli.project.keys import REFUSED
from qengine.errors import did_you_mean
from qengine.targets.values import found


@dataclass(frozen=True)
class Option:
    """A parameter of a command.

    Attributes
    ----------
    flag : long option without dashes; "" for an argument.
    is_switch : whether the option takes no value.
    is_repeatable : whether the option may be given several times.
    is_path : whether the value is the path of a file or folder.
    """

    flag: str
    is_switch: bool
    is_repeatable: bool
    is_path: bool


def options_of(parameters: Iterable[Any]) -> dict[str, Option]:
    """Return the parameters of a command of Typer by name."""
    return {parameter.name: _option(parameter) for parameter in parameters}


def _option(parameter: Any) -> Option:
    flags = [flag[2:] for flag in parameter.opts if flag.startswith("--")]
    # Typer keeps the type of Python in newer versions, and converts it to one of Click in older ones.
    descriptor = getattr(parameter, "type_descriptor", None)
    is_path = descriptor.annotation is Path if descriptor else getattr(parameter.type, "name", "") == "path"
    return Option(
        flags[0] if flags else "",
        bool(getattr(parameter, "is_flag", False)),
        bool(getattr(parameter, "multiple", False)),
        is_path,
    )


def table_values(
    project: Project, command: str, options: Mapping[str, Option]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return the values of the table of a command by parameter, each with its keys from the top of the file.

    Raises
    ------
    ProjectError
        If the command has no option of the name of a key, or the option takes other values.
    """
    result = {}
    flags = {option.flag: name for name, option in options.items() if option.flag and option.flag not in REFUSED}
    for key, value in project.options.get(command, {}).items():
        path = (*command.split(), key)
        flag = key.replace("_", "-")
        if flag in REFUSED:
            raise project.error(path, f"cannot stand in a project file: type --{flag}")
        if flag not in flags:
            near = did_you_mean(flag, flags) or f"; 'qengine {command} -h' lists them"
            raise project.error(path, f"is not an option of 'qengine {command}'{near}")
        name = flags[flag]
        result[name] = (path, _value(project, path, options[name], value))
    return result


def _value(project: Project, path: tuple[str, ...], option: Option, value: Any) -> Any:
    """Return the value of an option as Typer takes it."""
    several = value if isinstance(value, list) else [value]
    if option.is_switch:
        if not isinstance(value, bool):
            raise project.error(path, f"is {found(value)}; allowed: true or false")
        return value
    if not several or not all(isinstance(one, int | float | str) and not isinstance(one, bool) for one in several):
        raise project.error(path, f"is {found(value)}; allowed: a number, text, or a list of them")
    texts = [project.located(str(one)) if option.is_path else str(one) for one in several]
    return texts if option.is_repeatable else ",".join(texts)
