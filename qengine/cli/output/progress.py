"""Progress on standard error: a bar that disappears on a terminal, and elsewhere a line every ten seconds.

Work is a stack: what `status` or `progress` begins, and within it what the library reports (`qengine.progress`). A bar
shows all of it, one line each. A plain line tells the work with amounts, and what is done just now:

    calibrating digits: 120 of 1,000 samples, 35 s left

A terminal is drawn four times a second at most, however often the work advances. Plain lines are written by a thread
of their own too, so that work which reports nothing for minutes is not silent.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from qengine.cli.output.styles import GOOD, QUIET
from qengine.cli.output.text import shortened
from qengine.errors import printable
from qengine.progress import Advance, reporting_to, silent

_SECONDS_BETWEEN_LINES = 10.0
_DRAWN_PER_SECOND = 4
_BAR_CELLS = 24
_FIGURE_CELLS = 44  # room for "1,000 of 1,000 samples, 100 min left"

Clock = Callable[[], float]


class Work:
    """Work that has begun, and how much of it is done.

    Parameters
    ----------
    text
        Name of the work; then "|" and the unit of its amounts.
    total
        The amount of work; None where it is unknown.
    clock
        Function that returns seconds.
    """

    def __init__(self, text: str, total: float | None, clock: Clock = time.monotonic) -> None:
        text, _, unit = printable(text).partition("|")
        self.text, self.unit, self.total, self.done = text, unit, total, 0.0
        self._clock, self._begin = clock, clock()
        self._first: tuple[float, float] | None = None

    def advance(self, amount: float) -> None:
        """Add to what is done."""
        self.done += amount
        if self._first is None:  # the first amount may contain what happens once, such as compiling
            self._first = self._clock(), self.done

    def seconds_left(self) -> float | None:
        """Return the time that the rest takes at the speed so far; None where it is unknown."""
        if not self.total or self._first is None:
            return None
        begin, before = self._first
        if self.done <= before:
            begin, before = self._begin, 0.0
        elapsed, done = self._clock() - begin, self.done - before
        return max(self.total - self.done, 0.0) * elapsed / done if done > 0 else None

    def figures(self) -> str:
        """Return how much is done, and the time that is left, or that it took so far."""
        amounts = f"{self.done:,.0f} of {self.total:,.0f} {self.unit}".rstrip() if self.total else ""
        left = self.seconds_left()
        passed = self._clock() - self._begin
        time_ = f"{duration(left)} left" if left is not None else f"{duration(passed)} so far" if passed >= 1 else ""
        return ", ".join(filter(None, (amounts, time_)))


def duration(seconds: float) -> str:
    """Return a time in words, of one or two units."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Lines:
    """Plain lines about the work of a stack, at most one every ten seconds.

    Parameters
    ----------
    stream
        Stream that the lines go to.
    clock
        Function that returns seconds.
    """

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._works: list[Work] = []
        self._last = clock()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        """Write lines from a thread too, from now until `stop`."""
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def stop(self) -> None:
        """Write no more lines from the thread."""
        self._ended.set()

    def _tick(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LINES / 4):
            self.write_if_due()

    def push(self, work: Work) -> None:
        """Add work to the stack."""
        with self._lock:
            self._works.append(work)

    def pop(self, work: Work) -> None:
        """Remove work from the stack."""
        with self._lock:
            self._works.remove(work)

    def write_if_due(self) -> None:
        """Write a line if the last one is ten seconds old."""
        if self._clock() - self._last < _SECONDS_BETWEEN_LINES:
            return
        with self._lock:
            if self._clock() - self._last < _SECONDS_BETWEEN_LINES or not self._works:
                return
            self._last = self._clock()
            works = [one for one in self._works[:-1] if one.total] + self._works[-1:]
            line = "; ".join(": ".join(filter(None, (one.text, one.figures()))) for one in works)
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # the reader has closed it
                self._ended.set()


class Bars:
    """Bars on a terminal about the work of a stack, which disappear with it."""

    def __init__(self) -> None:
        from rich.console import Console  # seldom shown
        from rich.progress import Progress, ProgressColumn, SpinnerColumn
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        self._console = Console(stderr=True, highlight=False)

        class _Bar(ProgressColumn):
            max_refresh = None

            def render(self, task: Any) -> ProgressBar:
                work: Work = task.fields["work"]
                return ProgressBar(
                    *(work.total, work.done),
                    width=_BAR_CELLS,
                    style=QUIET,
                    complete_style=GOOD,
                    finished_style=GOOD,
                    pulse_style=QUIET,
                )

        class _Words(ProgressColumn):
            max_refresh = None

            def render(self, task: Any) -> Text:
                return Text(task.description, no_wrap=True)

        class _Figures(ProgressColumn):
            max_refresh = None

            def render(self, task: Any) -> Text:
                return Text(task.fields["work"].figures(), no_wrap=True)

        columns = [SpinnerColumn(style=GOOD), _Words(), _Figures()]
        if self._console.width >= 60 + _BAR_CELLS:
            columns.insert(2, _Bar())
        self._progress = Progress(*columns, console=self._console, transient=True, refresh_per_second=_DRAWN_PER_SECOND)
        self._tasks: dict[Work, Any] = {}

    def start(self) -> None:
        """Draw from now on."""
        self._progress.start()

    def stop(self) -> None:
        """Remove the bars from the terminal."""
        self._progress.stop()

    def push(self, work: Work) -> None:
        """Add a bar."""
        room = self._console.width - _FIGURE_CELLS - (_BAR_CELLS + 1 if self._console.width >= 60 + _BAR_CELLS else 0)
        self._tasks[work] = self._progress.add_task(shortened(work.text, max(room, 12)), total=None, work=work)

    def pop(self, work: Work) -> None:
        """Remove a bar."""
        self._progress.remove_task(self._tasks.pop(work))

    def write_if_due(self) -> None:
        """Do nothing: the terminal is drawn at a rate of its own."""


_open: list[Lines | Bars] = []


def _display() -> Lines | Bars:
    """Return what shows progress on standard error."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if is_terminal and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        return Bars()
    return Lines(sys.stderr or open(os.devnull, "w"))  # noqa: PTH123 - for the rest of the process


@contextmanager
def _shown(text: str, total: float | None = None) -> Iterator[Advance]:
    """Show work while the context lasts, beneath the work that is shown already."""
    is_outermost = not _open
    if is_outermost:
        display = _display()
        _open.append(display)
        display.start()
    display, work = _open[-1], Work(text, total)
    display.push(work)

    def advance(amount: float) -> None:
        work.advance(amount)
        display.write_if_due()

    try:
        yield advance
    finally:
        display.pop(work)
        if is_outermost:
            _open.pop()
            display.stop()


@contextmanager
def progress(text: str, total: float | None, quiet: bool) -> Iterator[Advance]:
    """Show progress, and that of the work within; the function that the context yields advances it by an amount.

    Parameters
    ----------
    text
        Name of the work; then "|" and the unit of its amounts, as in "calibrating digits|samples".
    total
        The amount of work; None where it is unknown.
    quiet
        Whether nothing is shown.
    """
    shown = silent if quiet else _shown
    with reporting_to(shown), shown(text, total) as advance:
        yield advance


@contextmanager
def status(text: str, quiet: bool) -> Iterator[None]:
    """Show what is done, and the progress of the work within, while the context lasts."""
    with progress(text, None, quiet):
        yield
