"""Options of a run in fixed point: formats and arithmetic."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from qengine.cli.options.general import LimitOptions
from qengine.cli.options.panels import FIXED_POINT
from qengine.model.steps import ISLANDS
from qengine.qformat import Overflow, Rounding
from qengine.runtime.options import SessionOptions

Formats = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='JSON file of formats by tensor name, such as {"relu1": "UQ1.7"}. They take precedence over --qformat.',
        rich_help_panel=FIXED_POINT,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", metavar="", help="Refuse operators that would compute in float32.", rich_help_panel=FIXED_POINT
    ),
]


@dataclass(frozen=True, kw_only=True)
class _FormatOptions:
    qformat: Annotated[
        str | None,
        typer.Option(
            metavar="F",
            help="Format of every activation, such as Q4.3 or UQ0.8. Without one: float32.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    weight_qformat: Annotated[
        str | None,
        typer.Option(
            metavar="F",
            help="Format of every constant. Default: the word length of --qformat, and for each constant the most "
            "fraction bits with which nothing saturates.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    formats: Formats = None
    per_channel: Annotated[
        bool,
        typer.Option(
            "--per-channel", metavar="", help="Give weights a format per output channel.", rich_help_panel=FIXED_POINT
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ArithmeticOptions:
    """Rounding, overflow and accumulators; None for the default."""

    rounding: Annotated[
        str | None,
        typer.Option(metavar="R", help=f"{', '.join(Rounding)}. Default: half_even.", rich_help_panel=FIXED_POINT),
    ] = None
    overflow: Annotated[
        str | None,
        typer.Option(metavar="O", help=f"{', '.join(Overflow)}. Default: saturate.", rich_help_panel=FIXED_POINT),
    ] = None
    accumulator_bits: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=64,
            metavar="A",
            help="Keep the low A bits of every sum of products. Default: all.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    islands: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help=f"Compute these in float32 instead of integers: {', '.join(ISLANDS)}. Default: none.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    strict: Strict = False


@dataclass(frozen=True, kw_only=True)
class FixedPointOptions(ArithmeticOptions, _FormatOptions):
    """Options of a run in fixed point, as typed: fields of `SessionOptions`, None where it has the default."""

    def session_options(self, limits: LimitOptions) -> SessionOptions:
        """Return the options of a session that runs in this way, within limits."""
        typed = {name: value for name, value in vars(self).items() if value is not None}
        return SessionOptions(**typed, **vars(limits))

    def record(self) -> dict[str, Any]:
        """Return the options for a JSON object, one key per option; the path of the formats file is "formats_file"."""
        return {"formats_file" if name == "formats" else name: value for name, value in vars(self).items()}
