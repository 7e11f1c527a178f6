"""The option that makes a command fail where a figure is not good enough."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from qengine.cli.answer import Answer
from qengine.cli.panels import RUN
from qengine.metrics.thresholds import Shortfall, Threshold

_FAILED = 1


@dataclass(frozen=True, kw_only=True)
class ThresholdOptions:
    """Figures below which a command ends with status 1."""

    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="End with status 1 where a figure is worse: top1=97%, psnr=30dB; or loses more than this against "
            "float32: top1=-0.5%. Repeatable.",
            rich_help_panel=RUN,
        ),
    ] = None

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return what was typed.

        Raises
        ------
        OptionError
            If it has another form, or there is no such metric.
        """
        return tuple(Threshold.parse(text) for text in self.fail_under or ())


def answer(text: str, found: Sequence[Shortfall]) -> str:
    """Return the text of a command, with status 1 and a line on standard error for each figure that falls short."""
    for one in found:
        print(f"qengine: {one} (--fail-under {one.threshold.typed})", file=sys.stderr)  # noqa: T201
    return Answer(text, _FAILED) if found else text
