"""Parts of the output that commands share: tables, figures as text, status and progress on a terminal."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from qengine.analysis.report import percent
from qengine.errors import printable
from qengine.metrics.declaration import Metric, Unit

_MIN_WIDTH, _PIPE_WIDTH = 80, 200
_MIN_FOLDED = 8  # narrowest column of names that are folded
_MIN_NAME = 24  # narrowest column of names that are shortened


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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # seldom shown

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
    # In a narrower table columns would be cut, or left out; wrapped lines are better than that.
    console.width = max([console.width, *(_min_width(console, one) for one in _tables(table))])
    with console.capture() as captured:
        console.print(title if isinstance(title, Text) else Text(printable(title), style="bold"), soft_wrap=True)
        console.print(table, crop=False)  # a column that is as wide as it must be may stand beyond the width
        console.print()
        for line in lines:
            console.print(line, soft_wrap=True)
    return captured.get().rstrip() + "\n"


def _tables(renderable: RenderableType) -> list[Table]:
    """Return the tables in a table or group."""
    parts = renderable.renderables if isinstance(renderable, Group) else [renderable]
    return [part for part in parts if isinstance(part, Table)]


def _min_width(console: Console, table: Table) -> int:
    """Return the width at which no column of a table is cut: only columns that fold are narrower than their cells."""
    options, padding = console.options.update(width=1 << 16), table.padding[1]
    width = -padding
    for column in table.columns:
        cells = max(Measurement.get(console, options, cell).maximum for cell in (column.header, *column.cells))
        folded = max(column.min_width or 0, min(cells, _MIN_FOLDED))
        width += padding + (cells if column.no_wrap else folded)
    return width


def open_table() -> Table:
    """Return a table without lines and without columns."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


class Name:
    """A name in a table, which is shortened from the middle where the column is narrower."""

    def __init__(self, name: str, style: str = "") -> None:
        self.name, self.style = printable(name), style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(len(self.name), _MIN_NAME), len(self.name))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(shortened(self.name, options.max_width), style=self.style, no_wrap=True)


def add_names(table: Table, heading: str, names: Iterable[str]) -> None:
    """Add a column for cells that are a `Name`, with room for them."""
    longest = max(map(len, names), default=0)
    table.add_column(heading, min_width=max(len(heading), min(longest, _MIN_NAME)))


def shortened(text: str, length: int) -> str:
    """Return a text of at most some characters, the middle left out: its beginning and its end tell names apart."""
    if len(text) <= length:
        return text
    end = (length - 2) // 2
    return f"{text[: length - 2 - end]}..{text[len(text) - end :]}"


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
