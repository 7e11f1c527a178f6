"""The last sections: notes, the commands, and the versions and digests of what was used."""

from __future__ import annotations

from qengine.html_report.facts import Report
from qengine.html_report.markup import element, shortened
from qengine.html_report.sections.section import Row, Section, command_line, paragraph, table

_LISTED, _LETTERS = 60, 400

_TITLES = {
    "report": "This report",
    "model": "The model",
    "formats": "Formats",
    "accuracy": "Accuracy",
    "curve": "Word length",
    "tensors": "Tensors and blame",
    "memory": "Memory and cost",
}


def notes_section(report: Report) -> Section:
    """Return the section on losses that no table shows, and on what is missing."""
    lines = [*report.notes, *(f"{name}: {why}" for name, why in sorted(report.missing.items()))]
    more = len(lines) - _LISTED
    listed = [element("li", shortened(one, _LETTERS)) for one in lines[:_LISTED]]
    body = element("ul", listed) if listed else paragraph("There are no notes.")
    return Section("notes", "Notes", (body, paragraph(f"{more:,} more are left out.") if more > 0 else None))


def commands_section(report: Report) -> Section:
    """Return the section with the commands that give these numbers."""
    groups: dict[str, list[str]] = {}
    for one in report.commands:
        groups.setdefault(one.section, []).append(one.text)
    body = [[element("h3", _TITLES.get(name, name)), list(map(command_line, lines))] for name, lines in groups.items()]
    return Section(
        "commands",
        "Commands",
        (
            paragraph("Run them where the files are; formats.json is the file that the command under Formats writes."),
            body,
        ),
    )


def versions_section(report: Report) -> Section:
    """Return the section on versions and digests."""
    rows = [Row((name, text)) for name, text in report.versions.items()]
    rows.append(Row(("model", element("code", report.model.digest))))
    if report.data is not None and report.data.digest is not None:
        rows.append(Row(("data", element("code", report.data.digest))))
    rows += [Row((f"opset of {name or 'ai.onnx'}", f"{number}")) for name, number in report.model.opsets.items()]
    return Section(
        "versions",
        "Versions",
        (
            paragraph(
                "Equal versions, formats and digests give equal integers on every machine, and this file byte by byte."
            ),
            table("Versions and digests", ("What", "Which"), rows),
        ),
    )
