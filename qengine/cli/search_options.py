"""Options of `qengine search` that no other command has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from qengine.analysis.inspection.costs import all_costs
from qengine.analysis.search import SearchOptions
from qengine.cli import parsing
from qengine.errors import OptionError
from qengine.metrics.declaration import all_metrics

_GOAL = "Goal"
_COSTS = ", ".join(map(str, all_costs()))


@dataclass(frozen=True, kw_only=True)
class GoalOptions:
    """Goal, choices and budget of a search."""

    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help=f"Metric that must not get worse: {', '.join(map(str, all_metrics()))}. Default: top1 where there are "
            "labels, agreement of other classes, psnr of images, else sqnr.",
            rich_help_panel=_GOAL,
        ),
    ] = None
    max_drop: Annotated[
        str | None,
        typer.Option(
            metavar="DROP",
            help="How much worse than float32 the model may be: percentage points (1%), dB (0.5dB), or 1% of dB. "
            "Default: 1 percentage point or 1 dB.",
            rich_help_panel=_GOAL,
        ),
    ] = None
    least: Annotated[
        float | None,
        typer.Option(
            "--min",
            metavar="FIGURE",
            help="In place of --max-drop: the figure that is good enough, a share (0.97) or dB.",
            rich_help_panel=_GOAL,
        ),
    ] = None
    hold_out: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Hold this share of the samples (0.2) out of the search, and measure the result on them.",
            rich_help_panel=_GOAL,
        ),
    ] = None
    cost: Annotated[
        str,
        typer.Option(metavar="COST", help=f"Cost to minimize: {_COSTS}.", rich_help_panel=_GOAL),
    ] = "weights"
    bits: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Word lengths to choose from: 4,6-8. Default: 2-8,16, or those of them that the target has.",
            rich_help_panel=_GOAL,
        ),
    ] = None
    weight_bits: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Word lengths of constants. Default: --bits.", rich_help_panel=_GOAL),
    ] = None
    activation_bits: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Word lengths of inputs and activations. Default: --bits.", rich_help_panel=_GOAL
        ),
    ] = None
    max_runs: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Measure N assignments of word lengths at most.", rich_help_panel=_GOAL),
    ] = 500
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="End after this time, with the best assignment so far.",
            rich_help_panel=_GOAL,
        ),
    ] = None

    def search_options(self, keep: Path | None) -> SearchOptions:
        """Return the options of a search that keeps what it measures in a file; None for no file.

        Raises
        ------
        OptionError
            If two options contradict each other, or one has another form.
        """
        if self.max_drop is not None and self.least is not None:
            raise OptionError("--max-drop and --min both say what is good enough: give one of them")
        typed: dict[str, Any] = {
            **vars(self),
            "bits": parsing.some_widths("--bits", self.bits),
            "weight_bits": parsing.some_widths("--weight-bits", self.weight_bits),
            "activation_bits": parsing.some_widths("--activation-bits", self.activation_bits),
        }
        return SearchOptions(**typed, keep=keep)
