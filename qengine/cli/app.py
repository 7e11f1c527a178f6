"""The Typer application: all commands, or the one that is called."""

import ast
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from qengine import __version__
from qengine.cli.arguments import expanded
from qengine.cli.commands import COMMANDS, GROUPS, WITHOUT_PROJECT
from qengine.cli.help_text import Command, Group
from qengine.cli.project.command import NoProject, ProjectCommand, ProjectFile, with_project
from qengine.cli.project.find import without_project

_HELP = """Run ONNX networks in float32 or in exact Qm.n fixed point, and find the formats that are good enough.

qengine run srcnn --qformat Q4.3 -o out.png

qengine calibrate digits --bits 8 -o formats.json

qengine run digits --formats formats.json
"""


def application(words: Sequence[str]) -> typer.Typer:
    """Return the application for some words of a command line.

    Only the command that the first word names is imported: most commands import much that the others do not need. A
    list of all commands needs none of them, but their docstrings, which are read from the source.
    """
    words = without_project(words)
    word = words[0] if words else ""
    app = typer.Typer(
        name="qengine",
        cls=Group,
        help=_HELP,
        no_args_is_help=True,
        add_completion=word not in (*COMMANDS, *GROUPS),
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    found = _described if _only_lists(word) else _imported
    for name in _called(word):
        if name in GROUPS:
            app.add_typer(_group(name, words[1:2], found))
        else:
            app.command(name=name, cls=_class(name))(found(name, name))
    return app


def _only_lists(word: str) -> bool:
    """Return whether a command line wants the list of commands, or its first word names none of them."""
    return word in ("-h", "--help") or (word not in COMMANDS and word not in GROUPS and not word.startswith("-"))


def _imported(module: str, name: str) -> Callable[..., Any]:
    """Return the command of a module for Typer."""
    command = expanded(getattr(import_module(f"qengine.cli.{module}"), name))
    return command if name in WITHOUT_PROJECT else with_project(command)


def _class(name: str) -> type[Command]:
    """Return the class of a command."""
    return Command if name in WITHOUT_PROJECT else ProjectCommand


def _described(module: str, name: str) -> Callable[..., Any]:
    """Return a function for Typer that has the docstring of a command, and is never called."""
    spec = find_spec(f"qengine.cli.{module}")
    source = getattr(spec and spec.loader, "get_source", lambda _: None)(f"qengine.cli.{module}")
    if source is None:  # an installation without sources
        return _imported(module, name)

    def command() -> None: ...

    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)
    command.__doc__ = ast.get_docstring(next(functions)) or ""
    return command


def _called(word: str) -> tuple[str, ...]:
    """Return the commands and groups that the first word of a command line may need."""
    if word == "--version":
        return ()
    return (word,) if word in COMMANDS or word in GROUPS else (*COMMANDS, *GROUPS)


def _group(name: str, words: Sequence[str], found: Callable[[str, str], Callable[..., Any]]) -> typer.Typer:
    """Return a group of commands, which `found` gives by the name of their module and their own."""
    help_text, commands = GROUPS[name]
    group = typer.Typer(name=name, cls=Group, help=help_text, no_args_is_help=True, rich_markup_mode=None)
    group.callback()(lambda: None)  # a group of one command keeps the command's name
    for command in words if words and words[0] in commands else commands:
        group.command(name=command, cls=_class(command))(found(name, command))
    return group


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"qengine {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    project: ProjectFile = None,
    no_project: NoProject = False,
) -> None:
    """Run ONNX networks in float32 or in exact Qm.n fixed point."""
