"""Options of a run in fixed point: formats and arithmetic."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from qengine.cli import parsing
from qengine.cli.options.general import LimitOptions
from qengine.cli.panels import FIXED_POINT
from qengine.errors import FormatError
from qengine.model.steps import ISLANDS
from qengine.qformat import Overflow, QFormat, Rounding
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
            metavar="FORMAT",
            help="Format of every activation, such as Q4.3 or UQ0.8. Without formats, typed or the model's own: "
            "float32, which has no codes to write or compare.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    weight_qformat: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format of every constant. Default: the word length of --qformat, and for each constant the most "
            "fraction bits with which nothing saturates.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    formats: Formats = None
    per_channel: Annotated[
        bool,
        typer.Option(
            "--per-channel/--per-tensor",
            help="Give weights that --formats does not name a format per output channel, or one.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = False

    @property
    def named_formats(self) -> str:
        """The formats of a run in fixed point, in a few words."""
        file = self.formats.name if self.formats else None
        return " + ".join(word for word in (self.qformat, file) if word) or "the model's own formats"


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """The device that is computed for."""

    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Compute as a device does, within its formats: a name that `qengine targets` lists, or a TOML file. "
            "Other options win over it.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RoundingOptions:
    """Rules, rounding and overflow; None for those of the target, or the default."""

    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A single rule, by kind, operator or tensor: mean.rounding=trunc, operators.Gemm.rounding=half_up, "
            "tensors.conv1.overflow=wrap, accumulator.bits=20. See docs/how-to/targets.md. Repeatable.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    rounding: Annotated[
        str | None,
        typer.Option(
            metavar="ROUNDING",
            help=f"{', '.join(Rounding)}. Default: the target's, or half_even.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    overflow: Annotated[
        str | None,
        typer.Option(
            metavar="OVERFLOW",
            help=f"{', '.join(Overflow)}. Default: the target's, or saturate.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None

    def rules(self) -> dict[str, Any] | None:
        """Return the rules of --rule by their keys; None without any.

        Raises
        ------
        QEngineError
            If a rule has another form, is not allowed, or is given twice.
        """
        return parsing.rules("--rule", self.rule) if self.rule else None

    def typed(self) -> dict[str, Any]:
        """Return the options that were typed, as keywords of `SessionOptions`."""
        given = {name: value for name, value in vars(self).items() if value is not None and name != "rule"}
        return given if self.rule is None else given | {"rules": self.rules()}


@dataclass(frozen=True, kw_only=True)
class ArithmeticOptions(RoundingOptions, TargetOptions):
    """Rules, rounding, overflow and accumulators; None for those of the target, or the default."""

    accumulator_bits: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=64,
            metavar="BITS",
            help="Keep the low bits of every sum of products. Default: all.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    islands: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help=f"Compute these in float32 instead of integers: {', '.join(ISLANDS)}. Default: none.",
            rich_help_panel=FIXED_POINT,
        ),
    ] = None
    strict: Strict = False


def _warn_of_sign(text: str | None) -> None:
    """Warn where a format has 9 bits: one who counts the sign among the integer bits, as ARM does, means 8."""
    with suppress(FormatError):
        fmt = None if text is None else QFormat.parse(text)
        if fmt is not None and fmt.signed and fmt.bits == 9 and fmt.integer_bits > 0:
            meant = QFormat(fmt.integer_bits - 1, fmt.fraction_bits)
            logging.getLogger("qengine").warning(
                "%s has 9 bits, with the sign; where m counts the sign (ARM), it is %s here", fmt, meant
            )


@dataclass(frozen=True, kw_only=True)
class FixedPointOptions(ArithmeticOptions, _FormatOptions):
    """Options of a run in fixed point, as typed: fields of `SessionOptions`, None where it has the default."""

    def session_options(self, limits: LimitOptions) -> SessionOptions:
        """Return the options of a session that runs in this way, within limits."""
        for text in (self.qformat, self.weight_qformat):
            _warn_of_sign(text)
        return SessionOptions(**self.typed(), **vars(limits))

    def record(self) -> dict[str, Any]:
        """Return the options for a JSON object: "formats_file" is --formats, and "rules" has every --rule."""
        given = {"formats_file" if name == "formats" else name: value for name, value in vars(self).items()}
        return {name: value for name, value in given.items() if name != "rule"} | {"rules": self.rules()}
