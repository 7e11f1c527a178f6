"""The test benches of a pack: of the network, and of each operator that has vectors of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qengine.deploy.vectors.files import Files, Kind, lines_of
from qengine.deploy.vectors.record import Operator
from qengine.deploy.vectors.testbench import COCOTB, Stream, verilog

if TYPE_CHECKING:
    from qengine.deploy.vectors.manifest import Vectors


def write_benches(vectors: Vectors, files: Files, tensors: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the test benches, and return their streams for the manifest, by operator; "" is the network.

    There are none without hex files, and none for tensors without words: real numbers, or no elements.
    """
    found: dict[str, Any] = {}
    if "hex" not in vectors.options.kinds:
        return found
    runs = [name for name, *_ in (*vectors.samples, *vectors.edges)]
    streams = _network_streams(vectors, tensors, runs)
    if streams:
        files.write_text("tb/tb_pack.v", verilog("tb_pack", "All runs of the network", streams, runs))
        found[""] = _as_json("tb/tb_pack.v", streams, runs)
    for operator in vectors.recorder.operators:
        if not vectors.is_wanted(operator.output.name):
            continue
        names = [f"v{i}" for i in range(len(vectors.single.get(operator.name, ())))]
        streams = _operator_streams(vectors, operator, names)
        if streams:
            module = f"tb_{operator.name}"
            files.write_text(f"tb/{module}.v", verilog(module, f"Operator {operator.title}", streams, names))
            found[operator.name] = _as_json(f"tb/{module}.v", streams, names)
    if found:
        files.write_text("tb/test_pack.py", COCOTB)
    return found


def _as_json(file: str, streams: list[Stream], vectors: list[str]) -> dict[str, Any]:
    return {
        "file": file,
        "vectors": vectors,
        "streams": [
            {"name": s.name, "input": s.is_input, "width": s.width, "lines": s.lines, "files": list(s.files)}
            for s in streams
        ],
    }


def _network_streams(vectors: Vectors, tensors: list[dict[str, Any]], runs: list[str]) -> list[Stream]:
    streams = []
    by_name = {t["name"]: t for t in tensors}
    graph = vectors.recorder.session.graph
    outputs = [v.name for v in graph.outputs]
    if vectors.options.fetch is not None:
        outputs = [name for name in vectors.options.fetch if name not in {v.name for v in graph.inputs}]
    for name in dict.fromkeys([*(v.name for v in graph.inputs), *outputs]):
        t = by_name.get(name)
        if t is None or not t["bits"] or 0 in t["shape"] or t["kind"] == "constant" or t["file"] is None:
            return []
        width, lines = _lines(t["bits"], tuple(t["shape"]), vectors)
        title = f"{name}: {t['format'] or t['dtype']}, {t['order']}"
        hexes = tuple(f"{t['file'].replace('{sample}', run)}.hex" for run in runs)
        streams.append(Stream(t["c_name"], title, width, lines, t["kind"] == "input", hexes))
    return streams if any(not s.is_input for s in streams) else []


def _operator_streams(vectors: Vectors, operator: Operator, names: list[str]) -> list[Stream]:
    if not names or operator.bound_step is None:
        return []
    step, streams = operator.bound_step.step, []
    folder = f"op/{operator.name}"
    tensors = [(i, t) for i, t in enumerate(step.operands) if t.value is None]
    for place, t in (*tensors, (None, operator.output)):
        if t.format is None or 0 in t.shape:
            return []
        word = t.format.word()
        width, lines = _lines(word.bits, t.shape, vectors)
        name = "out" if place is None else f"in{place}"
        hexes = tuple(f"{folder}/{one}/{name}.hex" for one in names)
        streams.append(Stream(name, f"{t.name}: {t.format}", width, lines, place is not None, hexes))
    return streams


def _lines(bits: int, shape: tuple[int, ...], vectors: Vectors) -> tuple[int, int]:
    import numpy as np

    return lines_of(np.empty(shape, np.int8), Kind(bits, True, ""), vectors.options)
