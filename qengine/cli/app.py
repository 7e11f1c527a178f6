"""The Typer application: all commands, or the one that is called."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from qengine import __version__
from qengine.cli.arguments import expanded

COMMANDS = ("run", "inspect", "calibrate", "quantize", "sweep", "search", "bench", "compare", "targets")
"""The commands in the order of the help; each is the function of its name in the module of its name."""

GROUPS = {"export": ("Write what a device or its team needs.", ("vectors",))}
"""Groups of commands: the help, and the names of the functions in the module of the group's name."""


def application(words: Sequence[str]) -> typer.Typer:
    """Return the application for some words of a command line.

    Only the command that the first word names is imported: most commands import much that the others do not need.
    """
    app = typer.Typer(
        name="qengine",
        help="Run ONNX networks in float32 or in exact Qm.n fixed point.",
        no_args_is_help=True,
        add_completion=not (words and words[0] in (*COMMANDS, *GROUPS)),
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    words = words or _completed()
    for name in _called(words[0] if words else ""):
        if name in GROUPS:
            app.add_typer(_group(name, words[1:2]))
        else:
            app.command(name=name)(expanded(getattr(import_module(f"qengine.cli.{name}"), name)))
    return app


def _completed() -> Sequence[str]:
    """Return the words that a shell completes, which it gives in the environment; none where it does not."""
    if "_QENGINE_COMPLETE" not in os.environ:
        return ()
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()[1:]


def _called(word: str) -> tuple[str, ...]:
    """Return the commands and groups that the first word of a command line may need."""
    if word == "--version":
        return ()
    return (word,) if word in COMMANDS or word in GROUPS else (*COMMANDS, *GROUPS)


def _group(name: str, words: Sequence[str]) -> typer.Typer:
    """Return a group of commands."""
    help_text, commands = GROUPS[name]
    group = typer.Typer(name=name, help=help_text, no_args_is_help=True, rich_markup_mode="rich")
    group.callback()(lambda: None)  # a group of one command keeps the command's name
    module = import_module(f"qengine.cli.{name}")
    for command in words if words and words[0] in commands else commands:
        group.command(name=command)(expanded(getattr(module, command)))
    return group


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"qengine {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run ONNX networks in float32 or in exact Qm.n fixed point."""
