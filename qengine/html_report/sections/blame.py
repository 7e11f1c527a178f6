"""Blame: what each tensor's format costs at the output."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qengine.html_report.facts import Report
from qengine.html_report.figures import decibels, percent
from qengine.html_report.markup import element, name_of
from qengine.html_report.sections.section import Cell, Row, Section, bar, command_block, paragraph, reason, table

_LISTED = 200


def section(report: Report) -> Section:
    """Return the section."""
    facts, title = report.blame, "Blame"
    if facts is None:
        return Section("blame", title, (reason(report, "blame"),))
    places = {one.name: i for i, one in enumerate(report.tensors)}
    ranked = [one for one in report.tensors if one.output_db is not None]
    ranked.sort(key=lambda one: (-(one.gain_db if one.gain_db is not None else -math.inf), -(one.share or 0.0)))
    more = len(ranked) - _LISTED
    rows = (
        ("all tensors rounded, in float32 otherwise", facts.rounded_db),
        ("all constants", facts.constants_db),
        ("all inputs and activations", facts.activations_db),
        ("the run in fixed point", facts.sqnr_db),
    )

    def listed() -> Iterator[Row]:
        most = max((one.share or 0.0 for one in ranked), default=0.0) or 1.0
        for one in ranked[:_LISTED]:
            name = element("a", name_of(one.name), href=f"#t{places[one.name]}")
            gain = None if one.gain_db is None else min(one.gain_db, 1e6)
            alone = None if one.output_db is None else min(one.output_db, 1e6)
            yield Row(
                (
                    name,
                    one.kind,
                    Cell(decibels(one.gain_db), gain),
                    Cell(decibels(one.output_db), alone),
                    Cell([percent(one.share), bar((one.share or 0.0) / most, "s1")], one.share),
                )
            )

    return Section(
        "blame",
        title,
        (
            [paragraph(f"{one[0].upper()}{one[1:]}.") for one in facts.verdict],
            table(
                "SQNR at the output with these tensors rounded",
                ("Rounded", "SQNR"),
                (
                    Row((name, Cell(decibels(value), value if value is None else min(value, 1e6))))
                    for name, value in rows
                ),
                numbers=(1,),
            ),
            paragraph(
                "Cost: what the output gains when this tensor alone is not rounded, and all others are. Alone: the "
                "SQNR at the output when nothing else is rounded. Share: its part of the noise of all, each alone."
            ),
            table("What each tensor costs", ("Tensor", "Kind", "Cost", "Alone", "Share"), listed(), numbers=(2, 3, 4)),
            paragraph(f"{more:,} more tensors that cost less are left out.") if more > 0 else None,
            command_block(report, "tensors"),
        ),
    )
