"""Output of `qengine run`: tables, or one JSON object.

Every key is always present: without a value it is null, or an empty list. A ratio in dB is "inf" without noise.

==================  ================================================================================================
model               the model as typed
arithmetic          "float32" or "fixed"
qformat, ...        the options of fixed point as typed (`FixedPointOptions.record`), rounding and overflow with their
                    those of the run; null in float32
rules               all rules of the run that are not the default, as [rules] of docs/how-to/targets.md; null in float32
inputs              [{name, shape, dtype}]
outputs             [{name, shape, dtype, format, min, max, nonfinite, sqnr_db}], real numbers; a sequence or a map has
                    its length as the shape, and its type as the dtype
written             paths of the files
evaluated_output    name of the output that the metrics are about
metrics             {metric: {against_float32, against_target, float32_against_target, baseline_against_target}} of the
                    metrics that the evaluated output has, such as psnr of an image, or top1 and agreement of scores
tensors             [{name, operator, kind, format, saturated, underflowed, largest, elements, unused_bits,
                    sqnr_db}], in the order in which they were computed; saturated and underflowed count elements
formats             {tensor: format, or a list of formats, one per channel}, constants included: a formats file
islands             nodes that computed in float32
preprocessing       how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
notes               losses that no tensor's figures show, formats without effect, outputs that a file does not hold
advice              {format, reason, sqnr_db_before, sqnr_db}
==================  ================================================================================================
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.text import Text

from qengine.analysis.islands import island_notes
from qengine.analysis.report import TensorReport
from qengine.cli.output.console import Line, counted_samples, decibels, figure, rendered, share
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.result import RunResult
from qengine.cli.output.styles import BAD, GOOD, TITLE, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.cli.typed import typed_with
from qengine.metrics.declaration import Reference, Unit
from qengine.model.constant_roles import constant_roles, with_roles
from qengine.model.formats.files import format_to_json
from qengine.results import json_text
from qengine.targets import Target
from qengine.targets.rules_mapping import rules_mapping

_METRIC_OF_EACH_OUTPUT = "sqnr"  # metric of every output, which has a line of its own
_WARN_SATURATED = 0.01  # share of a tensor that may saturate without being shown in red


def as_json(result: RunResult) -> str:
    """Return the JSON object, in lines of ASCII."""
    comparison, options = result.comparison, result.options.record()
    if comparison is not None:
        rules = rules_mapping(result.session.rules)
        options |= {"rounding": result.rounding, "overflow": result.overflow, "rules": rules}
    else:
        options = dict.fromkeys(options)
    record = {
        "model": result.model,
        "arithmetic": "float32" if comparison is None else "fixed",
        **options,
        "inputs": [{"name": name, "shape": a.shape, "dtype": str(a.dtype)} for name, a in result.feeds.items()],
        "outputs": [asdict(one) for one in result.summaries],
        "written": result.written,
        "evaluated_output": result.evaluated_output,
        "metrics": {str(one.metric): one.figures() for one in result.quality},
        "tensors": [asdict(tensor) for tensor in comparison.tensors] if comparison else [],
        "formats": {name: format_to_json(fmt) for name, fmt in result.session.formats.items()},
        "islands": comparison.islands if comparison else [],
        "preprocessing": result.pixels.record,
        "notes": (*result.notes, *result.pixels.notes),
        "advice": result.advice and {**vars(result.advice)},
    }
    return json_text(record)


def as_tables(result: RunResult) -> str:
    """Return a table and a summary, in colour if standard output is a terminal."""
    table = _float_table(result) if result.comparison is None else tensor_table(result.comparison.tensors)
    return rendered(_title(result), table, _summary(result))


def _title(result: RunResult) -> Text:
    words = [result.model, result.arithmetic]
    if result.comparison is not None:
        target = result.session.options.target
        words += [f"target {target.name}" if isinstance(target, Target) else "", result.rounding, result.overflow]
        if result.options.accumulator_bits:
            words.append(f"{result.options.accumulator_bits}-bit accumulator")
        if result.options.islands:
            words.append(f"{result.options.islands} in float32")
        if result.options.weight_qformat:
            words.append(f"weights {result.options.weight_qformat}")
        if result.options.per_channel:
            words.append("weights per channel")
    return Text(", ".join(filter(None, words)), style=TITLE)


def _float_table(result: RunResult) -> Table:
    table = Table()
    table.names("output")
    table.text("shape", importance=8)
    table.words("type", importance=3)
    table.numbers("smallest", "largest", importance=6)
    for one in result.summaries:
        shape = " x ".join(map(str, one.shape)) or "scalar"
        table.row(one.name, shape, one.dtype, _number(one.min), _number(one.max))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def tensor_table(tensors: Sequence[TensorReport]) -> Table:
    """Return the table of tensors in fixed point."""
    table = Table()
    table.names("tensor")
    table.text("computed by", importance=4)
    table.formats("format", importance=8)
    table.numbers("saturated", importance=7)
    table.numbers("underflow", importance=6)
    table.numbers("unused\nbits", importance=5)
    table.numbers("SQNR\ndB", importance=9)
    for t in tensors:
        is_island = t.kind == "island"
        table.row(
            t.name,
            Text(f"{t.operator} (float32)" if is_island else t.operator, style=WARN if is_island else ""),
            t.format,
            Text(share(t.saturated, t.elements), style=BAD if t.saturated > _WARN_SATURATED * t.elements else ""),
            share(t.underflowed, t.elements),
            str(t.unused_bits),
            decibels(t.sqnr_db),
        )
    return table


def _summary(result: RunResult) -> Iterator[Line]:
    yield from pixel_lines(result.pixels)
    yield from _measures(result)
    for one in result.summaries:
        if one.nonfinite:
            text = f"note: {one.nonfinite:,} elements of output '{one.name}' are NaN or infinite"
            yield Text(text, style=WARN)
    if result.comparison is not None:
        for note in island_notes(result.comparison.islands):
            yield Text(f"note: {note}", style=WARN)
    roles = constant_roles(result.session.graph) if result.notes else {}
    for note in result.notes:
        yield Text(f"note: {with_roles(note, roles)}", style=WARN)
    if result.advice is not None:
        advice = result.advice
        unit = "" if advice.sqnr_db == math.inf else " dB"
        gain = f"SQNR {decibels(advice.sqnr_db)}{unit} instead of {decibels(advice.sqnr_db_before)}"
        yield Text(f"{advice.reason}: try --qformat {advice.format} ({gain})", style=f"bold {GOOD}")
        yield Paste(f"  {typed_with('--qformat', str(advice.format))}", style=GOOD)
    for path in result.written:
        yield Paste(f"wrote {path}")


def _measures(result: RunResult) -> Iterator[str]:
    """Yield lines that compare the outputs with float32 and with their target."""
    measured = [one for one in result.summaries if one.sqnr_db is not None]
    if measured:
        each = (f"{one.name} {decibels(one.sqnr_db)}" for one in measured)
        yield f"SQNR against float32, dB: {', '.join(each)}"
    array = result.outputs[result.evaluated_output]
    samples = counted_samples(len(array) if array.ndim else 1)
    for one in result.quality:
        metric = one.metric
        unit = f", {metric.unit}" if metric.unit is Unit.DB else ""
        if one.against_float32 is not None and metric.name != _METRIC_OF_EACH_OUTPUT:
            count = f" of {samples}" if metric.is_share else ""
            yield f"{metric.label_against(Reference.FLOAT32)}{unit}: {figure(metric, one.against_float32)}{count}"
        if one.against_target is not None:
            known = {
                "without the network": one.baseline_against_target,
                "float32": one.float32_against_target,
                result.arithmetic: one.against_target,
            }
            words = [f"{name} {figure(metric, value)}" for name, value in known.items() if value is not None]
            over = f"{metric.label} on {samples}" if metric.is_share else f"{metric.label} against the original"
            yield f"{over}{unit}: {', '.join(words)}"
