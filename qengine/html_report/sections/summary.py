"""The first section: what came out, and what to do, with the figures that matter most."""

from __future__ import annotations

from collections.abc import Iterator

from qengine.html_report.facts import Report
from qengine.html_report.figures import decibels, kibibytes, large, metric_text
from qengine.html_report.gather.accuracy import COST
from qengine.html_report.markup import Markup, element
from qengine.html_report.sections.section import Section, paragraph


def section(report: Report) -> Section:
    """Return the section."""
    return Section(
        "summary",
        "Summary",
        (
            paragraph(report.summary, class_="lead"),
            paragraph(element("strong", "Next step: "), report.next_step),
            element(
                "dl", [element("div", element("dt", a), element("dd", b)) for a, b in _figures(report)], class_="cards"
            ),
        ),
    )


def _figures(report: Report) -> Iterator[tuple[str, str | Markup]]:
    accuracy, memory, blame = report.accuracy, report.memory, report.blame
    if accuracy is not None:
        metric = accuracy.metric
        yield f"{metric.label}, float32", metric_text(metric, accuracy.float32.figures.get(metric.column))
        if accuracy.fixed is not None:
            yield f"{metric.label}, fixed point", metric_text(metric, accuracy.fixed.figures.get(metric.column))
    if blame is not None:
        yield "SQNR of the outputs", decibels(blame.sqnr_db)
    if report.formats:
        yield "Formats", report.formats
    if accuracy is not None and accuracy.fixed is not None and accuracy.fixed.costs.get(COST) is not None:
        yield "Weights, packed", kibibytes(accuracy.fixed.costs.get(COST))
    if memory is not None:
        yield "RAM of the network in C", kibibytes(memory.arena)
    yield "Parameters", large(report.model.parameters)
    if report.model.macs:
        yield "Multiply-accumulates", large(report.model.macs)
