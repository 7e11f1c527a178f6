"""The result of `qengine sweep` as a table, or as one JSON object.

Every key is always there. A ratio in dB is "inf" where nothing is lost, and null where there is none.

================  ==================================================================================================
model, data       the model and the data, as they were typed
samples           number of samples
task              "classes", "images" or "other"
evaluated_output  name of the output that the metrics are about
computed          number of points that are new
seconds           {"before": time before the first new point, "inference": of the runs of new points, "rest": of new
                  points without their runs, "compiling": of kernels}
rows              [{column: value}], float32 first; the columns are those of docs/how-to/sweeps.md
differences       [{first, second, formats, outputs, outputs_differ, tensors, tensors_differ, first_tensor, samples}]:
                  the codes that each two targets compute otherwise, in the same formats
preprocessing     how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
written           the files
notes             lines
================  ==================================================================================================
"""

from collections.abc import Callable, Iterator

from rich.text import Text

from qengine.analysis.sweep import Measures, Row, Sweep
from qengine.cli.output.console import Line, Part, counted_samples, figure, rendered
from qengine.cli.output.differences import matrices
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import BAD, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.metrics.declaration import Metric, Reference, Unit, all_metrics
from qengine.quantization.correction import recipe_name
from qengine.results import json_text


def as_json(result: Sweep, pixels: Applied) -> str:
    """Return the object, in lines, ASCII throughout."""
    first = result.rows[0]
    record = {
        "model": first.model,
        "data": first.data,
        "samples": first.samples,
        "task": str(result.task),
        "evaluated_output": result.evaluated_output,
        "computed": result.computed,
        "seconds": _times(result),
        "rows": [row.record() for row in result.rows],
        "differences": [one.record() for one in result.differences],
        "written": result.written,
        "preprocessing": pixels.record,
        "notes": [*result.notes, *pixels.notes],
    }
    return json_text(record)


def as_tables(result: Sweep, pixels: Applied) -> str:
    """Return a table and a summary, coloured if standard output is a terminal."""
    first = result.rows[0]
    title = f"{first.model}, {counted_samples(first.samples)} of {first.data}, output {result.evaluated_output}"
    shown: list[Part] = [_table(result), *matrices(result.differences)]
    return rendered(title, shown, [*pixel_lines(pixels), *_summary(result)])


_Column = tuple[str, Callable[[Row], str]]


def _varied(result: Sweep) -> list[_Column]:
    """Return the columns of the options that differ between points, without the formats."""
    varied: list[tuple[str, _Column]] = [
        ("target", ("target", lambda row: row.point.target or "")),
        ("method", ("method", lambda row: row.point.method or "")),
        ("per_channel", ("weights", lambda row: "per channel" if row.point.per_channel else "per tensor")),
        ("rounding", ("rounding", lambda row: row.point.rounding or "")),
        ("overflow", ("overflow", lambda row: row.point.overflow or "")),
        ("accumulator_bits", ("sums\nbits", lambda row: str(row.point.accumulator_bits or "all"))),
        ("recipe", ("recipe", lambda row: recipe_name(row.point.recipe or ""))),
    ]
    points = [row.point for row in result.rows[1:]]
    values = {name: {getattr(point, name) for point in points} for name, _ in varied}
    if len(values["target"]) > 1:  # they decide these
        values |= {"method": set(), "per_channel": set(), "rounding": set(), "overflow": set()}
    values["method"].discard(None)  # formats that are given have no method
    return [column for name, column in varied if len(values[name]) > 1]


def _table(result: Sweep) -> Table:
    table = Table(f"{result.folder / 'results.csv'}")
    table.names("formats")
    columns = _varied(result)
    for heading, _ in columns:
        table.words(heading, importance=9)
    numbers = [*_measures(result.rows[0].outcome.measures), ("weights\nkiB", _memory)]
    for i, (heading, _) in enumerate(numbers):
        table.numbers(heading, importance=8 if i == 0 else 6)
    numbers += [("s", _seconds), ("inference", _inference)]
    table.numbers("s", importance=3)
    table.numbers("inference", importance=2)
    for row in result.rows:
        options = ["" if row.point.is_float32 else tell(row) for _, tell in columns]
        if row.outcome.error is None:
            table.row(_formats(row), *options, *(tell(row) for _, tell in numbers))
        else:
            table.row(_formats(row), *options, Text("failed", style=BAD))
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
    """Yield a column for each metric that float32 has; the SQNR has one always."""
    for metric in all_metrics():
        if exact.figures.get(metric.column) is not None or metric.column == "sqnr_db":
            yield _heading(metric, exact.against), _teller(metric)


def _heading(metric: Metric, against: str | None) -> str:
    is_replaced = metric.reference is Reference.TARGET and against == Reference.FLOAT32
    lines = [metric.heading, "to float32" if is_replaced else "", metric.unit if metric.unit is Unit.DB else ""]
    return "\n".join(filter(None, lines))


def _teller(metric: Metric) -> Callable[[Row], str]:
    return lambda row: figure(metric, row.outcome.measures.figures.get(metric.column))


def _memory(row: Row) -> str:
    size = row.outcome.costs.get("weight_bytes")
    return "-" if size is None else f"{size / 1024:.1f}"


def _seconds(row: Row) -> str:
    return "-" if row.outcome.seconds is None else f"{row.outcome.seconds:.2f}"


def _inference(row: Row) -> str:
    share = row.inference_share
    return "" if share is None else f"{share:.0%}"


def _times(result: Sweep) -> dict[str, float]:
    """Return the seconds that the new points took, by what they were for."""
    outcomes = [row.outcome for row in result.new_rows]
    inference = sum(one.inference_seconds or 0.0 for one in outcomes)
    return {
        "before": result.seconds_before,
        "inference": inference,
        "rest": sum(one.seconds or 0.0 for one in outcomes) - inference,
        "compiling": sum(one.compile_seconds or 0.0 for one in outcomes),
    }


def _summary(result: Sweep) -> Iterator[Line]:
    columns = _varied(result)
    for row in result.rows:
        if row.outcome.error is not None:
            what = ", ".join(filter(None, (_formats(row), *(tell(row) for _, tell in columns))))
            yield Text(f"failed: {what}: {row.outcome.error}", style=BAD)
    for row in result.rows:
        if row.outcome.steps is not None:
            what = ", ".join(filter(None, (_formats(row), *(tell(row) for _, tell in columns))))
            yield f"{what}: {row.outcome.steps}"
    if result.computed < len(result.rows):
        yield f"{len(result.rows) - result.computed:,} of {len(result.rows):,} points were in the folder already"
    if result.computed:
        times = _times(result)
        yield (
            f"{times['before']:.2f} s before the first point, {times['inference']:.2f} s of inference, "
            f"{times['rest']:.2f} s of other work in points, {times['compiling']:.2f} s of compiling kernels"
        )
    for note in result.notes:
        yield Text(f"note: {note}", style=WARN)
    for path in result.written:
        yield Paste(f"wrote {path}")
