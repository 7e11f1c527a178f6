"""Every tensor: its SQNR, its histogram against the range of its format, and what is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qengine.analysis.plot_style import grade_of
from qengine.html_report.charts.histogram import histogram_chart
from qengine.html_report.facts import Report, TensorFacts
from qengine.html_report.figures import NOTHING, count, decibels, number, percent
from qengine.html_report.gather.tensors import MAX_HISTOGRAMS
from qengine.html_report.markup import element, name_of, shortened
from qengine.html_report.sections.section import Cell, Row, Section, bar, command_block, paragraph, reason, table

MAX_ROWS = 2000
"""Tensors of the table."""

_FULL_DB = 60.0


def section(report: Report) -> Section:
    """Return the section."""
    title = "Tensors"
    if not report.tensors:
        return Section("tensors", title, (reason(report, "tensors"),))
    measured = report.blame is not None
    text = (
        f"SQNR and losses are those of the run in fixed point against float32, over all samples; histograms and "
        f"constants are of the first {report.blame.samples:,}, in float32, with counts on a logarithmic scale. Dashed "
        "lines are the ends of the format: values beyond them saturate. Zeroed values are not 0, but their code is. "
        "The tensor that costs most comes first."
        if report.blame is not None
        else f"Formats alone: {report.missing.get('blame', 'nothing was measured')}."
    )
    hidden = len(report.tensors) - MAX_HISTOGRAMS if measured else 0
    left_out = len(report.tensors) - MAX_ROWS
    notes = []
    if hidden > 0:
        notes.append(
            f"Histograms are of the {MAX_HISTOGRAMS} tensors that cost most; {hidden:,} more have figures alone."
        )
    if left_out > 0:
        notes.append(f"The table has {MAX_ROWS:,} tensors; {left_out:,} more are left out.")
    headings = ["Tensor", "Format"]
    headings += ["SQNR", "Histogram", "Saturated", "Zeroed", "Unused bits", "Better format"] if measured else ["Step"]
    return Section(
        "tensors",
        title,
        (
            paragraph(text),
            element(
                "label",
                "Find a tensor: ",
                element("input", type="search", id="find-tensor", autocomplete="off"),
                class_="find",
                hidden=True,
            ),
            table("Tensors", headings, _rows(report, measured), numbers=(2, 4, 5, 6) if measured else (2,)),
            [paragraph(one) for one in notes],
            command_block(report, "tensors"),
        ),
    )


def _rows(report: Report, measured: bool) -> Iterator[Row]:
    for i, one in enumerate(report.tensors[:MAX_ROWS]):
        name = [name_of(one.name), element("small", _words(one))]
        reach = element("small", f"{number(one.low)} to {number(one.high)}")
        cells = [Cell(name), Cell([shortened(one.format, 40), reach], style="format")]
        yield Row([*cells, *(_figures(one) if measured else [Cell(number(one.step), one.step)])], anchor=f"t{i}")


def _words(one: TensorFacts) -> str:
    """Return what a tensor is: its kind and operator, or the role of a constant."""
    return shortened(one.role, 50) if one.role else f"{one.kind}, {shortened(one.operator, 30)}"


def _figures(one: TensorFacts) -> Iterator[Cell]:
    ratio = one.sqnr_db
    grade = "" if ratio is None else f"q{grade_of(ratio)}"
    full = 0.0 if ratio is None else min(ratio, _FULL_DB) / _FULL_DB
    yield Cell([decibels(ratio), bar(full, grade)], _sortable(ratio))
    yield Cell(histogram_chart(one) or NOTHING)
    share = one.saturated / one.elements if one.elements and one.saturated is not None else None
    yield Cell(percent(share), share, "bad" if share and share > 1e-3 else None)
    under = one.underflowed / one.elements if one.elements and one.underflowed is not None else None
    yield Cell(percent(under), under)
    yield Cell(count(one.unused_bits), one.unused_bits)
    yield Cell(one.suggestion or "", style="wrap")


def _sortable(ratio: float | None) -> float | None:
    if ratio is None:
        return None
    return 1e6 if math.isinf(ratio) else ratio
