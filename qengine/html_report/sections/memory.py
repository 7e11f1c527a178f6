"""Memory and cost of the network in C, operation by operation."""

from __future__ import annotations

from collections.abc import Iterator

from qengine.html_report.charts.arena import arena_chart
from qengine.html_report.facts import MemoryFacts, Report
from qengine.html_report.figures import count, kibibytes, large
from qengine.html_report.markup import Markup, element, name_of, shortened
from qengine.html_report.sections.section import Cell, Row, Section, command_block, paragraph, reason, table


def section(report: Report) -> Section:
    """Return the section."""
    facts, title = report.memory, "Memory and cost"
    if facts is None:
        return Section("memory", title, (reason(report, "memory"), _layers(report)))
    chart = arena_chart(facts)
    least = "no arrangement is smaller" if facts.is_least else f"nothing can be below {kibibytes(facts.bound)}"
    return Section(
        "memory",
        title,
        (
            paragraph(
                f"As C for a device: {kibibytes(facts.flash)} of weights and tables in flash; an arena of "
                f"{kibibytes(facts.arena)} in RAM ({least}), with {kibibytes(facts.inputs)} for inputs and "
                f"{kibibytes(facts.outputs)} for outputs; {large(facts.macs)} products, about "
                f"{large(facts.instructions)} instructions on a Cortex-M4 with DSP, an estimate. Words are not packed: "
                "each takes 1, 2 or 4 bytes."
            ),
            element(
                "figure",
                _scrolling(chart),
                element("figcaption", "The arena over time: a box is the memory of a tensor."),
            )
            if chart
            else None,
            table(
                "Operations of the network in C",
                ("Operation", "Operator", "Products", "Weights", "Output", "In place", "Instructions"),
                _rows(facts),
                numbers=(2, 3, 4, 6),
            ),
            command_block(report, "memory"),
        ),
    )


def _scrolling(chart: Markup) -> Markup:
    return element("div", chart, class_="scroll map", tabindex="0", role="region", aria_label="The arena over time")


def _rows(facts: MemoryFacts) -> Iterator[Row]:
    for i, one in enumerate(facts.operations):
        yield Row(
            (
                name_of(one.name),
                one.operator,
                Cell(large(one.macs) if one.macs else "0", one.macs),
                Cell(count(one.flash), one.flash),
                Cell(count(one.bytes), one.bytes),
                "yes" if one.in_place else "no",
                Cell(large(one.instructions), one.instructions),
            ),
            style="own" if i == facts.peak else None,
        )


def _layers(report: Report) -> object:
    """Return the work of each node, which is known without a network in C."""
    nodes = [one for one in report.model.nodes if one.macs]
    if not nodes:
        return None
    rows = (
        Row((name_of(one.name), shortened(one.operator, 30), Cell(one.shape), Cell(large(one.macs), one.macs)))
        for one in nodes
    )
    return table("Nodes that multiply", ("Node", "Operator", "Output", "Multiply-accumulates"), rows, numbers=(3,))
