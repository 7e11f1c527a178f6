"""What `qengine search` found, as tables for a person or as one JSON object.

Every key is always there. A figure is a share or in dB; "inf" where nothing is lost, null where it is no number.

====================  ==============================================================================================
model, data           as they were typed
samples, digest       how many samples, those that are held out among them, and a key of them
metric, cost          what was asked for
judged                the output by which the model is judged
reference, least      the figure of float32 (of the longest words, where that is infinite), and what is good enough
reference_of          "float32" or "the longest words"
held_out              {samples, reference, least, value} on samples that were not searched on; null without --hold-out
best                  {cost, value, bits: {unit: word length}}
formats               {tensor: format, or a list of one for each channel}: a formats file
units                 [{name, kind, tensors, bits, format, harm: {word length: noise over signal}}]
uniform               {word length: {cost, value}} of one word length for all that cost anything
front                 [{cost, value, bits}], nothing beats these in both; the cheapest first
runs, is_complete     how many word lengths of all were measured, and whether the search ended by itself
written               the files
notes                 lines
====================  ==============================================================================================

Costs are bits of one sample or of all constants, or bit operations of one sample.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qengine.analysis.search import Candidate, Cost, Found, UnitInfo
from qengine.cli.jsontext import as_object
from qengine.cli.output.console import decibels, open_table, rendered
from qengine.data.datasets import Dataset
from qengine.errors import printable

_MOST_LINES = 12  # of the front


def as_json(model: str, dataset: Dataset, found: Found, out: Path | None) -> str:
    """Return the object, in lines, ASCII throughout."""
    names = [unit.name for unit in found.units]

    def told(one: Candidate) -> dict[str, Any]:
        return {"cost": one.cost, "value": one.value, "bits": dict(zip(names, one.widths, strict=True))}

    record = {
        "model": model,
        "data": dataset.name,
        "samples": len(dataset),
        "digest": dataset.digest,
        "metric": str(found.metric),
        "cost": str(found.cost),
        "judged": found.judged,
        "reference": found.reference,
        "reference_of": found.reference_of,
        "least": found.least,
        "held_out": None if found.held_out is None else vars(found.held_out),
        "best": told(found.best),
        "formats": found.formats,
        "units": [{**vars(unit), "harm": dict(unit.harm)} for unit in found.units],
        "uniform": {bits: {"cost": one.cost, "value": one.value} for bits, one in found.uniform.items()},
        "front": [told(one) for one in found.front],
        "runs": found.runs,
        "is_complete": found.is_complete,
        "written": [str(out)] if out else [],
        "notes": found.notes,
    }
    return as_object(record)


def as_tables(model: str, dataset: Dataset, found: Found, out: Path | None) -> str:
    """Return tables and a summary, coloured if standard output is a terminal."""
    asked = f"{found.metric} at least {_figure(found, found.least)}"
    searched = len(dataset) - (found.held_out.samples if found.held_out else 0)
    title = f"{model}, fewest bits of {found.cost}, {asked}, {searched:,} samples of {dataset.name}"
    return rendered(title, Group(_units(found), Text(), _front(found)), _summary(found, out))


def _units(found: Found) -> Table:
    table = open_table()
    table.add_column("tensor", overflow="fold", min_width=8)
    table.add_column("kind", no_wrap=True)
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("format", no_wrap=True)
    table.add_column("alone, dB\nat output", justify="right", no_wrap=True)
    for unit in found.units:
        table.add_row(Text(printable(unit.name)), unit.kind, str(unit.bits), unit.format, _alone(unit))
    return table


def _alone(unit: UnitInfo) -> str:
    if not unit.harm:
        return ""
    harm = unit.harm[unit.bits]
    return decibels(-10 * math.log10(harm) if harm else math.inf)


def _front(found: Found) -> Table:
    """Return what nothing beats, and one word length for all beside it."""
    table = open_table()
    for heading in ("cost", str(found.metric)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    uniform = {one.widths: f"{bits} bits for all" for bits, one in found.uniform.items()}
    front = _thinned(found)
    lines = {one.widths: one for one in (*front, *found.uniform.values())}
    for one in sorted(lines.values(), key=lambda one: (one.cost, one.value or 0.0)):
        is_best = one.widths == found.best.widths
        words = [uniform.get(one.widths, ""), "the best" if is_best else ""]
        if one not in found.front:
            words.append("beaten")
        style = "bold green" if is_best else "dim" if one not in found.front else ""
        text = ", ".join(filter(None, words))
        table.add_row(_price(found.cost, one.cost), _figure(found, one.value), text, style=style)
    return table


def _thinned(found: Found) -> list[Candidate]:
    """Return some of the front, evenly spread, and what was found."""
    front = list(found.front)
    if len(front) > _MOST_LINES:
        front = [front[round(i * (len(front) - 1) / (_MOST_LINES - 1))] for i in range(_MOST_LINES)]
    return [*front, found.best]


def _figure(found: Found, value: float | None) -> str:
    if value is None:
        return "-"
    if found.metric.is_share:
        return f"{value:.2%}"
    return decibels(value) if math.isinf(value) else f"{decibels(value)} dB"


def _price(cost: Cost, value: float) -> str:
    if cost is Cost.MACS:
        return f"{value:,.0f} bit operations"
    return f"{value / 8:,.0f} bytes"


def _summary(found: Found, out: Path | None) -> Iterator[Text]:
    best = found.best
    reference = f"{found.reference_of} {_figure(found, found.reference)}"
    yield Text(f"{found.metric}: {reference}, found {_figure(found, best.value)} at {_price(found.cost, best.cost)}")
    if (held := found.held_out) is not None:
        there = f"{found.reference_of} {_figure(found, held.reference)}, found {_figure(found, held.value)}"
        yield Text(f"on {held.samples:,} samples that were held out: {there}, asked for {_figure(found, held.least)}")
    good = {bits: one for bits, one in found.uniform.items() if one.is_good(found.least)}
    if good:
        bits = min(good, key=lambda bits: good[bits].cost)
        less = 1 - best.cost / good[bits].cost
        yield Text(f"one word length for all: {bits} bits at {_price(found.cost, good[bits].cost)}; {less:.1%} saved")
    many = "1 assignment of word lengths was" if found.runs == 1 else f"{found.runs} assignments of word lengths were"
    yield Text(f"{many} measured")
    for note in found.notes:
        yield Text(printable(f"note: {note}"), style="yellow")
    if out is not None:
        yield Text(printable(f"wrote {out}"))
