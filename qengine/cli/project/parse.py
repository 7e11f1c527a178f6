"""Parsing of a command line whose missing words come from a project file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qengine.cli.project.defaults import Taken, make_folders, taken
from qengine.cli.project.file import read_project
from qengine.cli.project.options import options_of
from qengine.cli.project.origin import remember
from qengine.cli.warnings_shown import write_line
from qengine.errors import printable

Parse = Callable[[Any, list[str]], list[str]]


def parse(path: str, command: Any, ctx: Any, args: list[str], parse_args: Parse) -> list[str]:
    """Parse the words of a command line with the defaults of a project file, and tell what was taken.

    Parameters
    ----------
    path
        Path of the file.
    command, ctx
        The command of Typer, and its context, whose `default_map` is set.
    args
        The words.
    parse_args
        Function that parses words in a context.

    Raises
    ------
    QEngineError
        If the file is not valid, or what it gives does not fit the command.
    """
    typed = typed_values(command.make_parser(ctx).parse_args(args=list(args))[0])
    name = " ".join(ctx.command_path.split()[1:])
    project = read_project(path)
    found = taken(project, name, options_of(command.get_params(ctx)), typed)
    words = [*found.words, *_with_arguments(name, args, found, typed)]
    ctx.default_map = found.values
    try:
        rest = parse_args(ctx, words)
    except Exception as error:
        parameter = getattr(getattr(error, "param", None), "name", None)
        describe = getattr(error, "format_message", None)
        if describe is None or parameter not in found.keys:
            raise
        raise project.error(found.keys[parameter], f"is not what the option takes: {describe()}") from None
    remember(path, found.keys, found.key_names())
    make_folders(found)
    _tell(path, found, name)
    return rest


def typed_values(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed: a parser has another value than a text, a number or a list where nothing was."""
    return {
        name: value
        for name, value in parsed.items()
        if isinstance(value, str | int) or (isinstance(value, list | tuple) and value)
    }


def _with_arguments(name: str, args: list[str], found: Taken, typed: Mapping[str, Any]) -> list[str]:
    """Return the words with the model of the project, where arguments stand around it."""
    if name == "targets":
        model = found.values.pop("words", None)  # after the word check
        return args if model is None else [*args, _plain(model)]
    if name == "compare" and "reference" in typed and "reference" in found.values:  # what was typed is the dump
        return [_plain(found.values.pop("reference")), *args]
    return args


def _plain(path: str) -> str:
    """Return a path that is not mistaken for an option."""
    return f"./{path}" if path.startswith("-") else path


def _tell(path: str, found: Taken, command: str) -> None:
    """Write one line on what was taken to standard error."""
    lines = list(found.notes)
    if names := found.key_names():
        lines.append(f"{path}: {', '.join(names)}")
        if command == "run" and "data" in found.values:
            lines[-1] += f"; the samples of {found.values['data']} are run, and one input with -i NAME=VALUE"
    for line in lines:
        write_line(printable(line))
