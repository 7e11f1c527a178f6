"""Output of `qengine quantize`: a table, or one JSON object.

===========  =======================================================================================================
model        the model as typed
recipe       the recipe as typed
formats      {tensor: format, or a list of formats, one per channel}, constants included: a formats file
steps        [{step, is_kept, before_db, after_db, runs, reason}]: the verdict on each step of a guarded recipe
corrections  [{correction, layer, is_done, text}]: the effect of each correction on each layer
check        what was compared between the file, read back, and the session; or why nothing was
preprocessing
             how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
notes        what the file cannot say to other runtimes
written      paths of the files
===========  =======================================================================================================
"""

from pathlib import Path
from typing import Any

from qengine.cli.output.console import Line, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.model.constant_roles import constant_roles, with_roles
from qengine.model.formats.files import format_to_json
from qengine.quantization.qdq import QuantizedModel
from qengine.results import json_text

_MAX_LISTED = 3


def as_json(model: str, out: Path, recipe: str, pixels: Applied, quantized: QuantizedModel) -> str:
    """Return the JSON object, in lines of ASCII."""
    record: dict[str, Any] = {
        "model": model,
        "recipe": recipe,
        "formats": {name: format_to_json(fmt) for name, fmt in quantized.session.formats.items()},
        "steps": [vars(verdict) for verdict in quantized.verdicts],
        "corrections": [vars(entry) for entry in quantized.entries],
        "check": quantized.check,
        "preprocessing": pixels.record,
        "notes": (*quantized.notes, *pixels.notes),
        "written": [str(out)],
    }
    return json_text(record)


def as_table(model: str, out: Path, recipe: str, pixels: Applied, quantized: QuantizedModel) -> str:
    """Return a table of the corrections, and a summary."""
    table = Table()
    table.names("correction")
    table.numbers("layers changed", "unchanged")
    for name, changed, unchanged in _counts(quantized):
        table.row(name, f"{changed:,}", f"{unchanged:,}")
    opset = next(one.version for one in quantized.model.opset_import if not one.domain)
    rounded = sum(name in quantized.session.rounded for name in quantized.session.formats)
    roles = constant_roles(quantized.session.graph)
    lines: list[Line] = [
        f"opset {opset}, {rounded} tensors rounded, {len(quantized.session.formats) - rounded} others with formats",
        *map(str, quantized.verdicts),
        *(with_roles(line, roles) for line in _unchanged(quantized)),
        Paste(f"wrote {out}"),
        quantized.check,
        *(f"note: {with_roles(note, roles)}" for note in quantized.notes),
    ]
    return rendered(f"{model}, recipe {recipe}", table, [*pixel_lines(pixels), *lines])


def _counts(quantized: QuantizedModel) -> list[tuple[str, int, int]]:
    """Return, per correction, its name and the number of layers that it changed and that it left unchanged."""
    names = dict.fromkeys(entry.correction for entry in quantized.entries)
    return [
        (
            name,
            sum(e.is_done for e in quantized.entries if e.correction == name),
            sum(not e.is_done for e in quantized.entries if e.correction == name),
        )
        for name in names
    ]


def _unchanged(quantized: QuantizedModel) -> list[str]:
    """Return the reasons why layers were left unchanged, the first few only."""
    notes = [f"note: {entry}" for entry in quantized.entries if not entry.is_done]
    rest = len(notes) - _MAX_LISTED
    return notes[:_MAX_LISTED] + ([f"note: {rest} more layers are unchanged; --json lists all"] if rest > 0 else [])
