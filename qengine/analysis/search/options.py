"""The options of a search that neither the calibration nor the session has: the goal, the choices and the budget."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from qengine.analysis.inspection.costs import find_cost
from qengine.checks import check_whole_number
from qengine.data.datasets import Labels
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError
from qengine.metrics.declaration import metric_named
from qengine.metrics.drop import check_drop
from qengine.runtime.options import SessionKeywords, SessionOptions

BITS = (2, 3, 4, 5, 6, 7, 8, 16)
"""Word lengths to choose from by default."""


class SearchKeywords(SessionKeywords, total=False):
    """The fields of `SearchOptions` and `SessionOptions` as keyword arguments."""

    metric: str | None
    max_drop: float | str | None
    least: float | None
    cost: str
    bits: Sequence[int] | None
    weight_bits: Sequence[int] | None
    activation_bits: Sequence[int] | None
    preprocessing: Preprocessing | None
    labels: Labels | None
    batch: int | None
    limit: int | None
    hold_out: float | None
    sensitivity_samples: int
    max_runs: int
    seconds: float | None
    keep: str | os.PathLike[str] | None


@dataclass(frozen=True)
class SearchOptions:
    """Goal, choices and budget of a search.

    Attributes
    ----------
    metric
        Name of the metric that must not get worse, such as "sqnr"; None for the first that the data has: top1 where
        there are labels, else agreement of classes, psnr of images, or sqnr.
    max_drop
        Allowed loss against float32: a number of percentage points or dB, or text such as "1%" or
        "0.5dB". Where the figure of float32 is infinite, such as sqnr, the longest words stand for float32. None, and
        no `least`: the default drop of the metric, such as 1 percentage point or 1 dB.
    least
        Figure that is good enough, a share or dB, in place of `max_drop`; the largest one where lower is better.
    cost
        Name of the cost to minimize, such as "weights". A tensor that costs nothing has its longest word.
    bits
        Word lengths to choose from, 2 to 16. None for 2 to 8 and 16 or, with a target, for those that it has.
    weight_bits, activation_bits
        Word lengths of constants, and of inputs and activations, if they differ. A single word length keeps a kind at
        that length.
    preprocessing
        Conversion of pixels to numbers; None for that of the data, of a bundled set, and otherwise 0..255.
    labels, batch, limit
        See `qengine.open_dataset`. Without a batch, some samples are fed together where the model takes any number.
    hold_out
        Share of the samples, spread evenly, that the search does not see: the result is measured on them in the end,
        see `SearchResult.held_out`. None to search on all.
    sensitivity_samples
        Number of samples on which the sensitivity of tensors is measured; the model itself is measured on all.
    max_runs
        Number of assignments that are measured at most.
    seconds
        Time after which the search ends, with the best assignment so far; None for no limit. The longest words are
        measured in any case.
    keep
        Path of a file in which every measurement is kept as it is made. The same call with the same file does not
        repeat it: a search that was ended continues. None for no file.

    Raises
    ------
    OptionError
        If an option has no meaning.
    """

    metric: str | None = None
    max_drop: float | str | None = None
    least: float | None = None
    cost: str = "weights"
    bits: Sequence[int] | None = None
    weight_bits: Sequence[int] | None = None
    activation_bits: Sequence[int] | None = None
    preprocessing: Preprocessing | None = None
    labels: Labels | None = None
    batch: int | None = None
    limit: int | None = None
    hold_out: float | None = None
    sensitivity_samples: int = 128
    max_runs: int = 500
    seconds: float | None = None
    keep: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and self.least is not None:
            raise OptionError("max_drop and least both say what is good enough: give one of them")
        if self.least is not None and not math.isfinite(self.least):
            raise OptionError(f"the figure that is good enough is {self.least}; a finite number is needed")
        find_cost(self.cost)
        metric = None if self.metric is None else metric_named(self.metric)
        if self.max_drop is not None:
            check_drop(self.max_drop, metric)
        for name in ("bits", "weight_bits", "activation_bits"):
            if (widths := getattr(self, name)) is not None:
                checked = tuple(check_whole_number(name, width, 2, 16) for width in widths)
                object.__setattr__(self, name, checked)
        check_whole_number("max_runs", self.max_runs, 1)
        check_whole_number("sensitivity_samples", self.sensitivity_samples, 1)


def check_session_options(options: SessionOptions) -> None:
    """Raise OptionError where an option of the session is one that the search chooses, or that the calibration has."""
    for name in ("qformat", "weight_qformat", "formats"):
        if getattr(options, name) is not None:
            raise OptionError(f"{name} has no meaning in a search, which chooses the formats")
    if options.per_channel:
        raise OptionError("per_channel is an option of the calibration: give CalibrationOptions(per_channel=True)")


def default_widths(allowed: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the word lengths to choose from by default among those that a target has; None as it has all."""
    if allowed is None:
        return BITS
    return tuple(bits for bits in BITS if bits in allowed) or tuple(sorted(allowed))
