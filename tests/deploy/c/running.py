"""Networks in C, compiled and run: every tensor that they compute beside that of the session."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import qengine
from qengine.deploy.c.emit import source_files
from qengine.deploy.c.ir import CNetwork, CTensor
from qengine.deploy.c.network import network_of, plan_of
from qengine.runtime.plan.plan import quantize_input

Array = NDArray[Any]
Feeds = Mapping[str, Array]

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

STRICT = (
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-pedantic",
    "-Werror",
)
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def differences(
    cases: Sequence[tuple[qengine.InferenceSession, Sequence[Feeds]]], folder: Path, flags: Sequence[str] = ("-O1",)
) -> list[str]:
    """Return what differs between sessions and their networks in C: a line for each tensor; none where all are equal.

    Parameters
    ----------
    cases
        Sessions, and the feeds of their runs; all feeds of a session have the same shapes.
    folder
        Folder for the files.
    flags
        Flags of gcc beside those that make every warning an error.
    """
    sources, networks = [], []
    for number, (session, runs) in enumerate(cases):
        source = source_files(network_of(session, runs[0]), f"net{number}")
        networks.append(source.arena.network)
        for name, text in source.files.items():
            (folder / name).write_text(text)
            sources += [name] if name.endswith(".c") else []
    (folder / "main.c").write_text(_main(networks, [len(runs) for _, runs in cases]))
    program = folder / "program"
    defines = [f"-DNET{number}_TRACE" for number in range(len(cases))]
    command = ["gcc", *STRICT, *flags, *defines, "main.c", *sources, "-o", str(program)]
    subprocess.run(command, cwd=folder, check=True)
    fed = b"".join(_fed(session, network, runs) for network, (session, runs) in zip(networks, cases, strict=True))
    (folder / "inputs").write_bytes(fed)
    result = subprocess.run([str(program)], cwd=folder, check=False, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    data, place, found = (folder / "trace").read_bytes(), 0, []
    for number, (network, (session, runs)) in enumerate(zip(networks, cases, strict=True)):
        for run, feeds in enumerate(runs):
            expected = _expected(session, feeds)
            for tensor in network.tensors:
                ident, size = struct.unpack_from("<iI", data, place)
                assert network.tensors[ident] is tensor
                flat = np.frombuffer(data, _c_dtype(tensor), tensor.size, place + 8)
                place += 8 + size
                wrong = _wrong(tensor.unplaced(flat), expected[tensor.name])
                found += [f"network {number}, run {run}, {tensor.name}: {wrong}"] if wrong else []
    assert place == len(data)
    return found


def _wrong(got: Array, expected: Array) -> str:
    expected = expected.reshape(got.shape)
    bad = np.flatnonzero((got != expected).reshape(-1))
    if not bad.size:
        return ""
    at = int(bad[0])
    index = list(map(int, np.unravel_index(at, got.shape)))
    return f"{bad.size} of {got.size} differ; {index} is {got.flat[at]}, expected {expected.flat[at]}"


def _c_dtype(tensor: CTensor) -> np.dtype[Any]:
    return np.dtype(np.uint8) if tensor.dtype.kind == "b" else tensor.dtype


def _expected(session: qengine.InferenceSession, feeds: Feeds) -> dict[str, Array]:
    arrays = session.check_feeds(feeds)
    plan = plan_of(session, feeds)
    traced = {t.name: np.asarray(a) for t, a in plan.trace(arrays)}
    return {name: t.elements for name, t in plan.outputs.items() if t.value is not None} | traced


def _fed(session: qengine.InferenceSession, network: CNetwork, runs: Sequence[Feeds]) -> bytes:
    plan = plan_of(session, runs[0])
    tensors = {t.name: t for t in plan.inputs}
    parts = []
    for feeds in runs:
        arrays = session.check_feeds(feeds)
        for t in network.inputs:
            codes = quantize_input(tensors[t.name], arrays[t.name], plan.fixed, None)
            parts.append(np.ascontiguousarray(codes).tobytes())
    return b"".join(parts)


def _main(networks: Sequence[CNetwork], runs: Sequence[int]) -> str:
    lines = ["#include <stdint.h>", "#include <stdio.h>", *(f'#include "net{n}.h"' for n in range(len(networks)))]
    lines += ["static FILE *trace_file;", "static FILE *input_file;"]
    lines += [
        "static void trace(int32_t id, const void *data, uint32_t bytes) {",
        "    fwrite(&id, 4, 1, trace_file); fwrite(&bytes, 4, 1, trace_file); fwrite(data, 1, bytes, trace_file);",
        "}",
        "static int feed(void *data, size_t bytes) { return fread(data, 1, bytes, input_file) == bytes; }",
    ]
    calls = []
    for number, (network, count) in enumerate(zip(networks, runs, strict=True)):
        name = f"net{number}"
        lines.append(f"void {name}_trace(int32_t id, const void *data, uint32_t bytes);")
        lines.append(f"void {name}_trace(int32_t id, const void *data, uint32_t bytes) {{ trace(id, data, bytes); }}")
        given, feeds = [], []
        for role, tensors in (("input", network.inputs), ("output", network.outputs)):
            for i, t in enumerate(tensors):
                c_type = "uint8_t" if t.dtype.kind == "b" else f"{t.dtype.name}_t"
                lines.append(f"static {c_type} {name}_{role}{i}[{max(t.size, 1)}];")
                given.append(f"{name}_{role}{i}")
                if role == "input":
                    feeds.append(f"feed({name}_{role}{i}, {t.bytes})")
        calls += [f"    for (i = 0; i < {count}; i++) {{"]
        calls += [f"        if (!{one}) return 1;" for one in feeds]
        calls += [f"        {name}_run({', '.join(given)});", "    }"]
    lines += ["int main(void) {", "    int i;"]
    lines += ['    trace_file = fopen("trace", "wb");', '    input_file = fopen("inputs", "rb");']
    lines += ["    if (!trace_file || !input_file) return 1;", *calls]
    return "\n".join([*lines, "    return fclose(trace_file) != 0;", "}", ""])
