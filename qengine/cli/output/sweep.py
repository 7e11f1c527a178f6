"""What `qengine sweep` found, as a table for a person or as one JSON object.

Every key is always there. A ratio in dB is "inf" where nothing is lost, and null where there is none.

===========  =======================================================================================================
model, data  as they were typed
samples      how many
task         "classes", "images" or "other"
judged       the output that is judged
computed     how many points are new
rows         [{column: value}], float32 first; the columns are those of docs/sweeps.md
written      the files
notes        lines
===========  =======================================================================================================
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from qengine.analysis.sweep import Measures, Row, Sweep
from qengine.cli.jsontext import as_object
from qengine.cli.output.console import decibels, open_table, rendered
from qengine.errors import printable
from qengine.quantization.correction import recipe_name


def as_json(found: Sweep, written: Sequence[Path], notes: Sequence[str]) -> str:
    """Return the object, in lines, ASCII throughout."""
    first = found.rows[0]
    record = {
        "model": first.model,
        "data": first.data,
        "samples": first.samples,
        "task": str(found.task),
        "judged": found.judged,
        "computed": found.computed,
        "rows": [row.record() for row in found.rows],
        "written": written,
        "notes": notes,
    }
    return as_object(record)


def as_tables(found: Sweep, written: Sequence[Path], notes: Sequence[str]) -> str:
    """Return a table and a summary, coloured if standard output is a terminal."""
    first = found.rows[0]
    title = f"{first.model}, {first.samples:,} samples of {first.data}, output {found.judged}"
    return rendered(title, _table(found), _summary(found, written, notes))


_Column = tuple[str, Callable[[Row], str]]


def _varied(found: Sweep) -> list[_Column]:
    """Return the columns in which points differ beside their formats."""
    varied: list[tuple[str, _Column]] = [
        ("method", ("method", lambda row: row.point.method or "")),
        ("per_channel", ("weights", lambda row: "per channel" if row.point.per_channel else "per tensor")),
        ("rounding", ("rounding", lambda row: row.point.rounding or "")),
        ("overflow", ("overflow", lambda row: row.point.overflow or "")),
        ("accumulator_bits", ("sums\nbits", lambda row: str(row.point.accumulator_bits or "all"))),
        ("recipe", ("recipe", lambda row: recipe_name(row.point.recipe or ""))),
    ]
    points = [row.point for row in found.rows[1:]]
    values = {name: {getattr(point, name) for point in points} for name, _ in varied}
    values["method"].discard(None)  # of formats that are given
    return [column for name, column in varied if len(values[name]) > 1]


def _table(found: Sweep) -> Table:
    table = open_table()
    table.add_column("formats", no_wrap=True)
    columns = _varied(found)
    for heading, _ in columns:
        table.add_column(heading, no_wrap=True)
    numbers = [*_measures(found.rows[0].outcome.measures), ("weights\nkiB", _memory), ("s", _seconds)]
    for heading, _ in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        told = ["" if row.point.is_float32 else tell(row) for _, tell in columns]
        if row.outcome.error is None:
            table.add_row(Text(printable(_formats(row))), *told, *(tell(row) for _, tell in numbers))
        else:
            table.add_row(Text(printable(_formats(row))), *told, Text("failed", style="red"))
    return table


def _formats(row: Row) -> str:
    point = row.point
    if point.is_float32:
        return "float32"
    if point.formats is not None:
        return point.formats_name or "formats"
    if point.qformat is not None:
        return point.qformat
    if point.weight_bits == point.activation_bits:
        return f"{point.activation_bits} bits"
    return f"{point.activation_bits} bits, weights {point.weight_bits}"


def _measures(exact: Measures) -> Iterator[_Column]:
    """Yield the columns of what float32 has."""
    against = "" if exact.against == "target" else f"\nto {exact.against}"
    known: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("top1", "top-1", "{:.2%}".format),
        ("agreement", "as\nfloat32", "{:.2%}".format),
        ("psnr_db", f"PSNR{against}\ndB", decibels),
        ("ssim", "SSIM", "{:.4f}".format),
    )
    for name, heading, spell in known:
        if getattr(exact, name) is not None:
            yield heading, _teller(name, spell)
    yield "SQNR\ndB", _teller("sqnr_db", decibels)


def _teller(name: str, spell: Callable[[Any], str]) -> Callable[[Row], str]:
    def tell(row: Row) -> str:
        value = getattr(row.outcome.measures, name)
        return "-" if value is None else spell(value)

    return tell


def _memory(row: Row) -> str:
    return "-" if row.outcome.weight_bytes is None else f"{row.outcome.weight_bytes / 1024:.1f}"


def _seconds(row: Row) -> str:
    return "-" if row.outcome.seconds is None else f"{row.outcome.seconds:.2f}"


def _summary(found: Sweep, written: Sequence[Path], notes: Sequence[str]) -> Iterator[Text]:
    columns = _varied(found)
    for row in found.rows:
        if row.outcome.error is not None:
            what = ", ".join(filter(None, (_formats(row), *(tell(row) for _, tell in columns))))
            yield Text(printable(f"failed: {what}: {row.outcome.error}"), style="red")
    if found.computed < len(found.rows):
        yield Text(f"{len(found.rows) - found.computed:,} of {len(found.rows):,} points were there already")
    for note in notes:
        yield Text(printable(f"note: {note}"), style="yellow")
    yield Text(printable(f"wrote {', '.join(map(str, written))}"))
