"""Networks in C, compiled and run: every tensor that they compute beside that of the session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import qengine
from qengine.deploy.c.emit import source_files
from qengine.deploy.c.network import network_of, plan_of
from qengine.deploy.c.verify import Part, compile_program, differences_of, run_program
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
    cases: Sequence[tuple[qengine.InferenceSession, Sequence[Feeds]]],
    folder: Path,
    flags: Sequence[str] = ("-O1",),
    *,
    compiler: Sequence[str] = ("gcc",),
    emulator: Sequence[str] = (),
    byte_order: str = "=",
    defines: Sequence[str] = (),
) -> list[str]:
    """Return what differs between sessions and their networks in C: a line for each tensor; none where all are equal.

    Parameters
    ----------
    cases
        Sessions, and the feeds of their runs; all feeds of a session have the same shapes.
    folder
        Folder for the files.
    flags
        Flags of the compiler beside those that make every warning an error.
    compiler, emulator
        Words before the flags, and before the program.
    byte_order
        "<" or ">" of the machine that runs the program.
    defines
        Names of macros without the prefix of a network, such as SMALL.
    """
    parts = []
    for number, (session, runs) in enumerate(cases):
        name = f"net{number}"
        source = source_files(network_of(session, runs[0]), name, rules=session.rules)
        parts.append(Part(name, source.network, source.files, [_codes(session, feeds) for feeds in runs]))
    program = compile_program(parts, folder, compiler, [*STRICT, *flags], defines)
    found = []
    all_runs = run_program(parts, program, emulator, byte_order)
    for part, (session, runs), computed in zip(parts, cases, all_runs, strict=True):
        for run, (feeds, tensors) in enumerate(zip(runs, computed, strict=True)):
            expected = _expected(session, feeds)
            wrong = differences_of(part.network, tensors, expected, f"run {run} of {part.name}")
            found += [str(one) for one in wrong]
    return found


def _expected(session: qengine.InferenceSession, feeds: Feeds) -> dict[str, Array]:
    arrays = session.check_feeds(feeds)
    plan = plan_of(session, feeds)
    traced = {t.name: np.asarray(a) for t, a in plan.trace(arrays)}
    return {name: t.elements for name, t in plan.outputs.items() if t.value is not None} | traced


def _codes(session: qengine.InferenceSession, feeds: Feeds) -> dict[str, Array]:
    arrays, plan = session.check_feeds(feeds), plan_of(session, feeds)
    return {t.name: np.asarray(quantize_input(t, arrays[t.name], plan.fixed, None)) for t in plan.inputs}
