"""Figures as text: decibels, shares, bytes and counts, the same on the whole page."""

from __future__ import annotations

import math

from qengine.html_report.facts import MetricFacts

NOTHING = "–"
"""Text in place of a figure that there is none of."""


def decibels(value: float | None) -> str:
    """Return a ratio in dB as text; "exact" where nothing is lost."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "exact" if value > 0 else NOTHING
    text = f"{value:.1f} dB"
    return "0.0 dB" if text == "-0.0 dB" else text.replace("-", "−")


def metric_text(metric: MetricFacts, value: float | None) -> str:
    """Return a figure of a metric as text."""
    if value is None or math.isnan(value):
        return NOTHING
    if metric.unit == "share":
        return f"{100 * value:.2f} %"
    if metric.unit == "dB":
        return "exact" if math.isinf(value) else f"{value:.2f} dB"
    return f"{value:.4g}"


def percent(share: float | None) -> str:
    """Return a share as text; only an exact 0 is shown as 0."""
    if share is None:
        return NOTHING
    if share == 0:
        return "0"
    return "<0.01 %" if share < 1e-4 else f"{100 * share:.2f} %"


def count(value: float | None) -> str:
    """Return a whole number with commas."""
    return NOTHING if value is None else f"{value:,.0f}"


def large(value: float | None) -> str:
    """Return a large number in at most five digits, such as 12.3 M."""
    if value is None:
        return NOTHING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 10 * size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f}"


def kibibytes(value: float | None) -> str:
    """Return a number of bytes as text, such as 12.5 KiB."""
    if value is None:
        return NOTHING
    if value < 1024:
        return f"{value:,.0f} B"
    return f"{value / 1024:,.1f} KiB" if value < 1 << 20 else f"{value / (1 << 20):,.2f} MiB"


def number(value: float | None) -> str:
    """Return a real number in few digits."""
    return NOTHING if value is None else f"{value:.4g}".replace("-", "−")
