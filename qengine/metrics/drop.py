"""Allowed losses: the worst figure that is still good enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qengine.errors import OptionError
from qengine.metrics.declaration import Metric, Unit

_WHOLE = 100.0  # per cent
_ROUNDING = 1e-9  # 0.07 - 0.01 is more than 0.06


@dataclass(frozen=True)
class Drop:
    """Allowed loss of a figure.

    Attributes
    ----------
    amount : percentage points of a share, otherwise in the unit of the metric; per cent of a relative one.
    is_relative : whether the amount is in parts of the figure.
    """

    amount: float
    is_relative: bool = False

    @classmethod
    def parse(cls, given: float | str, metric: Metric) -> Drop:
        """Read a number, or text such as "1%" or "0.5dB".

        A number, and "1%" of a share of samples, are percentage points; "1%" of any other figure is relative.

        Raises
        ------
        OptionError
            If it is not one of those.
        """
        amount, unit = _read(given)
        is_wrong_unit = unit == "dB" and metric.unit is not Unit.DB
        if amount is None or is_wrong_unit:
            example = {Unit.SHARE: "1% (a percentage point)", Unit.DB: "0.5dB or 1%", Unit.NONE: "0.01 or 1%"}
            raise OptionError(f"a drop of {metric} is a number such as {example[metric.unit]}, not '{given}'")
        return cls(amount, unit == "%" and not metric.is_share)

    def limit(self, reference: float, metric: Metric) -> float:
        """Return the worst figure that is still good enough."""
        sign = -1 if metric.higher_is_better else 1
        if self.is_relative:
            return reference * (1 + sign * math.copysign(self.amount, reference) / 100)
        return reference + sign * (self.amount / 100 if metric.is_share else self.amount)


def check_drop(given: float | str, metric: Metric | None) -> None:
    """Raise OptionError for an allowed loss that no metric has, or that the metric has not, if it is known."""
    if metric is not None:
        Drop.parse(given, metric)
    elif _read(given)[0] is None:
        raise OptionError(f"a drop is a number such as 1% (a percentage point), 0.5dB or 0.01, not '{given}'")


def _read(given: float | str) -> tuple[float | None, str]:
    """Return the amount and the unit of an allowed loss; None for the amount of anything but a possible number."""
    text = str(given).strip()
    unit = next((unit for unit in ("%", "dB") if text.endswith(unit)), "")
    try:
        amount = float(text.removesuffix(unit))
    except ValueError:
        return None, unit
    is_possible = 0 <= amount <= (_WHOLE if unit == "%" else math.inf) and math.isfinite(amount)
    return (amount if is_possible and not isinstance(given, bool) else None), unit


def is_enough(metric: Metric, value: float | None, limit: float) -> bool:
    """Whether a figure is as good as a limit; no number, None, is not."""
    return metric.score(value) >= metric.score(limit) - _ROUNDING
