"""Output of `qengine report`: the summary and the time of each part, or the numbers of the report as one JSON object.

The JSON object is the one in the file, whose keys are the attributes of `qengine.html_report.Report`, and "path".
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from qengine.cli.output.console import Line, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.html_report import WrittenReport
from qengine.html_report.page import record
from qengine.results import json_text

_PARTS = {
    "accuracy": "accuracy and word lengths",
    "blame": "each tensor",
    "memory": "memory",
    "data": "samples",
    "model": "graph",
}


def as_json(written: WrittenReport, pixels: Applied) -> str:
    """Return the JSON object, in lines of ASCII."""
    known = {"path": written.path, **record(written.facts), "preprocessing": pixels.record}
    return json_text({**known, "notes": [*dict.fromkeys((*written.facts.notes, *pixels.notes))]})


def as_text(written: WrittenReport, pixels: Applied) -> str:
    """Return the summary, the time of each part and what is missing."""
    facts = written.facts
    table = Table()
    table.names("part")
    table.numbers("seconds")
    for name, seconds in written.seconds.items():
        table.row(_PARTS.get(name, name), f"{seconds:.1f}")
    return rendered(f"{facts.model.name}: {facts.summary}", table, [*pixel_lines(pixels), *_lines(written)])


def _lines(written: WrittenReport) -> Iterator[Line]:
    yield f"next step: {written.facts.next_step}"
    for name, why in written.facts.missing.items():
        if name != "worst":
            yield Text(f"not in the report: {_PARTS.get(name, name)}: {why}", style=WARN)
    yield Paste(f"wrote {written.path}")
