"""Thresholds: the worst figure of a metric that a check accepts, such as top1=97% or psnr=-0.5dB.

Text that begins with a minus is a loss against float32: top1=-0.5% allows half a percentage point, psnr=-0.5dB half a
decibel less than float32 has, and psnr=-1% a hundredth less. Everything else is the figure itself: top1=0.97 and
top1=97% are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qengine.errors import OptionError
from qengine.metrics.declaration import Metric, Reference, Unit, metric_named
from qengine.metrics.drop import Drop, is_enough


@dataclass(frozen=True)
class Threshold:
    """The worst figure of a metric that is accepted.

    Attributes
    ----------
    metric : metric of the figure.
    text : threshold as it was given.
    least : figure; None for a loss against float32.
    drop : loss against float32; None for a figure.
    """

    metric: Metric
    text: str
    least: float | None = None
    drop: Drop | None = None

    @property
    def typed(self) -> str:
        """The threshold as METRIC=VALUE."""
        return f"{self.metric}={self.text}"

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read METRIC=VALUE; see `of`."""
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise OptionError(f"a threshold is METRIC=VALUE, such as top1=0.97 or psnr=30dB, not '{text}'")
        return cls.of(name.strip(), value.strip())

    @classmethod
    def of(cls, name: str, value: float | str) -> Threshold:
        """Return the threshold of a metric.

        Parameters
        ----------
        name
            Name of the metric.
        value
            The worst figure, as a number or as text: 0.97 or "97%" of a share, 30 or "30dB" of decibels; or the loss
            against float32, as text that begins with a minus: "-0.5%", "-0.5dB".

        Raises
        ------
        OptionError
            If there is no such metric, or the value is not one of it.
        """
        metric, text = metric_named(name), str(value).strip()
        if isinstance(value, str) and text.startswith("-"):
            if metric.reference is Reference.FLOAT32:
                raise OptionError(
                    f"{metric} compares with float32 already: give the figure, such as {_example(metric)}"
                )
            return cls(metric, text, drop=Drop.parse(text[1:], metric))
        return cls(metric, text, least=_figure(metric, value, text))

    def limit(self, float32: float | None) -> float | None:
        """Return the worst figure that is accepted; None for a loss where float32 has no figure."""
        if self.drop is None:
            return self.least
        return None if float32 is None else self.drop.limit(float32, self.metric)


@dataclass(frozen=True)
class Shortfall:
    """A figure that is worse than its threshold.

    Attributes
    ----------
    threshold : threshold that was asked.
    found : figure that was found; None for no number.
    limit : worst figure that is accepted; None where float32 has no figure to lose from.
    """

    threshold: Threshold
    found: float | None
    limit: float | None

    def __str__(self) -> str:
        metric, asked = self.threshold.metric, self.threshold.text
        words = "more" if not metric.higher_is_better else "less"
        if self.found is None or math.isnan(self.found):
            return f"{metric} has no figure, and {asked} is asked for"
        if self.limit is None:
            return f"float32 has no figure of {metric} to allow {asked} of"
        of_float32 = f" (float32 and {asked})" if self.threshold.drop is not None else ""
        found, limit = shown(metric, self.found), shown(metric, self.limit)
        return f"{metric} is {found}, {words} than the {limit}{of_float32} asked for"


def shortfalls(
    thresholds: Iterable[Threshold], figures: Mapping[str, float | None], float32: Mapping[str, float | None]
) -> tuple[Shortfall, ...]:
    """Return the thresholds that figures by the name of the metric do not reach.

    Raises
    ------
    OptionError
        If there is no figure of a metric at all.
    """
    found = []
    for one in thresholds:
        name = one.metric.name
        if name not in figures:
            raise OptionError(f"there is no figure of {name}; there are {', '.join(figures) or 'none'}")
        limit = one.limit(float32.get(name))
        if limit is None or not is_enough(one.metric, figures[name], limit):
            found.append(Shortfall(one, figures[name], limit))
    return tuple(found)


def shown(metric: Metric, value: float) -> str:
    """Return a figure with its unit."""
    if metric.is_share:
        return f"{value:.2%}"
    if math.isinf(value):
        return "exact" if metric.unit is Unit.DB and value > 0 else str(value)
    return f"{value:.2f} dB" if metric.unit is Unit.DB else f"{value:.{metric.decimals}f}"


def _figure(metric: Metric, value: float | str, text: str) -> float:
    """Return the figure that was given."""
    units = {Unit.SHARE: "%", Unit.DB: "dB"}
    unit = units.get(metric.unit, "")
    has_unit = bool(unit) and text.endswith(unit)
    try:
        number = float(text.removesuffix(unit)) if has_unit else float(text)
    except ValueError:
        number = math.nan
    number = number / 100 if metric.is_share and has_unit else number
    if isinstance(value, bool) or math.isnan(number) or (metric.is_share and not 0 <= number <= 1):
        raise OptionError(f"{metric} cannot be '{text}': give {_example(metric)}")
    return number


def _example(metric: Metric) -> str:
    """Return examples of a figure."""
    return {Unit.SHARE: "0.97 or 97%", Unit.DB: "30 or 30dB"}.get(metric.unit, "a number such as 0.9")
