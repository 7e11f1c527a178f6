"""`qengine doctor`: what a bug report needs."""

from typing import Annotated

import typer

from qengine.analysis.environment import environment
from qengine.cli import options
from qengine.cli.answer import Answer
from qengine.cli.output.doctor import as_json, as_tables
from qengine.cli.output.progress import status
from qengine.cli.panels import RUN

NoCheck = Annotated[
    bool,
    typer.Option("--no-check", metavar="", help="Run no model: only look.", rich_help_panel=RUN),
]

_UNSOUND = 1


def doctor(*, no_check: NoCheck = False, json: options.Json = False) -> str:
    """Show what a bug report needs, and check that kernels are right.

    qengine doctor

    qengine doctor --json > environment.json

    Kernels are right where they give the bits of the reference.
    """
    with status("checking kernels", quiet=False):
        found = environment(checks=not no_check)
    text = (as_json if json else as_tables)(found)
    return text if found.is_sound else Answer(text, _UNSOUND)
