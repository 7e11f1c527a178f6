"""Output of `qengine inspect`: tables for people, or one JSON object.

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
qformat, weight_qformat, formats_file, per_channel   options as typed; per_channel is null in float32
warnings                      lines of text
============================  ========================================================================================
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qengine.analysis.inspection import MEANINGS, Inspection, TensorInfo
from qengine.cli.jsontext import as_object
from qengine.cli.options import FixedPointOptions
from qengine.cli.output.console import open_table, rendered
from qengine.errors import printable
from qengine.model.formats.files import format_to_json

_COLOURS = {"island": "yellow", "delegated": "yellow", "unsupported": "red", "unused": "yellow"}


def as_json(model: str, fixed: FixedPointOptions, found: Inspection) -> str:
    """Return the JSON object, in lines of ASCII."""
    record = {
        "model": model,
        "name": found.name,
        "opsets": dict(found.opsets),
        "inputs": [_tensor(one) for one in found.inputs],
        "outputs": [_tensor(one) for one in found.outputs],
        "operators": [asdict(one) for one in found.operators],
        "nodes": [asdict(one) for one in found.nodes],
        "tensors": [_tensor(one) for one in found.tensors],
        "parameters": found.parameters,
        "parameter_bytes": found.parameter_bytes,
        "macs": found.macs,
        "islands": [str(node) for node in found.of_kind("island")],
        "delegated": [str(node) for node in found.of_kind("delegated")],
        "unsupported": [str(node) for node in found.of_kind("unsupported")],
        "qformat": fixed.qformat,
        "weight_qformat": fixed.weight_qformat,
        "formats_file": None if fixed.formats is None else str(fixed.formats),
        "per_channel": fixed.per_channel if found.in_fixed_point else None,
        "warnings": found.warnings,
    }
    return as_object(record)


def _tensor(one: TensorInfo) -> dict[str, Any]:
    return {**vars(one), "format": None if one.format is None else format_to_json(one.format)}


def as_tables(model: str, fixed: FixedPointOptions, found: Inspection, *, tensors: bool) -> str:
    """Return tables and a summary, in colour if standard output is a terminal."""
    opsets = ", ".join(f"{domain} opset {n}".lstrip() for domain, n in found.opsets.items())
    words = [model, opsets, fixed.qformat or "", fixed.formats.name if fixed.formats else ""]
    ends = [("input", one) for one in found.inputs] + [("output", one) for one in found.outputs]
    tables: list[RenderableType] = [_ends(ends, found.in_fixed_point), Text(), _operators(found)]
    if tensors:
        tables += [Text(), _computed(found, found.in_fixed_point)]
    return rendered(", ".join(filter(None, words)), Group(*tables), _summary(found))


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = open_table()
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    return table


def _ends(ends: Sequence[tuple[str, TensorInfo]], is_fixed: bool) -> Table:
    table = _table("", "tensor", "type", "shape", *(["format"] if is_fixed else []))
    for role, one in ends:
        table.add_row(*_cells([role, one.name, one.dtype or "?", _shape(one), *([_format(one)] if is_fixed else [])]))
    return table


def _operators(found: Inspection) -> Table:
    has_macs = found.macs is None or found.macs > 0
    table = _table("operator", "count", *(["MACs"] if has_macs else []), "kind", "", right=("count", "MACs"))
    for one in found.operators:
        name = f"{one.domain}.{one.operator}" if one.domain else one.operator
        macs = ["?" if one.macs is None else f"{one.macs:,}" if one.macs else ""] if has_macs else []
        kind = Text(one.kind, style=_COLOURS.get(one.kind, ""))
        table.add_row(*_cells([name, f"{one.count:,}", *macs]), kind, Text(MEANINGS[one.kind], style="dim"))
    return table


def _computed(found: Inspection, is_fixed: bool) -> Table:
    headings = ["tensor", "computed by", "kind", "type", "shape", *(["format"] if is_fixed else []), "MACs"]
    table = _table(*headings, right=("MACs",))
    nodes = {name: node for node in found.nodes if not node.within for name in node.outputs}
    for one in found.tensors:
        if one.name in nodes:
            node = nodes[one.name]
            macs = "?" if node.macs is None else f"{node.macs:,}" if node.macs else ""
            fmt = [_format(one)] if is_fixed else []
            cells = [one.name, one.computed_by, node.kind, one.dtype or "?", _shape(one), *fmt, macs]
            table.add_row(*_cells(cells))
    return table


def _cells(words: Sequence[str]) -> Iterator[Text]:
    return (Text(printable(word)) for word in words)


def _shape(one: TensorInfo) -> str:
    if one.shape is None:
        return "?"
    return " x ".join("?" if n is None else str(n) for n in one.shape) or "scalar"


def _format(one: TensorInfo) -> str:
    return "" if one.format is None else str(one.format)


def _summary(found: Inspection) -> Iterator[Text]:
    yield Text(f"parameters            {found.parameters:,} in {_bytes(found.parameter_bytes)}")
    macs = "unknown: shapes are missing" if found.macs is None else f"{found.macs:,} in a run"
    yield Text(f"multiply-accumulates  {macs}")
    for warning in found.warnings:
        yield Text(printable(f"note: {warning}"), style="yellow")


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
