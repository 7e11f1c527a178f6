"""Output of `qengine run --data`: tables, or one JSON object.

Every key is always present: without a value it is null, or an empty list. A ratio in dB is "inf" without noise.

==================  ================================================================================================
model, data         the model and the data as typed
arithmetic          "float32" or "fixed"
qformat, ...        the options of fixed point as typed, and rounding, overflow and rules, as those of a single run
samples             number of samples
preprocessing       how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
task                "classes", "images" or "other"
evaluated_output    name of the output that the metrics are about
metrics             {metric: {unit, reference, float32, fixed, difference}}; reference: "labels", "target" or "float32"
sqnr_by_output      {output: SQNR in dB}
tensors             [{name, operator, kind, format, saturated, underflowed, largest, elements, unused_bits,
                    sqnr_db}] over all samples, in the order in which they were computed
classes             names of the classes, in the order of their numbers
worst               [{index, name, sqnr_db, float32_class, fixed_class, label}], the worst sample first
flips               number of samples whose class fixed point changes
confusion           {reference, fixed, float32}: counts by class of the reference and class of the output
formats             {tensor: format, or a list of formats, one per channel}, constants included: a formats file
islands             nodes that computed in float32
notes               losses that no tensor's figures show
written             paths of the files
seconds             time of the evaluation
==================  ================================================================================================
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from rich.text import Text

from qengine.analysis.evaluation import Evaluation, MetricFigures, SampleDifference
from qengine.analysis.islands import island_notes
from qengine.cli.options import FixedPointOptions
from qengine.cli.output.console import Line, Part, counted_samples, decibels, figure, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.run import tensor_table
from qengine.cli.output.styles import QUIET, TITLE, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.cli.typed import DATA, FIXED_POINT, follow_up
from qengine.data.applied import Applied
from qengine.metrics.declaration import Unit
from qengine.model.constant_roles import constant_roles, with_roles
from qengine.results import json_text, plain
from qengine.runtime.session import InferenceSession
from qengine.targets import Target
from qengine.targets.rules_mapping import rules_mapping

_SHOWN = 5  # samples


@dataclass(frozen=True)
class EvaluationResult:
    """Result of `qengine run --data`.

    Attributes
    ----------
    model : the model as typed.
    options : the options of fixed point as typed.
    session : the session that ran.
    found : the figures.
    pixels : conversion of pixels to numbers.
    written : paths of the files.
    """

    model: str
    options: FixedPointOptions
    session: InferenceSession
    found: Evaluation
    pixels: Applied
    written: tuple[str, ...]


def as_json(result: EvaluationResult) -> str:
    """Return the JSON object, in lines of ASCII."""
    known, options, session = result.found.record(), result.options.record(), result.session
    if session.in_fixed_point:
        options |= {
            "rounding": str(session.rules.rounding),
            "overflow": str(session.rules.overflow),
            "rules": rules_mapping(session.rules),
        }
    else:
        options = dict.fromkeys(options)
    head = {"model": result.model, "arithmetic": "fixed" if known.pop("in_fixed_point") else "float32", **options}
    known["metrics"] = {one.metric.name: _without_name(one) for one in result.found.metrics}
    known |= {"preprocessing": result.pixels.record, "notes": (*result.found.notes, *result.pixels.notes)}
    return json_text(plain({**known, **head, "written": result.written}))


def _without_name(one: MetricFigures) -> dict[str, object]:
    return {name: value for name, value in one.record().items() if name != "metric"}


def as_tables(result: EvaluationResult) -> str:
    """Return tables and a summary, in colour if standard output is a terminal."""
    found = result.found
    tables = [_metric_table(found)]
    if found.in_fixed_point:
        tables = [tensor_table(found.tensors), *tables]
    parts: list[Part] = [part for table in tables for part in ("", table)]
    return rendered(_title(result), parts[1:], [*pixel_lines(result.pixels), *_summary(result)])


def _title(result: EvaluationResult) -> Text:
    found, options, target, rules = result.found, result.options, result.session.options.target, result.session.rules
    words = [
        result.model,
        options.named_formats if found.in_fixed_point else "float32",
        f"target {target.name}" if isinstance(target, Target) else "",
        *((str(rules.rounding), str(rules.overflow)) if found.in_fixed_point else ()),
        f"{counted_samples(found.samples)} of {found.data}",
    ]
    return Text(", ".join(filter(None, words)), style=TITLE)


def _metric_table(found: Evaluation) -> Table:
    """Return the figures of float32 and of fixed point side by side."""
    table = Table()
    table.names("metric")
    table.words("against", importance=3)
    table.numbers("float32", importance=8)
    if found.in_fixed_point:
        table.numbers("fixed point", importance=9)
        table.numbers("difference", importance=7)
    for one in found.metrics:
        unit = f", {one.metric.unit}" if one.metric.unit is Unit.DB else ""
        cells = [f"{one.metric.label}{unit}", str(one.reference), figure(one.metric, one.float32)]
        if found.in_fixed_point:
            cells += [figure(one.metric, one.fixed), _difference(one)]
        table.row(*cells)
    return table


def _difference(one: MetricFigures) -> str:
    """Return a difference in percentage points, decibels or plain numbers."""
    value = one.difference
    if value is None:
        return ""
    if one.metric.is_share:
        return f"{100 * value:+.2f} points"
    return f"{value:+.2f} dB" if one.metric.unit is Unit.DB else f"{value:+.{one.metric.decimals}f}"


def _summary(result: EvaluationResult) -> Iterator[Line]:
    found = result.found
    others = {name: value for name, value in found.sqnr_by_output.items() if name != found.evaluated_output}
    if others:
        each = (f"{name} {decibels(value)}" for name, value in others.items())
        yield f"SQNR against float32 of the other outputs, dB: {', '.join(each)}"
    if found.flips:
        changes = "1 sample changes" if found.flips == 1 else f"{found.flips:,} samples change"
        shown = [_flip(one, found.classes) for one in found.worst if one.flips][:_SHOWN]
        more = f" and {found.flips - len(shown):,} more" if found.flips > len(shown) else ""
        yield f"{changes} class: {', '.join(shown)}{more}"
    elif found.worst and found.samples > 1:
        shown = [f"{_named(one)} ({decibels(one.sqnr_db)} dB)" for one in found.worst[:_SHOWN]]
        yield f"lowest SQNR: {', '.join(shown)}"
    for note in island_notes(found.islands):
        yield Text(f"note: {note}", style=WARN)
    roles = constant_roles(result.session.graph) if found.notes else {}
    for note in found.notes:
        yield Text(f"note: {with_roles(note, roles)}", style=WARN)
    for path in result.written:
        yield Paste(f"wrote {path}")
    if found.in_fixed_point and any(one.difference or one.fixed not in (None, 1.0, inf) for one in found.metrics):
        command = follow_up("inspect", result.model, DATA | FIXED_POINT)
        yield Paste(f"next, which layers cost most: {command}", style=QUIET)


def _named(one: SampleDifference) -> str:
    return f"sample {one.index}" if one.name is None else one.name


def _flip(one: SampleDifference, classes: Sequence[str]) -> str:
    names = [_class(number, classes) for number in (one.float32_class, one.fixed_class)]
    label = "" if one.label is None else f", label {_class(one.label, classes)}"
    return f"{_named(one)} ({' -> '.join(names)}{label})"


def _class(number: int | None, classes: Sequence[str]) -> str:
    return classes[number] if number is not None and number < len(classes) else str(number)
