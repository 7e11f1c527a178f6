"""The Typer application: all commands."""

from typing import Annotated

import typer

from qengine import __version__
from qengine.cli.arguments import expanded
from qengine.cli.bench import bench
from qengine.cli.calibrate import calibrate
from qengine.cli.inspect import inspect
from qengine.cli.quantize import quantize
from qengine.cli.run import run
from qengine.cli.search import search
from qengine.cli.sweep import sweep

app = typer.Typer(
    name="qengine",
    help="Run ONNX networks in float32 or in exact Qm.n fixed point.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, inspect, calibrate, quantize, sweep, search, bench):
    app.command(name=command.__name__)(expanded(command))


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"qengine {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run ONNX networks in float32 or in exact Qm.n fixed point."""
