"""The options of `qengine search` that no other command has."""

from dataclasses import dataclass
from typing import Annotated

import typer

from qengine.analysis.search import Metric

_GOAL = "What is looked for"

MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="M",
        help=f"What must not get worse: {', '.join(Metric)}. Default: top1 where there are labels, agreement of other "
        "classes, psnr of images, else sqnr.",
        rich_help_panel=_GOAL,
    ),
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        metavar="D",
        help="How much worse than float32 it may be: percentage points (1%), dB (0.5dB), or 1% of dB. Default: 1.",
        rich_help_panel=_GOAL,
    ),
]
Least = Annotated[
    float | None,
    typer.Option("--min", metavar="X", help="Instead: the figure itself, a share (0.97) or dB.", rich_help_panel=_GOAL),
]
HoldOut = Annotated[
    float | None,
    typer.Option(
        "--hold-out",
        metavar="SHARE",
        help="Leave this share of the samples (0.2) out of the search, and measure on them what was found.",
        rich_help_panel=_GOAL,
    ),
]
BitCost = Annotated[
    str,
    typer.Option(
        "--cost",
        metavar="C",
        help="What is to be small: memory of weights or of activations, or macs (times bits times bits).",
        rich_help_panel=_GOAL,
    ),
]
SearchBits = Annotated[
    str,
    typer.Option("--bits", metavar="LIST", help="Word lengths to choose from: 4,6-8.", rich_help_panel=_GOAL),
]
WeightBits = Annotated[
    str | None,
    typer.Option("--weight-bits", metavar="LIST", help="Those of constants, if others.", rich_help_panel=_GOAL),
]
ActivationBits = Annotated[
    str | None,
    typer.Option("--activation-bits", metavar="LIST", help="Those of all else, if others.", rich_help_panel=_GOAL),
]
MaxRuns = Annotated[
    int,
    typer.Option("--runs", min=1, metavar="N", help="Try so many word lengths of all at most.", rich_help_panel=_GOAL),
]
Budget = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Stop to try after so much time, and take the best so far.",
        rich_help_panel=_GOAL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class GoalOptions:
    """What is looked for, and how long."""

    metric: MetricName = None
    max_drop: MaxDrop = None
    least: Least = None
    hold_out: HoldOut = None
    cost: BitCost = "weights"
    bits: SearchBits = "2-8,16"
    weight_bits: WeightBits = None
    activation_bits: ActivationBits = None
    runs: MaxRuns = 500
    budget: Budget = None
