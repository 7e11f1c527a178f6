"""Options of the choice of formats from data."""

from dataclasses import dataclass
from typing import Annotated

import typer

from qengine.cli.options.fixed_point import TargetOptions
from qengine.cli.panels import CHOICE
from qengine.errors import OptionError
from qengine.quantization.calibration import AUTO, CalibrationOptions, Method


@dataclass(frozen=True, kw_only=True)
class _WordLengthOptions:
    bits: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=16,
            metavar="BITS",
            help="Word length. Default: 8, or the next that the target has.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    weight_bits: Annotated[
        int | None,
        typer.Option(
            min=2, max=16, metavar="BITS", help="Word length of constants. Default: --bits.", rich_help_panel=CHOICE
        ),
    ] = None
    activation_bits: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=16,
            metavar="BITS",
            help="Word length of inputs and activations. Default: --bits.",
            rich_help_panel=CHOICE,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """The method that chooses fraction bits, and whether weights have one format or one per output channel."""

    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help=f"{', '.join(Method)}: least squared error, nothing saturates, or almost nothing.",
            rich_help_panel=CHOICE,
        ),
    ] = "mse"
    per_channel: Annotated[
        bool,
        typer.Option(
            "--per-channel/--per-tensor",
            help="Give weights a format per output channel, or one.",
            rich_help_panel=CHOICE,
        ),
    ] = True


@dataclass(frozen=True, kw_only=True)
class RangeOptions:
    """The range of values that an activation's format must hold."""

    percentile: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="With --method percentile: per cent of the values that must not saturate. Default: 99.99.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    headroom: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="Hold activations that many times as large as those in the data, such as 1.25.",
            rich_help_panel=CHOICE,
        ),
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class TensorRuleOptions:
    """Rules that hold for every method: which tensors are unsigned, and which share a format."""

    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned/--signed",
            help="Give UQm.n to tensors that are never negative, such as after a Relu, or to none.",
            rich_help_panel=CHOICE,
        ),
    ] = True
    tie_joins: Annotated[
        bool,
        typer.Option(
            "--tie-joins",
            metavar="",
            help="Give the inputs and outputs of Concat, Where, Max and Min one format.",
            rich_help_panel=CHOICE,
        ),
    ] = False
    output_bits: Annotated[
        str,
        typer.Option(
            metavar="BITS",
            help="Word length of the outputs; auto: as the rest (in a search: as it chooses), but 16 where a part or "
            "channel would lose its signal.",
            rich_help_panel=CHOICE,
        ),
    ] = AUTO

    @property
    def output_word_length(self) -> int | str:
        """The word length of the outputs as `CalibrationOptions` takes it.

        Raises
        ------
        OptionError
            If it has another value.
        """
        if self.output_bits == AUTO:
            return AUTO
        if self.output_bits not in map(str, range(2, 17)):
            raise OptionError(f"--output-bits is {AUTO} or a word length of 2 to 16, not '{self.output_bits}'")
        return int(self.output_bits)


@dataclass(frozen=True, kw_only=True)
class FormatChoiceOptions(TensorRuleOptions, RangeOptions, MethodOptions, _WordLengthOptions, TargetOptions):
    """Options of the choice of formats, as typed: fields of `CalibrationOptions`, None for the default."""

    def calibration_options(self) -> CalibrationOptions:
        """Return the options of a calibration.

        Raises
        ------
        OptionError
            If they do not go together, or one has a value that is not allowed.
        """
        if self.percentile is not None and self.method != Method.PERCENTILE:
            raise OptionError("--percentile needs --method percentile")
        typed = {name: value for name, value in vars(self).items() if value is not None}
        return CalibrationOptions(**typed | {"output_bits": self.output_word_length})
