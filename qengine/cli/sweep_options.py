"""The options of `qengine sweep` that no other command has: of most, lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qengine.analysis.sweep.plots import Cost
from qengine.qformat import Overflow, Rounding
from qengine.quantization.calibration import Method
from qengine.quantization.correction import describe_recipes

_INPUT = "Inputs and outputs"
_GRID = "Grid"
_RUN = "Run"

Folder = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        metavar="DIR",
        show_default=False,
        help="The folder of results. What is there already is not computed again.",
        rich_help_panel=_INPUT,
    ),
]
Bits = Annotated[
    str | None,
    typer.Option(
        "--bits",
        metavar="LIST",
        help="Word lengths, such as 4,6-8. Default: 2-16, or none where formats are given.",
        rich_help_panel=_GRID,
    ),
]
WeightBits = Annotated[
    str | None,
    typer.Option("--weight-bits", metavar="LIST", help="Word lengths of constants alone.", rich_help_panel=_GRID),
]
ActivationBits = Annotated[
    str | None,
    typer.Option("--activation-bits", metavar="LIST", help="Word lengths of all else alone.", rich_help_panel=_GRID),
]
Methods = Annotated[
    str,
    typer.Option(
        "--method", metavar="LIST", help=f"How formats are chosen: {', '.join(Method)}.", rich_help_panel=_GRID
    ),
]
PerChannel = Annotated[
    str,
    typer.Option(
        "--per-channel",
        metavar="off|on|both",
        help="Weights get a format for each output channel.",
        rich_help_panel=_GRID,
    ),
]
Roundings = Annotated[
    str, typer.Option("--rounding", metavar="LIST", help=f"{', '.join(Rounding)}.", rich_help_panel=_GRID)
]
Overflows = Annotated[
    str, typer.Option("--overflow", metavar="LIST", help=f"{', '.join(Overflow)}.", rich_help_panel=_GRID)
]
AccumulatorBits = Annotated[
    str | None,
    typer.Option(
        "--accumulator-bits",
        metavar="LIST",
        help="Keep so many low bits of every sum of products; all keeps all, the default: 16,24,all.",
        rich_help_panel=_GRID,
    ),
]
Recipes = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="LIST",
        help=f"How the model is corrected: {describe_recipes()}.",
        rich_help_panel=_GRID,
    ),
]
QFormats = Annotated[
    str | None,
    typer.Option("--qformat", metavar="LIST", help="Formats of all activations: Q4.3,UQ0.8.", rich_help_panel=_GRID),
]
Formats = Annotated[
    list[Path] | None,
    typer.Option("--formats", metavar="FILE", help="A formats file. Repeatable.", rich_help_panel=_GRID),
]
ParetoCost = Annotated[
    str,
    typer.Option(
        "--cost",
        metavar="C",
        help=f"What the Pareto plot has on its horizontal axis: {', '.join(Cost)}.",
        rich_help_panel=_RUN,
    ),
]
NoSsim = Annotated[bool, typer.Option("--no-ssim", metavar="", help="Leave out SSIM of images.", rich_help_panel=_RUN)]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", metavar="", help="Compute failed points again.", rich_help_panel=_RUN)
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Worker processes. Default: 1, or as many as there are cores with --scheduler local.",
        rich_help_panel=_RUN,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="A Dask cluster: tcp://HOST:PORT, or local for one made on the spot.",
        rich_help_panel=_RUN,
    ),
]


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Lists of what the points of a sweep have."""

    bits: Bits = None
    weight_bits: WeightBits = None
    activation_bits: ActivationBits = None
    method: Methods = "mse"
    per_channel: PerChannel = "off"
    qformat: QFormats = None
    formats: Formats = None
    rounding: Roundings = "half_even"
    overflow: Overflows = "saturate"
    accumulator_bits: AccumulatorBits = None
    recipe: Recipes = "fold"


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """What is computed beside the grid, and by whom."""

    no_ssim: NoSsim = False
    cost: ParetoCost = Cost.WEIGHT_MEMORY.value
    retry_failed: RetryFailed = False
    jobs: Jobs = None
    scheduler: Scheduler = None
