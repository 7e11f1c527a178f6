"""The histogram of a tensor: values in float32 on a logarithmic scale of counts, and the range of its format."""

from __future__ import annotations

import math

from qengine.html_report.charts.axes import Scale, drawing, place
from qengine.html_report.facts import Bars, TensorFacts
from qengine.html_report.figures import number, percent
from qengine.html_report.markup import Markup, element

_WIDTH, _HEIGHT, _BASE = 240.0, 60.0, 46.0
_APART = 48.0  # between the middles of two labels


def _ticks(bars: Bars) -> list[Markup]:
    """Return the least and the most value under their places, and 0 where there is room."""
    scale = Scale(bars.low, bars.high, 0.0, _WIDTH)
    left, right, zero = scale(bars.least), scale(bars.most), scale(0.0)
    found = [_tick(left, number(bars.least)), _tick(right, number(bars.most))] if right - left > _APART else []
    if not found:
        found = [_tick((left + right) / 2, f"{number(bars.least)} to {number(bars.most)}")]
    if bars.low < 0.0 < bars.high and min(abs(zero - left), abs(zero - right)) > _APART:
        found.append(_tick(zero, "0"))
    return found


def _tick(x: float, label: str) -> Markup:
    anchor = "start" if x < _APART / 2 else "end" if x > _WIDTH - _APART / 2 else "middle"
    at = 0.0 if anchor == "start" else _WIDTH if anchor == "end" else x
    return element("text", label, class_="tick", x=place(at), y=place(_HEIGHT - 2), text_anchor=anchor)


def histogram_chart(tensor: TensorFacts) -> Markup | None:
    """Return the histogram of a tensor; values beyond the rails of its format are in the colour of a loss."""
    bars = tensor.bars
    if bars is None or not any(bars.counts):
        return None
    span = bars.high - bars.low
    first, last = ((end - bars.low) / span * _WIDTH for end in (tensor.low, tensor.high))
    most = math.log10(max(bars.counts) + 1)
    inside: list[str] = []
    outside: list[str] = []
    width = _WIDTH / len(bars.counts)
    for i, count in enumerate(bars.counts):
        if not count:
            continue
        height = max(math.log10(count + 1) / most * (_BASE - 4), 1.0)
        bar = f"M{place(i * width)} {place(_BASE)}v-{place(height)}h{place(width)}v{place(height)}z"
        middle = (i + 0.5) * width
        (inside if first <= middle <= last else outside).append(bar)
    parts = [
        element("path", class_="bars", d="".join(inside)) if inside else None,
        element("path", class_="bars lost", d="".join(outside)) if outside else None,
        element("line", class_="axis", x1="0", x2=place(_WIDTH), y1=place(_BASE), y2=place(_BASE)),
    ]
    for rail in (first, last):
        if -0.5 <= rail <= _WIDTH + 0.5:
            x = place(min(max(rail, 0.75), _WIDTH - 0.75))
            parts.append(element("line", class_="rail", x1=x, x2=x, y1="0", y2=place(_BASE)))
    parts += _ticks(bars)
    beyond = percent(bars.outside / bars.total) if bars.total else "0"
    label = (
        f"values from {number(bars.least)} to {number(bars.most)}; the format holds {number(tensor.low)} to "
        f"{number(tensor.high)}; beyond it: {beyond}"
    )
    return drawing(_WIDTH, _HEIGHT, label, *parts, class_="histogram")
