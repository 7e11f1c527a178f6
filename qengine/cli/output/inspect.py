"""Output of `qengine inspect`: tables, or one JSON object.

Every key is always present. A figure that depends on an unknown shape is null; a warning names the missing shape.

============================  ========================================================================================
model                         the model as typed
name                          name of the model's graph
opsets                        {domain: version}; the domain of ONNX itself is ""
inputs, outputs               [{name, computed_by, dtype, shape, format}]; an unknown length is a name or null
operators                     [{operator, domain, kind, count, macs}], the most frequent first
nodes                         [{name, operator, domain, kind, outputs, macs, within}]; within: the containing node
tensors                       [{name, computed_by, dtype, shape, format}], constants included
parameters, parameter_bytes   number of elements of the constants that operators compute with, and their size
macs                          number of multiply-accumulates in one run
islands, delegated, unsupported   nodes of these kinds, as errors name them
qformat, weight_qformat, formats_file, target, per_channel
                              options as typed; per_channel is null in float32
warnings                      lines of text
============================  ========================================================================================
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from qengine.analysis.inspection import MEANINGS, Inspection, TensorInfo
from qengine.cli.options import FixedPointOptions
from qengine.cli.output.console import Line, Part, rendered
from qengine.cli.output.styles import BAD, QUIET, WARN
from qengine.cli.output.tables import Table
from qengine.model.constant_roles import with_roles
from qengine.model.formats.files import format_to_json
from qengine.results import json_text

_COLOURS = {"island": WARN, "delegated": WARN, "unsupported": BAD, "unused": WARN}


def as_json(model: str, fixed: FixedPointOptions, inspection: Inspection) -> str:
    """Return the JSON object, in lines of ASCII."""
    record = {
        "model": model,
        "name": inspection.name,
        "opsets": dict(inspection.opsets),
        "inputs": [_tensor(info) for info in inspection.inputs],
        "outputs": [_tensor(info) for info in inspection.outputs],
        "operators": [asdict(info) for info in inspection.operators],
        "nodes": [asdict(info) for info in inspection.nodes],
        "tensors": [_tensor(info) for info in inspection.tensors],
        "parameters": inspection.parameters,
        "parameter_bytes": inspection.parameter_bytes,
        "macs": inspection.macs,
        "islands": [str(node) for node in inspection.of_kind("island")],
        "delegated": [str(node) for node in inspection.of_kind("delegated")],
        "unsupported": [str(node) for node in inspection.of_kind("unsupported")],
        "qformat": fixed.qformat,
        "weight_qformat": fixed.weight_qformat,
        "formats_file": None if fixed.formats is None else str(fixed.formats),
        "target": fixed.target,
        "per_channel": fixed.per_channel if inspection.in_fixed_point else None,
        "warnings": inspection.warnings,
    }
    return json_text(record)


def _tensor(info: TensorInfo) -> dict[str, Any]:
    return {**vars(info), "format": None if info.format is None else format_to_json(info.format)}


def as_tables(
    model: str, fixed: FixedPointOptions, inspection: Inspection, roles: Mapping[str, str], *, tensors: bool
) -> str:
    """Return tables and a summary, in colour if standard output is a terminal."""
    opsets = ", ".join(f"{domain} opset {n}".lstrip() for domain, n in inspection.opsets.items())
    words = [model, opsets, fixed.qformat or "", fixed.formats.name if fixed.formats else ""]
    ends = [("input", info) for info in inspection.inputs] + [("output", info) for info in inspection.outputs]
    parts: list[Part] = [_ends(ends, inspection.in_fixed_point), "", _operators(inspection)]
    if tensors:
        parts += ["", _computed(inspection, inspection.in_fixed_point)]
    return rendered(", ".join(filter(None, words)), parts, _summary(inspection, roles))


def _ends(ends: Sequence[tuple[str, TensorInfo]], is_fixed: bool) -> Table:
    table = Table()
    table.words("", importance=9)
    table.names("tensor")
    table.words("type", importance=3)
    table.text("shape", importance=8)
    if is_fixed:
        table.formats("format", importance=7)
    for role, info in ends:
        table.row(role, info.name, info.dtype or "?", _shape(info), *([_format(info)] if is_fixed else []))
    return table


def _operators(inspection: Inspection) -> Table:
    has_macs = inspection.macs is None or inspection.macs > 0
    table = Table()
    table.names("operator")
    table.numbers("count", importance=9)
    if has_macs:
        table.numbers("MACs", importance=8)
    table.words("kind", importance=7)
    table.text("meaning", importance=1)
    for info in inspection.operators:
        name = f"{info.domain}.{info.operator}" if info.domain else info.operator
        macs = ["?" if info.macs is None else f"{info.macs:,}" if info.macs else ""] if has_macs else []
        kind = Text(info.kind, style=_COLOURS.get(info.kind, ""))
        table.row(name, f"{info.count:,}", *macs, kind, Text(MEANINGS[info.kind], style=QUIET))
    return table


def _computed(inspection: Inspection, is_fixed: bool) -> Table:
    table = Table()
    table.names("tensor")
    table.names("computed by", importance=5)
    table.words("kind", importance=4)
    table.words("type", importance=2)
    table.text("shape", importance=8)
    if is_fixed:
        table.formats("format", importance=9)
    table.numbers("MACs", importance=6)
    nodes = {name: node for node in inspection.nodes if not node.within for name in node.outputs}
    for info in inspection.tensors:
        if info.name in nodes:
            node = nodes[info.name]
            macs = "?" if node.macs is None else f"{node.macs:,}" if node.macs else ""
            fmt = [_format(info)] if is_fixed else []
            kind = Text(node.kind, style=_COLOURS.get(node.kind, ""))
            table.row(info.name, info.computed_by, kind, info.dtype or "?", _shape(info), *fmt, macs)
    return table


def _shape(info: TensorInfo) -> str:
    if info.shape is None:
        return "?"
    return " x ".join("?" if n is None else str(n) for n in info.shape) or "scalar"


def _format(info: TensorInfo) -> str:
    return "" if info.format is None else str(info.format)


def _summary(inspection: Inspection, roles: Mapping[str, str]) -> Iterator[Line]:
    yield (f"parameters            {inspection.parameters:,} in {_bytes(inspection.parameter_bytes)}")
    macs = "unknown: shapes are missing" if inspection.macs is None else f"{inspection.macs:,} in a run"
    yield (f"multiply-accumulates  {macs}")
    for warning in inspection.warnings:
        yield Text(f"note: {with_roles(warning, roles)}", style=WARN)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
