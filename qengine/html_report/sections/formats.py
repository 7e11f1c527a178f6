"""The formats: which there are, and how many tensors have each."""

from __future__ import annotations

from collections.abc import Iterator

from qengine.html_report.facts import Report, TensorFacts
from qengine.html_report.figures import number
from qengine.html_report.markup import shortened
from qengine.html_report.sections.section import Cell, Row, Section, command_block, paragraph, reason, table

_LISTED = 3


def section(report: Report) -> Section:
    """Return the section."""
    if not report.tensors:
        return Section("formats", "Formats", (reason(report, "tensors"),))
    groups: dict[tuple[str, str], list[TensorFacts]] = {}
    for one in report.tensors:
        groups.setdefault((one.format, "constant" if one.kind == "constant" else "activation"), []).append(one)
    order = sorted(groups.items(), key=lambda pair: (pair[0][1], -len(pair[1]), pair[0][0]))
    bits = sorted({one.bits for one in report.tensors})
    return Section(
        "formats",
        "Formats",
        (
            paragraph(
                f"{len(report.tensors):,} tensors in {len(groups):,} formats of {', '.join(map(str, bits))} bits, "
                f"{report.formats}. Qm.n has a sign bit, m integer and n fraction bits; UQm.n has no sign."
            ),
            table(
                "Formats and the tensors that have them",
                ("Format", "Kind", "Bits", "Range", "Step", "Tensors", "Such as"),
                _rows(order),
                numbers=(2, 4, 5),
            ),
            command_block(report, "formats"),
        ),
    )


def _rows(groups: list[tuple[tuple[str, str], list[TensorFacts]]]) -> Iterator[Row]:
    for (fmt, kind), tensors in groups:
        first = tensors[0]
        more = len(tensors) - _LISTED
        names = ", ".join(shortened(one.name, 36) for one in tensors[:_LISTED])
        yield Row(
            (
                shortened(fmt, 60),
                kind,
                Cell(first.bits, first.bits),
                f"{number(first.low)} to {number(first.high)}",
                Cell(number(first.step), first.step),
                Cell(f"{len(tensors):,}", len(tensors)),
                Cell(names + (f" and {more:,} more" if more > 0 else ""), style="wrap"),
            )
        )
