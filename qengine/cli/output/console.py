"""Parts of the output that commands share: tables, figures as text, status and progress on a terminal."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qengine.analysis.report import percent
from qengine.errors import printable
from qengine.metrics.declaration import Metric, Unit

# In a narrower table numbers would be cut; wrapped lines are better than that.
_MIN_WIDTH, _PIPE_WIDTH = 80, 200


@contextmanager
def status(text: str, quiet: bool) -> Iterator[None]:
    """Show a text on a terminal while the context lasts."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(Text(printable(text))):
        yield


@contextmanager
def progress(text: str, total: int, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal; the function that the context yields advances it by an amount of work."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(printable(text)), total=total)
        yield lambda count: bar.advance(task, count)


def rendered(title: str | Text, table: RenderableType, lines: Iterable[str | Text]) -> str:
    """Return a title, a table and lines as text, in colour if standard output is a terminal."""
    console = Console(highlight=False)
    # A pipe has no width, and its reader does not expect folded names.
    is_open_ended = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console.width = _PIPE_WIDTH if is_open_ended else max(console.width, _MIN_WIDTH)
    with console.capture() as captured:
        console.print(title if isinstance(title, Text) else Text(printable(title), style="bold"), soft_wrap=True)
        console.print(table)
        console.print()
        for line in lines:
            console.print(line, soft_wrap=True)
    return captured.get().rstrip() + "\n"


def open_table() -> Table:
    """Return a table without lines and without columns."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


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
