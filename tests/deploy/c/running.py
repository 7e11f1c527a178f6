"""Networks in C, compiled and run: every tensor that they compute beside that of the session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy.c.program import Batch, Printed, checksum, little, parsed
from deploy.c.toolchains import TOOLCHAINS, Program, Toolchain
from numpy.typing import NDArray

import qengine
from qengine.deploy.c.arena import Arena
from qengine.deploy.c.emit import Source, source_files
from qengine.deploy.c.ir import CNetwork
from qengine.deploy.c.network import network_of, plan_of
from qengine.runtime.plan.plan import quantize_input

Array = NDArray[Any]
Feeds = Mapping[str, Array]
Case = tuple[qengine.InferenceSession, Sequence[Feeds]]

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

QUICK = TOOLCHAINS["gcc -O0 NET_SMALL"]
"""The toolchain of most tests: it compiles each kernel once, in a third of the time that a copy for each call takes."""

INLINED = TOOLCHAINS["gcc -O1"]
"""The toolchain of tests that are about what a compiler makes of literal numbers."""

SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
"""Flags that stop a program where its behaviour is undefined; they take four times as long to compile."""

with_sanitizers = pytest.mark.parametrize(
    "flags", [pytest.param((), id="plain"), pytest.param(SANITIZED, id="sanitized", marks=pytest.mark.exhaustive)]
)
"""Run a test without sanitizers, and with them where every combination is tested."""

_ALONE = 3
"""The most networks that are compiled as the files that a user gets; more are one file, which takes less time."""


def differences(
    cases: Sequence[Case],
    folder: Path,
    flags: Sequence[str] = (),
    *,
    toolchain: Toolchain = QUICK,
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
        Flags of the compiler beside those of the toolchain.
    toolchain
        Compiler and machine.
    defines
        Names of macros without the prefix of a network, such as SMALL.
    """
    return Comparison(cases, folder).differences(toolchain, [*flags, *defined(len(cases), *defines)])


def defined(networks: int, *names: str) -> list[str]:
    """Return the flags that define macros for each of some networks."""
    return [f"-DNET{number}_{name}" for number in range(networks) for name in names]


@dataclass(frozen=True)
class Comparison:
    """Sessions and their networks in C as one program, for any number of toolchains.

    Attributes
    ----------
    cases : sessions, and the feeds of their runs; all feeds of a session have the same shapes.
    folder : folder for the files.
    """

    cases: Sequence[Case]
    folder: Path

    @cached_property
    def sources(self) -> list[Source]:
        """The text of the networks in C, one in two as one file."""
        found = (network_of(session, runs[0], prefix=f"net{i}") for i, (session, runs) in enumerate(self.cases))
        return [source_files(network, f"net{i}", one_file=i % 2 == 1) for i, network in enumerate(found)]

    @cached_property
    def arenas(self) -> list[Arena]:
        """Where the tensors of the networks are."""
        return [source.arena for source in self.sources]

    @cached_property
    def networks(self) -> list[CNetwork]:
        """The networks as they are written."""
        return [arena.network for arena in self.arenas]

    @cached_property
    def files(self) -> list[Path]:
        """The C files, written."""
        fed = [
            [_fed(session, network, feeds) for feeds in runs]
            for network, (session, runs) in zip(self.networks, self.cases, strict=True)
        ]
        texts = {name: text for source in self.sources for name, text in source.files.items()}
        compiled = [name for name in texts if name.endswith(".c")]
        if len(self.sources) > _ALONE:
            texts["networks.c"] = "".join(f'#include "{name}"\n' for name in compiled)
            compiled = ["networks.c"]
        texts["main.c"] = Batch(self.networks, fed).source()
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        return [self.folder / name for name in (*compiled, "main.c")]

    @cached_property
    def expected(self) -> list[list[dict[str, Array]]]:
        """The codes of every tensor of every run, by the session."""
        return [[_expected(session, feeds) for feeds in runs] for session, runs in self.cases]

    def built(self, toolchain: Toolchain, flags: Sequence[str] = (), is_traced: bool = True) -> Program:
        """Return the compiled program; one that traces nothing prints ticks only."""
        names = [*toolchain.defines, *(["TRACE"] if is_traced else [])]
        return toolchain.built(self.folder, self.files, [*defined(len(self.cases), *names), *flags])

    def ticks(self, toolchain: Toolchain, flags: Sequence[str] = (), repeats: int = 1) -> list[list[int]]:
        """Return the instructions, or the nanoseconds on a machine that counts none, of every run of every network."""
        program = self.built(toolchain, [*flags, f"-DPORT_REPEATS={repeats}"], is_traced=False)
        ticks = parsed(program.output()).ticks
        return [[ticks[n, run] for run in range(len(runs))] for n, (_, runs) in enumerate(self.cases)]

    def printed(self, toolchain: Toolchain, flags: Sequence[str] = ()) -> Printed:
        """Return what the program prints."""
        return parsed(self.built(toolchain, flags).output())

    def differences(self, toolchain: Toolchain = QUICK, flags: Sequence[str] = ()) -> list[str]:
        """Return a line for each tensor that differs; see `differences`."""
        wrong = self._wrong(self.printed(toolchain, flags))
        if not wrong:
            return []
        codes = self.printed(toolchain, [*flags, "-DPORT_CODES"]).codes
        return [self._line(*key, codes.get(key)) for key in wrong]

    def _wrong(self, printed: Printed) -> list[tuple[int, int, int]]:
        """Return the network, run and tensor of those whose CRC differs."""
        found = []
        for n, network in enumerate(self.networks):
            for run, expected in enumerate(self.expected[n]):
                for i, t in enumerate(network.tensors):
                    if printed.checksums.get((n, run, i)) != checksum(t, expected[t.name]):
                        found.append((n, run, i))
        return found

    def _line(self, n: int, run: int, i: int, codes: bytes | None) -> str:
        t = self.networks[n].tensors[i]
        title = f"network {n}, run {run}, {t.name}: "
        if codes is None or len(codes) != t.bytes:
            return title + "was not computed"
        got = t.unplaced(np.frombuffer(codes, little(t)))
        expected = self.expected[n][run][t.name].reshape(t.shape)
        bad = np.flatnonzero((got != expected).reshape(-1))
        if not bad.size:
            return title + "differs from one run to the next"
        at = int(bad[0])
        index = list(map(int, np.unravel_index(at, got.shape)))
        return f"{title}{bad.size} of {got.size} differ; {index} is {got.flat[at]}, expected {expected.flat[at]}"


def _expected(session: qengine.InferenceSession, feeds: Feeds) -> dict[str, Array]:
    arrays = session.check_feeds(feeds)
    plan = plan_of(session, feeds)
    traced = {t.name: np.asarray(a) for t, a in plan.trace(arrays)}
    return {name: t.elements for name, t in plan.outputs.items() if t.value is not None} | traced


def _fed(session: qengine.InferenceSession, network: CNetwork, feeds: Feeds) -> list[Array]:
    plan = plan_of(session, feeds)
    tensors = {t.name: t for t in plan.inputs}
    arrays = session.check_feeds(feeds)
    return [quantize_input(tensors[t.name], arrays[t.name], plan.fixed, None) for t in network.inputs]
