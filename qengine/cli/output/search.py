"""The result of `qengine search` as tables, or as one JSON object.

Every key is always there. A figure is in the unit of its metric; "inf" where nothing is lost, null without a number.

====================  ==============================================================================================
model, data           the model and the data, as they were typed
samples, digest       number of samples, those that are held out among them, and a digest of the data
metric, cost          names of the metric and the cost
evaluated_output      name of the output that the metric is about
reference, least      figure of float32 (of the longest words, where that is infinite), and the one that is good enough
reference_of          "float32" or "the longest words"
held_out              {samples, reference, least, value, is_good} on the samples of --hold-out; null without it
best                  {cost, value, bits: {unit: word length}}
formats               {tensor: format, or a list of one for each channel}: a formats file
units                 [{name, kind, tensors, bits, format, sensitivity: {word length: noise over signal}}]
uniform               {word length: {cost, value}} of one word length for all units that cost anything
front                 [{cost, value, bits}] that nothing beats in both; the cheapest first
runs, is_complete     number of measured assignments, and whether the search ended before its budget was exhausted
preprocessing         how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
written               the files
notes                 lines
====================  ==============================================================================================

Costs are bits of one sample or of all constants, or bit operations of one sample.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from qengine.analysis.search import Candidate, SearchResult, UnitInfo
from qengine.cli.output.console import Line, counted_samples, decibels, figure, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import GOOD, QUIET, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.data.datasets import Dataset
from qengine.metrics.decibels import ratio_in_decibels
from qengine.metrics.declaration import Unit
from qengine.model.constant_roles import kind_of, label_of, with_roles
from qengine.results import json_text

_MAX_FRONT_LINES = 12  # of the front


def as_json(model: str, dataset: Dataset, pixels: Applied, result: SearchResult, out: Path | None) -> str:
    """Return the object, in lines, ASCII throughout."""
    names = [unit.name for unit in result.units]

    def record_of(candidate: Candidate) -> dict[str, Any]:
        return {
            "cost": candidate.cost,
            "value": candidate.value,
            "bits": dict(zip(names, candidate.widths, strict=True)),
        }

    record = {
        "model": model,
        "data": dataset.name,
        "samples": len(dataset),
        "digest": dataset.digest,
        "metric": str(result.metric),
        "cost": str(result.cost),
        "evaluated_output": result.evaluated_output,
        "reference": result.reference,
        "reference_of": result.goal.reference_of,
        "least": result.least,
        "held_out": None if result.held_out is None else vars(result.held_out),
        "best": record_of(result.best),
        "formats": result.formats,
        "units": [{**vars(unit), "sensitivity": dict(unit.sensitivity)} for unit in result.units],
        "uniform": {
            bits: {"cost": candidate.cost, "value": candidate.value} for bits, candidate in result.uniform.items()
        },
        "front": [record_of(candidate) for candidate in result.front],
        "runs": result.runs,
        "is_complete": result.is_complete,
        "written": [str(out)] if out else [],
        "preprocessing": pixels.record,
        "notes": (*result.notes, *pixels.notes),
    }
    return json_text(record)


def as_tables(model: str, dataset: Dataset, pixels: Applied, result: SearchResult, out: Path | None) -> str:
    """Return tables and a summary, coloured if standard output is a terminal."""
    bound = "at least" if result.metric.higher_is_better else "at most"
    asked = f"{result.metric} {bound} {_figure(result, result.least)} in {result.evaluated_output}"
    searched = len(dataset) - (result.held_out.samples if result.held_out else 0)
    title = f"{model}, least {result.cost.label}, {asked}, {counted_samples(searched)} of {dataset.name}"
    return rendered(title, [_units(result), "", _front(result)], [*pixel_lines(pixels), *_summary(result, out)])


def _units(result: SearchResult) -> Table:
    table = Table()
    table.names("tensor")
    table.names("kind", importance=2)
    table.numbers("bits", importance=9)
    table.formats("format", importance=8)
    table.numbers("alone\ndB", importance=7)
    for unit in result.units:
        name = label_of(unit.name, unit.role)
        table.row(name, kind_of(unit.name, unit.role, unit.kind), str(unit.bits), unit.format, _alone(unit))
    return table


def _alone(unit: UnitInfo) -> str:
    return decibels(ratio_in_decibels(unit.sensitivity[unit.bits])) if unit.sensitivity else ""


def _front(result: SearchResult) -> Table:
    """Return the front with the assignments of one word length for all."""
    table = Table()
    table.numbers("cost", str(result.metric), importance=9)
    table.text("", importance=8)
    uniform = {candidate.widths: f"{bits} bits for all" for bits, candidate in result.uniform.items()}
    front = _thinned(result)
    lines = {candidate.widths: candidate for candidate in (*front, *result.uniform.values())}
    for candidate in sorted(lines.values(), key=lambda candidate: (candidate.cost, candidate.value or 0.0)):
        is_best = candidate.widths == result.best.widths
        words = [uniform.get(candidate.widths, ""), "the best" if is_best else ""]
        if candidate not in result.front:
            words.append("beaten")
        style = f"bold {GOOD}" if is_best else QUIET if candidate not in result.front else ""
        text = ", ".join(filter(None, words))
        table.row(result.cost.spelled(candidate.cost), _figure(result, candidate.value), text, style=style)
    return table


def _thinned(result: SearchResult) -> list[Candidate]:
    """Return some of the front, evenly spread, and the best assignment."""
    front = list(result.front)
    if len(front) > _MAX_FRONT_LINES:
        front = [front[round(i * (len(front) - 1) / (_MAX_FRONT_LINES - 1))] for i in range(_MAX_FRONT_LINES)]
    return [*front, result.best]


def _figure(result: SearchResult, value: float | None) -> str:
    text = figure(result.metric, value)
    is_in_db = result.metric.unit is Unit.DB and value is not None and math.isfinite(value)
    return f"{text} dB" if is_in_db else text


def _summary(result: SearchResult, out: Path | None) -> Iterator[Line]:
    best = result.best
    reference = f"{result.goal.reference_of} {_figure(result, result.reference)}"
    yield f"{result.metric}: {reference}, found {_figure(result, best.value)} at {result.cost.spelled(best.cost)}"
    if (held := result.held_out) is not None:
        there = f"{result.goal.reference_of} {_figure(result, held.reference)}, found {_figure(result, held.value)}"
        those = f"{counted_samples(held.samples)} that {'was' if held.samples == 1 else 'were'} held out"
        yield f"on {those}: {there}, asked for {_figure(result, held.least)}"
    good = {bits: candidate for bits, candidate in result.uniform.items() if result.is_good(candidate)}
    if good:
        bits = min(good, key=lambda bits: good[bits].cost)
        less = 1 - best.cost / good[bits].cost
        yield f"one word length for all: {bits} bits at {result.cost.spelled(good[bits].cost)}; {less:.1%} saved"
    many = "1 assignment of word lengths was" if result.runs == 1 else f"{result.runs} assignments of word lengths were"
    yield f"{many} measured"
    roles = {unit.name: unit.role for unit in result.units if unit.role}
    for note in result.notes:
        yield Text(f"note: {with_roles(note, roles)}", style=WARN)
    if out is not None:
        yield Paste(f"wrote {out}")
