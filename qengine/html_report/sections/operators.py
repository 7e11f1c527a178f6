"""Operators: how many there are of each, and which compute in float32 inside of a run in fixed point."""

from __future__ import annotations

from qengine.analysis.inspection import MEANINGS
from qengine.html_report.facts import Report
from qengine.html_report.figures import large
from qengine.html_report.markup import element, name_of, shortened
from qengine.html_report.sections.section import Cell, Row, Section, paragraph, table

_SPECIAL = ("island", "delegated", "unsupported", "unused")
_LISTED = 40


def section(report: Report) -> Section:
    """Return the section."""
    model = report.model
    islands = [one for one in model.nodes if one.kind in _SPECIAL]
    meanings = {str(kind): text for kind, text in MEANINGS.items()}
    rows = (
        Row(
            (
                shortened(operator, 60),
                Cell([kind, element("small", meanings.get(kind, ""))], style="wrap"),
                Cell(f"{number:,}", number),
                Cell(large(macs), macs),
            )
        )
        for operator, kind, number, macs in model.operators
    )
    more = len(islands) - _LISTED
    listed = [
        element("li", name_of(one.name), f" ({shortened(one.operator, 40)}): {meanings.get(one.kind, one.kind)}")
        for one in islands[:_LISTED]
    ]
    return Section(
        "operators",
        "Operators",
        (
            table(
                "Operators of the model",
                ("Operator", "In fixed point", "Nodes", "Multiply-accumulates"),
                rows,
                numbers=(2, 3),
            ),
            [paragraph("These are not computed as integers:"), element("ul", listed)]
            if listed
            else paragraph("Every node that is needed is computed in integers, or only decides shapes."),
            paragraph(f"{more:,} more are left out.") if more > 0 else None,
        ),
    )
