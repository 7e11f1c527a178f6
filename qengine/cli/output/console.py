"""What a run found, as tables for a person."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qengine.analysis.report import Comparison, percent
from qengine.cli.output.result import RunResult
from qengine.errors import printable

# In less the numbers would be cut; that lines are wrapped is the smaller evil.
_LEAST_WIDTH, _PIPE_WIDTH = 80, 200
_WARN_SATURATED = 0.01


@contextmanager
def status(text: str, quiet: bool) -> Iterator[None]:
    """Show on a terminal that something is going on."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(Text(printable(text))):
        yield


@contextmanager
def progress(text: str, total: int, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show on a terminal how much is done and how long the rest will take; gives what to call as more is done."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(printable(text)), total=total)
        yield lambda count: bar.advance(task, count)


def rendered(title: str | Text, table: RenderableType, lines: Iterable[str | Text]) -> str:
    """Return a title, a table and lines, coloured if standard output is a terminal."""
    console = Console(highlight=False)
    # A pipe has no width: what reads it does not want names to be folded.
    is_open_ended = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console.width = _PIPE_WIDTH if is_open_ended else max(console.width, _LEAST_WIDTH)
    with console.capture() as captured:
        console.print(title if isinstance(title, Text) else Text(printable(title), style="bold"), soft_wrap=True)
        console.print(table)
        console.print()
        for line in lines:
            console.print(line, soft_wrap=True)
    return captured.get().rstrip() + "\n"


def as_tables(result: RunResult) -> str:
    """Return a table and a summary, coloured if standard output is a terminal."""
    table = _float_table(result) if result.comparison is None else _fixed_table(result.comparison)
    return rendered(_title(result), table, _summary(result))


def _title(result: RunResult) -> Text:
    words = [result.model, result.arithmetic]
    if result.comparison is not None:
        words += [result.rounding, result.overflow]
        if result.options.accumulator_bits:
            words.append(f"{result.options.accumulator_bits}-bit accumulator")
        if result.options.weight_qformat:
            words.append(f"weights {result.options.weight_qformat}")
        if result.options.per_channel:
            words.append("weights per channel")
    return Text(printable(", ".join(words)), style="bold")


def open_table() -> Table:
    """Return a table without lines, of no columns yet."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _float_table(result: RunResult) -> Table:
    table = open_table()
    for heading in ("output", "shape"):
        table.add_column(heading, overflow="fold")
    table.add_column("type", no_wrap=True)
    for heading in ("smallest", "largest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in result.summaries():
        shape = " x ".join(map(str, one.shape)) or "scalar"
        table.add_row(Text(printable(one.name)), shape, one.dtype, _number(one.min), _number(one.max))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _fixed_table(comparison: Comparison) -> Table:
    table = open_table()
    table.add_column("tensor", overflow="fold", min_width=8)
    table.add_column("computed by", overflow="fold", min_width=8)
    table.add_column("format", no_wrap=True)
    for heading in ("saturated", "became 0", "unused\nbits", "SQNR\ndB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for t in comparison.tensors:
        is_island = t.kind == "island"
        table.add_row(
            Text(printable(t.name)),
            Text(
                printable(f"{t.operator} (float32)" if is_island else t.operator), style="yellow" if is_island else ""
            ),
            t.format,
            Text(share(t.saturated, t.elements), style="red" if t.saturated > _WARN_SATURATED * t.elements else ""),
            share(t.flushed, t.elements),
            str(t.unused_bits),
            decibels(t.sqnr_db),
        )
    return table


def share(count: int, total: int) -> str:
    """Return a part of a whole for a person; a plain 0 for none."""
    return percent(count, total) if count else "0"


def decibels(value: float | None) -> str:
    """Return a ratio in dB for a person."""
    if value is None or math.isnan(value):
        return "-"
    return "exact" if math.isinf(value) else f"{value:.2f}"


def _summary(result: RunResult) -> Iterator[Text]:
    yield from map(Text, _measures(result))
    for one in result.summaries():
        if one.nonfinite:
            text = f"note: {one.nonfinite:,} elements of output '{one.name}' are NaN or infinite"
            yield Text(printable(text), style="yellow")
    if result.comparison is not None:
        for island in result.comparison.islands:
            text = f"note: in float32, as there is no rule for it in fixed point: {island}"
            yield Text(printable(text), style="yellow")
    for note in result.notes:
        yield Text(printable(f"note: {note}"), style="yellow")
    if result.advice is not None:
        advice = result.advice
        gain = f"SQNR {decibels(advice.sqnr_db)} dB instead of {decibels(advice.sqnr_db_before)}"
        yield Text(printable(f"{advice.reason}: try --qformat {advice.format} ({gain})"), style="bold green")
    for path in result.written:
        yield Text(printable(f"wrote {path}"))


def _measures(result: RunResult) -> Iterator[str]:
    """Say how good the outputs are."""
    label, image, classes = result.arithmetic, result.image, result.classes
    measured = [one for one in result.summaries() if one.sqnr_db is not None]
    if measured:
        each = (f"{printable(one.name)} {decibels(one.sqnr_db)}" for one in measured)
        yield f"SQNR against float32, dB: {', '.join(each)}"
    if image and image.against_float is not None:
        yield f"PSNR against float32, dB: {decibels(image.against_float)}"
    if image and image.against_target is not None:
        known = {
            "without the network": image.baseline_against_target,
            "float32": image.float_against_target,
            label: image.against_target,
        }
        yield "PSNR against the original, dB: " + _row(known, decibels)
    if classes and classes.agreement is not None:
        yield f"top-1 agreement with float32: {classes.agreement:.2%} of {classes.items:,}"
    if classes and classes.accuracy is not None:
        known = {"float32": classes.float_accuracy, label: classes.accuracy}
        yield f"top-1 accuracy on {classes.items:,} items: " + _row(known, "{:.2%}".format)


def _row(known: Mapping[str, float | None], spelled: Callable[[float], str]) -> str:
    return ", ".join(f"{printable(name)} {spelled(value)}" for name, value in known.items() if value is not None)
