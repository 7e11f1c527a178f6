"""Axes of a chart: round ticks, and numbers as places in a drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qengine.html_report.markup import Markup, element


@dataclass(frozen=True)
class Scale:
    """A map from numbers to places on an axis, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a number."""
        low, high, value = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + share * (self.end - self.start)


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about as many round numbers from one number to another."""
    if not high > low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Return the number of a tick."""
    return f"{value:.6g}".replace("-", "−")


def place(value: float) -> str:
    """Return a place in a drawing in few digits."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """Return points as the path of a line."""
    return "M" + "L".join(f"{place(x)} {place(y)}" for x, y in points)


@dataclass(frozen=True)
class Frame:
    """A chart's frame: its size, its scales and its labels."""

    x: Scale
    y: Scale
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]

    def drawn(self) -> list[Markup]:
        """Return the grid, the ticks and the labels."""
        found = []
        for value, label in self.y_ticks:
            y = place(self.y(value))
            found.append(element("line", class_="grid", x1=place(self.x.start), x2=place(self.x.end), y1=y, y2=y))
            found.append(
                element("text", label, class_="tick", x=place(self.x.start - 6), y=y, dy="0.35em", text_anchor="end")
            )
        bottom = self.y.start
        for value, label in self.x_ticks:
            x = place(self.x(value))
            found.append(element("line", class_="axis", x1=x, x2=x, y1=place(bottom), y2=place(bottom + 4)))
            found.append(element("text", label, class_="tick", x=x, y=place(bottom + 17), text_anchor="middle"))
        start, end = place(self.x.start), place(self.x.end)
        found.append(element("line", class_="axis", x1=start, x2=end, y1=place(self.y.start), y2=place(self.y.start)))
        middle = place((self.x.start + self.x.end) / 2)
        found.append(
            element("text", self.x_label, class_="label", x=middle, y=place(self.y.start + 36), text_anchor="middle")
        )
        found.append(element("text", self.y_label, class_="label", x=place(self.x.start - 44), y="12"))
        return found


def drawing(wide: float, high: float, label: str, *children: object, **attributes: object) -> Markup:
    """Return an SVG drawing with a label for those who cannot see it."""
    size = f"0 0 {place(wide)} {place(high)}"
    return element("svg", *children, **{"viewBox": size, "role": "img", "aria_label": label, **attributes})
