"""The sections of a report, in their order."""

from __future__ import annotations

from qengine.html_report.facts import Report
from qengine.html_report.sections import (
    accuracy,
    blame,
    ending,
    formats,
    graph,
    memory,
    operators,
    samples,
    summary,
    tensors,
)
from qengine.html_report.sections.section import Section

_ORDER = (
    summary.section,
    graph.section,
    formats.section,
    accuracy.section,
    accuracy.curve_section,
    tensors.section,
    blame.section,
    memory.section,
    operators.section,
    samples.data_section,
    samples.worst_section,
    ending.notes_section,
    ending.commands_section,
    ending.versions_section,
)


def sections(report: Report) -> list[Section]:
    """Return the sections of a report."""
    return [one(report) for one in _ORDER]
