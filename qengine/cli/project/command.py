"""Commands that take what was not typed from the project file, and the options that say which file that is."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from qengine.cli.help_text import Command
from qengine.cli.panels import RUN
from qengine.cli.project.find import project_path
from qengine.cli.project.origin import remember
from qengine.cli.typed_words import checked_arguments

ProjectFile = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="FILE",
        show_default=False,
        help="Take what is not typed from this file. Default: qengine.toml, where the current folder has one.",
        rich_help_panel=RUN,
    ),
]
NoProject = Annotated[
    bool,
    typer.Option("--no-project", metavar="", help="Take nothing from a project file.", rich_help_panel=RUN),
]


def with_project(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function for Typer with the options of the project file, which `ProjectCommand` has read before."""

    def callback(*, project: ProjectFile = None, no_project: NoProject = False, **options: Any) -> Any:  # noqa: ARG001
        return command(**options)

    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (("project", None, ProjectFile), ("no_project", False, NoProject))
    ]
    parameters = [*signature(command).parameters.values(), *own]
    callback.__name__, callback.__doc__ = command.__name__, command.__doc__
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    callback.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return callback


class ProjectCommand(Command):
    """Command whose options have the defaults of the project file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line, with what the project file gives for those that are missing."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        typed, _, _ = self.make_parser(ctx).parse_args(args=list(checked_arguments(self.params, args)))
        before = ctx.find_root().params
        chosen = {name: typed.get(name) or before.get(name) for name in ("project", "no_project")}
        path = None if typed.get("help") else project_path(chosen)
        remember()
        if path is None:
            return super().parse_args(ctx, args)
        from qengine.cli.project.parse import parse  # reads TOML, which most command lines do not need

        return parse(path, self, ctx, args, super().parse_args)
