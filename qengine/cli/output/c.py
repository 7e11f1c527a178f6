"""Output of `qengine export c`: a table of the operators, or one JSON object.

Every key is always present.

===================  ===============================================================================================
model, out           the model as typed, and the folder
name, files          prefix, and the names of the files
memory               bytes of the arena, the bound below which none can be, of inputs, outputs and the largest tensor
flash, macs          bytes of weights and tables, and products
instructions         estimates for a Cortex-M4, without and with its DSP instructions
operators            [{name, operator, macs, flash, offset, bytes, in_place, instructions}]: `offset` is that of the
                     first output in the arena, null for memory of the caller
compiled, verified   sizes of code and stack, and what --verify found; null without it
preprocessing        how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
notes                lines of text
===================  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.text import Text

from qengine.cli.output.console import Line, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import BAD, GOOD, QUIET, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.results import json_text

if TYPE_CHECKING:
    from qengine.deploy.c import CProject


def as_json(model: str, pixels: Applied, project: CProject, notes: tuple[str, ...]) -> str:
    """Return the JSON object, in lines of ASCII."""
    manifest = project.manifest
    return json_text(
        {
            "model": model,
            "out": str(project.folder),
            "name": project.name,
            "files": list(project.files),
            "memory": manifest["memory"],
            "flash": project.flash,
            "macs": project.macs,
            "instructions": {
                "m4_estimate": manifest["instructions_m4_estimate"],
                "m4_dsp_estimate": manifest["instructions_m4_dsp_estimate"],
            },
            "operators": [_operator(project, one) for one in project.operators],
            "compiled": manifest["compiled"],
            "verified": manifest["verified"],
            "preprocessing": pixels.record,
            "notes": [*notes, *project.notes, *pixels.notes],
        }
    )


def _operator(project: CProject, one: dict[str, Any]) -> dict[str, Any]:
    output = project.tensors[one["outputs"][0]]
    return {
        "name": one["node"],
        "operator": one["operator"],
        "macs": one["macs"],
        "flash": one["flash"],
        "offset": output["offset"],
        "bytes": output["bytes"],
        "in_place": one["in_place"],
        "instructions": {
            "m4_estimate": one["instructions_m4_estimate"],
            "m4_dsp_estimate": one["instructions_m4_dsp_estimate"],
        },
    }


def as_tables(model: str, pixels: Applied, project: CProject, notes: tuple[str, ...]) -> str:
    """Return the table and a summary, in colour if standard output is a terminal."""
    count = len(project.operators)
    title = f"{model}: {count} operator{'s' * (count != 1)} in C"
    return rendered(title, _table(project), [*pixel_lines(pixels), *_summary(project, notes)])


def _table(project: CProject) -> Table:
    table = Table()
    table.names("operator")
    table.names("kind", importance=4)
    table.numbers("products", importance=6)
    table.numbers("flash", importance=8)
    table.numbers("arena", importance=5)
    table.numbers("bytes", importance=9)
    table.numbers("M4 insn\nestimate", importance=7)
    for one in project.operators:
        output = project.tensors[one["outputs"][0]]
        place = "output" if output["offset"] is None else f"{output['offset']:,}"
        table.row(
            one["node"],
            one["operator"],
            _short(one["macs"]) if one["macs"] else "-",
            f"{one['flash']:,}" if one["flash"] else "-",
            place + ("" if one["in_place"] is False else "*"),
            f"{output['bytes']:,}",
            "-" if one["no_code"] else _short(one["instructions_m4_estimate"]),
        )
    return table


def _short(count: int) -> str:
    """Return a number of at most five digits, such as "102.7k"."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 10 * size:
            return f"{count / size:,.1f}{unit}"
    return f"{count:,}"


def _summary(project: CProject, notes: tuple[str, ...]) -> Iterator[Line]:
    manifest = project.manifest
    memory, compiled, verified = manifest["memory"], manifest["compiled"], manifest["verified"]
    if any(one["in_place"] for one in project.operators):
        yield Text("* on bytes of its input", style=QUIET)
    yield (
        f"arena {memory['arena']:,} B; {_bound(memory)}; inputs {memory['inputs']:,} B and outputs "
        f"{memory['outputs']:,} B of the caller"
    )
    yield f"flash {project.flash:,} B of weights and tables{_code(compiled)}"
    yield (
        f"{project.macs:,} products; about {manifest['instructions_m4_estimate']:,} instructions on a Cortex-M4, "
        f"{manifest['instructions_m4_dsp_estimate']:,} with DSP (estimates)"
    )
    if verified is not None:
        style = BAD if verified["differences"] else GOOD if verified["equal"] else WARN
        yield Text(verified["sentence"], style=style)
    for note in (*notes, *project.notes):
        if verified is None or note != verified["sentence"]:
            yield Text(f"note: {note}", style=WARN)
    yield Paste(f"wrote {project.folder}")
    yield f"files: {', '.join(project.files)}"


def _bound(memory: dict[str, Any]) -> str:
    if memory["is_least"] and memory["arena"] > memory["bound"]:
        return "no arrangement is smaller"
    return f"nothing can be below {memory['bound']:,} B"


def _code(compiled: dict[str, Any] | None) -> str:
    if compiled is None or compiled["code"] is None:
        return ""
    stack = "" if compiled["stack"] is None else f", stack about {compiled['stack']:,} B"
    return f", code {compiled['code']:,} B{stack} ({compiled['compiler']} {' '.join(compiled['flags'])})"
