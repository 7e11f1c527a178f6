"""What must not get worse, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from qengine.analysis.sweep.measure import Measures, Task
from qengine.errors import OptionError


class Metric(StrEnum):
    """How good a model is on data; more is better."""

    TOP1 = "top1"
    """Share of the samples whose label has the highest score."""
    AGREEMENT = "agreement"
    """Share of the samples for which float32 names the same class."""
    PSNR = "psnr"
    """Of pixels against the target or, where there is none, against float32; in dB."""
    SQNR = "sqnr"
    """Against float32, in dB."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of samples, and not in dB."""
        return self in (Metric.TOP1, Metric.AGREEMENT)

    def of(self, measures: Measures) -> float | None:
        """Return the figure; None where the data does not have it."""
        found = {
            Metric.TOP1: measures.top1,
            Metric.AGREEMENT: measures.agreement,
            Metric.PSNR: measures.psnr_db,
            Metric.SQNR: measures.sqnr_db,
        }
        return found[self]


def metric_of(name: str | None, task: Task, *, has_labels: bool) -> Metric:
    """Return the metric of a name; by default the one that goes with what the outputs are.

    Raises
    ------
    OptionError
        If there is none of the name, or the data does not have it.
    """
    if name is None:
        if task is Task.CLASSES:
            return Metric.TOP1 if has_labels else Metric.AGREEMENT
        return Metric.PSNR if task is Task.IMAGES else Metric.SQNR
    if name not in list(Metric):
        raise OptionError(f"no metric is named '{name}'; there are {', '.join(Metric)}")
    metric = Metric(name)
    if metric.is_share and task is not Task.CLASSES:
        raise OptionError(f"{metric} needs an output with a row of scores for each sample, and there is none")
    if metric is Metric.TOP1 and not has_labels:
        raise OptionError("top1 needs labels, and the data has none: use --metric agreement")
    if metric is Metric.PSNR and task is not Task.IMAGES:
        raise OptionError("psnr needs an output of images, and there is none")
    return metric


@dataclass(frozen=True)
class Drop:
    """How much worse an answer may be.

    Attributes
    ----------
    amount : percentage points of a share; dB; or, where it is relative, per cent of dB.
    is_relative : whether it is in parts of the figure.
    """

    amount: float
    is_relative: bool = False

    @classmethod
    def parse(cls, given: float | str, metric: Metric) -> Drop:
        """Read a number, or text such as "1%" or "0.5dB".

        A number, and "1%" of a share of samples, are percentage points; of dB "1%" is relative.

        Raises
        ------
        OptionError
            If it is not one of those.
        """
        text = str(given).strip()
        unit = next((unit for unit in ("%", "dB") if text.endswith(unit)), "")
        try:
            amount = float(text.removesuffix(unit))
        except ValueError:
            amount = math.nan
        if not math.isfinite(amount) or amount < 0 or isinstance(given, bool) or (unit == "dB" and metric.is_share):
            example = "1% (a percentage point)" if metric.is_share else "0.5dB or 1%"
            raise OptionError(f"a drop of {metric} is a number such as {example}, not '{given}'")
        return cls(amount, unit == "%" and not metric.is_share)

    def below(self, reference: float, metric: Metric) -> float:
        """Return the least figure that is good enough."""
        if metric.is_share:
            return reference - self.amount / 100
        return reference * (1 - self.amount / 100) if self.is_relative else reference - self.amount
