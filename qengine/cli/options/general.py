"""Options of the model, the kernels, the limits of a run, and the output."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qengine.cli.panels import INPUTS, RUN
from qengine.data.zoo import ENTRIES
from qengine.kernels.isa import BEST_FIRST
from qengine.memory import MAX_ELEMENTS
from qengine.runtime.options import MAX_ITERATIONS

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="An .onnx file, or a bundled model, which comes with an input: "
        + "; ".join(f"{entry.name} ({entry.summary})" for entry in ENTRIES.values()),
    ),
]
FormatsOut = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FILE", help="Save the formats as a file for --formats.", rich_help_panel=INPUTS
    ),
]
Fetch = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TENSOR",
        help="Use this tensor, which may be inside the model, in place of the outputs. Repeatable.",
        rich_help_panel=INPUTS,
    ),
]
MaxElements = Annotated[
    int, typer.Option(min=1, metavar="N", help="Refuse larger tensors and images.", rich_help_panel=RUN)
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Refuse runs that need more memory at once, such as 512M or 2G. Default: 80 % of the machine's or the "
        "container's.",
        rich_help_panel=RUN,
    ),
]
MaxIterations = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Refuse runs with more iterations of Loop, Scan and SequenceMap, all together.",
        rich_help_panel=RUN,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print one JSON object on standard output.", rich_help_panel=RUN),
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", metavar="", help="Show no progress on standard error.", rich_help_panel=RUN),
]


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Limits of a run."""

    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Number of threads. Default: one for each core. Never changes a bit in fixed point.",
            rich_help_panel=RUN,
        ),
    ] = None
    max_elements: MaxElements = MAX_ELEMENTS
    max_memory: MaxMemory = None
    max_iterations: MaxIterations = MAX_ITERATIONS


@dataclass(frozen=True, kw_only=True)
class _IsaOptions:
    isa: Annotated[
        str | None,
        typer.Option(
            metavar="ISA",
            help=f"Kernels: {', '.join(isa.name for isa in BEST_FIRST)} or reference. Default: the best of this CPU.",
            rich_help_panel=RUN,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class KernelOptions(LimitOptions, _IsaOptions):
    """Kernels that a run uses, and its limits."""


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """Operators that a file registers before the command starts, and the form of what the command prints."""

    operators: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="Run a Python file first that registers operators (qengine.register_operator). Repeatable.",
            rich_help_panel=RUN,
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False
