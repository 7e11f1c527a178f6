"""The text that a command prints: a title, tables and lines, laid out for the terminal, file or pipe that it goes to.

On a terminal nothing is wider than it but lines to paste. A file or a pipe has no width, and its reader does not
expect folded names: tables have all columns there, and sentences are one line each. COLUMNS gives a width to any of
them.
"""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from qengine.analysis.report import percent
from qengine.cli.output.styles import TITLE
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste, shown, wrapped
from qengine.cli.typed import with_typed
from qengine.metrics.declaration import Metric, Unit

_LEAST_WIDTH = 40

Line = str | Text | Paste
"""A line: a sentence, which breaks at words, or one that must stay whole."""

Part = Table | Line
"""A table, or a line above or below it."""


def rendered(title: Line, parts: Part | Sequence[Part], lines: Iterable[Line]) -> str:
    """Return a title, tables and lines as text, in colour if standard output is a terminal."""
    head = Text(title, style=TITLE) if isinstance(title, str) else title
    shown_parts = [parts] if isinstance(parts, Table | str | Text | Paste) else parts
    return laid_out([head, *shown_parts, "", *lines], _width())


def laid_out(parts: Iterable[Part], width: int | None) -> str:
    """Return tables and lines as text for a terminal of some cells; None for no limit."""
    console = Console(highlight=False, width=1 << 16)  # nothing is left for it to wrap
    with console.capture() as captured:
        for part in parts:
            for line in _lines(part, width):
                console.print(line, soft_wrap=True)
    return captured.get().rstrip() + "\n"


def _width() -> int | None:
    """Return the cells of a line of standard output; None where it has no width."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return max(Console().width, _LEAST_WIDTH)


def _lines(part: Part, width: int | None) -> Iterator[Text]:
    if isinstance(part, Table):
        yield from part.lines(width)
        return
    if isinstance(part, Paste):
        yield Text(shown(part.text), style=part.style)
        return
    text = part if isinstance(part, Text) else Text(part)
    line = Text(shown(with_typed(text.plain)), style=text.style)
    yield from [line] if width is None else wrapped(line, width)


def counted_samples(n: int) -> str:
    """Return a number of samples in words."""
    return "1 sample" if n == 1 else f"{n:,} samples"


def share(count: int, total: int) -> str:
    """Return a share in per cent as text; "0" for an exact 0."""
    return percent(count, total) if count else "0"


def decibels(value: float | None) -> str:
    """Return a ratio in dB as text; "exact" for infinity."""
    if value is None or math.isnan(value):
        return "-"
    return "exact" if math.isinf(value) else f"{value:.2f}"


def figure(metric: Metric, value: float | None) -> str:
    """Return a figure of a metric as text, without the unit dB; "-" for no number."""
    if value is None or math.isnan(value):
        return "-"
    if metric.is_share:
        return f"{value:.2%}"
    return decibels(value) if metric.unit is Unit.DB else f"{value:.{metric.decimals}f}"
