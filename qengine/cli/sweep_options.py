"""Options of `qengine sweep` that no other command has; most are lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qengine.analysis.inspection.costs import all_costs
from qengine.cli.panels import INPUTS, RUN
from qengine.metrics.declaration import all_metrics
from qengine.qformat import Overflow, Rounding
from qengine.quantization.calibration import Method
from qengine.quantization.correction import describe_recipes

_GRID = "Grid"

Folder = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        metavar="FOLDER",
        show_default=False,
        help="Folder of the results. Points that it holds already are not computed again.",
        rich_help_panel=INPUTS,
    ),
]


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Lists whose product is the grid of a sweep."""

    bits: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Word lengths, such as 4,6-8. Default: 2-16, or none where formats are given.",
            rich_help_panel=_GRID,
        ),
    ] = None
    weight_bits: Annotated[
        str | None, typer.Option(metavar="LIST", help="Word lengths of constants alone.", rich_help_panel=_GRID)
    ] = None
    activation_bits: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Word lengths of inputs and activations alone.", rich_help_panel=_GRID),
    ] = None
    method: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help=f"How formats are chosen: {', '.join(Method)}. Default: mse, and max for targets that wrap.",
            rich_help_panel=_GRID,
        ),
    ] = None
    per_channel: Annotated[
        str | None,
        typer.Option(
            metavar="off|on|both",
            help="Give weights a format per output channel. Default: on, and off with --qformat.",
            rich_help_panel=_GRID,
        ),
    ] = None
    qformat: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Formats of all activations: Q4.3,UQ0.8.", rich_help_panel=_GRID),
    ] = None
    formats: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A formats file. Repeatable.", rich_help_panel=_GRID)
    ] = None
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            "--target",
            metavar="LIST",
            help="Devices, side by side: names that `qengine targets` lists or TOML files, with commas between, or "
            "all. Each has the word lengths that it can.",
            rich_help_panel=_GRID,
        ),
    ] = None
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A single rule of all points, such as mean.rounding=trunc. Repeatable.",
            rich_help_panel=_GRID,
        ),
    ] = None
    rounding: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help=f"{', '.join(Rounding)}. Default: half_even, or the targets'.",
            rich_help_panel=_GRID,
        ),
    ] = None
    overflow: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help=f"{', '.join(Overflow)}. Default: saturate, or the targets'.", rich_help_panel=_GRID
        ),
    ] = None
    accumulator_bits: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Numbers of low bits to keep of every sum of products, such as 16,24,all. Default: all.",
            rich_help_panel=_GRID,
        ),
    ] = None
    recipe: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help=f"How the model is corrected: {describe_recipes()}.",
            rich_help_panel=_GRID,
        ),
    ] = "fold"


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Metrics, plots and workers of a sweep."""

    ssim: Annotated[
        bool, typer.Option("--ssim/--no-ssim", help="Measure SSIM of images, which takes time.", rich_help_panel=RUN)
    ] = True
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help=f"Metric of the plots: {', '.join(map(str, all_metrics()))}. Default: the first that the data has.",
            rich_help_panel=RUN,
        ),
    ] = None
    cost: Annotated[
        str,
        typer.Option(
            metavar="COST",
            help=f"Cost on the horizontal axis of the Pareto plot: {', '.join(map(str, all_costs()))}.",
            rich_help_panel=RUN,
        ),
    ] = "weights"
    plots: Annotated[
        bool,
        typer.Option("--plots/--no-plots", help="Draw plots, where matplotlib is installed.", rich_help_panel=RUN),
    ] = True
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", metavar="", help="Compute failed points again.", rich_help_panel=RUN),
    ] = False
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Worker processes. Default: 1, or as many as there are cores with --scheduler local.",
            rich_help_panel=RUN,
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Dask cluster: tcp://HOST:PORT, or local to start one on this machine.",
            rich_help_panel=RUN,
        ),
    ] = None
