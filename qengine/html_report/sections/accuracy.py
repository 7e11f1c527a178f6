"""Accuracy: float32, the formats of the report and targets side by side; the curve over word lengths."""

from __future__ import annotations

from collections.abc import Iterator

from qengine.html_report.charts.curve import accuracy_chart, pareto_chart
from qengine.html_report.facts import AccuracyFacts, ConfusionFacts, Report, RunFacts
from qengine.html_report.figures import kibibytes, metric_text
from qengine.html_report.gather.accuracy import COST
from qengine.html_report.markup import Markup, element
from qengine.html_report.sections.section import Cell, Row, Section, command_block, paragraph, reason, table


def section(report: Report) -> Section:
    """Return the section on float32, fixed point and targets."""
    facts = report.accuracy
    if facts is None:
        return Section("accuracy", "Accuracy", (reason(report, "accuracy"),))
    words = {"target": "the true pictures of the data", "float32": "those of float32"}
    against = f" Pictures are compared with {words.get(facts.against, facts.against)}." if facts.against else ""
    rows = [facts.float32, *([facts.fixed] if facts.fixed else []), *facts.targets]
    targets = (
        "A target computes as that device does, in formats that are chosen for it."
        if facts.targets
        else "No targets were compared; --targets names some."
    )
    return Section(
        "accuracy",
        "Accuracy",
        (
            paragraph(f"Output '{facts.output}' over {facts.samples:,} samples.{against} {targets}"),
            _table("Float32, fixed point and targets", facts, rows, "Arithmetic"),
            _confusion(facts.confusion, "fixed point" if facts.fixed else "float32") if facts.confusion else None,
            command_block(report, "accuracy"),
        ),
    )


def _confusion(facts: ConfusionFacts, arithmetic: str) -> Markup:
    """Return the table of classes; the diagonal, where both agree, is bold."""
    row_words = "class of float32" if facts.reference == "float32" else "true class"
    rows = (
        Row((name, *(Cell(element("strong", f"{n:,}") if i == j else f"{n:,}", n) for j, n in enumerate(counts))))
        for i, (name, counts) in enumerate(zip(facts.classes, facts.counts, strict=True))
    )
    heading = row_words[0].upper() + row_words[1:]
    caption = f"Samples by {row_words} (rows) and class in {arithmetic} (columns)"
    return table(caption, (heading, *facts.classes), rows, numbers=range(1, 1 + len(facts.classes)))


def curve_section(report: Report) -> Section:
    """Return the section on word lengths."""
    title, facts = "Word length", report.accuracy
    if facts is None or not facts.curve:
        body = (
            reason(report, "accuracy")
            if facts is None
            else paragraph("There is no curve of word lengths.", class_="missing")
        )
        return Section("curve", title, (body,))
    charts = [
        element("figure", chart, element("figcaption", caption))
        for chart, caption in (
            (
                accuracy_chart(facts),
                "Formats are chosen from the data for each word length. Large: the formats of this report.",
            ),
            (
                pareto_chart(facts),
                "Filled: no other length is smaller and better. Large: the formats of this report; green: targets.",
            ),
        )
        if chart is not None
    ]
    own = facts.curve
    return Section(
        "curve",
        title,
        (
            element("div", charts, class_="charts") if charts else None,
            _table("Word lengths", facts, own, "Word length", frozenset(facts.front)),
            command_block(report, "curve"),
        ),
    )


def _table(
    caption: str,
    facts: AccuracyFacts,
    runs: tuple[RunFacts, ...] | list[RunFacts],
    first: str,
    front: frozenset[int] | None = None,
) -> Markup:
    headings = [
        first,
        *(one.label for one in facts.metrics),
        "Weights",
        *(["Pareto front"] if front is not None else []),
    ]
    return table(caption, headings, _rows(facts, runs, front), numbers=range(1, len(facts.metrics) + 2))


def _rows(
    facts: AccuracyFacts, runs: tuple[RunFacts, ...] | list[RunFacts], front: frozenset[int] | None
) -> Iterator[Row]:
    for i, run in enumerate(runs):
        bits = f"{run.bits} bits" if run.bits and not run.label.endswith("bits") else ""
        words = ", ".join(filter(None, (bits, run.note)))
        name = [run.label, element("small", words) if words else None]
        if run.error is not None:
            yield Row((name, Cell(f"failed: {run.error}", style="wrap bad"), *([""] * (len(facts.metrics) - 1)), ""))
            continue
        cells: list[Cell] = []
        for metric in facts.metrics:
            value = run.figures.get(metric.column)
            cells.append(Cell(metric_text(metric, value), value))
        cost = run.costs.get(COST)
        cells.append(Cell(kibibytes(cost), cost))
        if front is not None:
            cells.append(Cell("yes" if i in front else "no"))
        yield Row((Cell(name, run.bits), *cells), style="own" if run is facts.fixed else None)
