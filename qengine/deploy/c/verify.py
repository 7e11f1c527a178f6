"""Verification: a network in C, compiled, run on this machine, and compared with the session tensor by tensor.

A small program around the network reads the codes of inputs, runs, and writes each tensor as its hook gets it. The
arena lies between bytes that must not change and holds garbage before each run, so that a tensor out of its place, or a
value that was never written, shows.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.golden import Golden, Sample
from qengine.deploy.c.ir import CNetwork, CTensor, CType
from qengine.errors import OptionError

Array = NDArray[Any]
Arrays = Mapping[str, Array]

ByteOrder = Literal["<", ">", "="]

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic")
_GUARD = 64  # bytes before and after the arena
_SECONDS = 600


@dataclass(frozen=True)
class Compiler:
    """A compiler of C.

    Attributes
    ----------
    path : the program.
    name : kind and version, such as "gcc 12.2.0".
    """

    path: str
    name: str


@dataclass(frozen=True)
class Difference:
    """A tensor that C computes otherwise than the session.

    Attributes
    ----------
    tensor : name in the model.
    operation : operator and node that compute it, or "input".
    sample : words for the inputs.
    count, elements : number of codes that differ, and of all.
    index : index of the first one.
    expected, found : code of the session, and of C.
    """

    tensor: str
    operation: str
    sample: str
    count: int
    elements: int
    index: tuple[int, ...]
    expected: int
    found: int

    def __str__(self) -> str:
        return (
            f"'{self.tensor}' ({self.operation}) differs on {self.sample}: {self.count:,} of {self.elements:,} codes; "
            f"element {list(self.index)} is {self.found}, expected {self.expected}"
        )


@dataclass(frozen=True)
class Verification:
    """Result of a verification.

    Attributes
    ----------
    compiler : compiler, such as "gcc 12.2.0"; None where there is none.
    flags : flags of the compiler.
    tensors, samples : number of tensors, and of runs.
    differences : tensors that differ, in the order of the first run that shows one.
    """

    compiler: str | None
    flags: tuple[str, ...] = ()
    tensors: int = 0
    samples: int = 0
    differences: tuple[Difference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether all tensors were compared and are equal."""
        return self.compiler is not None and not self.differences

    @property
    def sentence(self) -> str:
        """The answer in one line."""
        if self.compiler is None:
            return "not verified: there is no gcc, clang or cc on the PATH"
        if self.differences:
            return f"C is wrong, {self.compiler}: {self.differences[0]}"
        tensors, samples = _counted(self.tensors, "tensor"), _counted(self.samples, "sample")
        return f"{tensors} x {samples} equal, {self.compiler} {' '.join(self.flags)}"

    def as_json(self) -> dict[str, Any]:
        """Return everything for a JSON object."""
        return {
            "compiler": self.compiler,
            "flags": list(self.flags),
            "tensors": self.tensors,
            "samples": self.samples,
            "equal": self.equal,
            "sentence": self.sentence,
            "differences": [{**vars(one), "index": list(one.index)} for one in self.differences],
        }


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def find_compiler(names: Sequence[str] = ("gcc", "clang", "cc")) -> Compiler | None:
    """Return the first of some compilers that is on the PATH; None where there is none."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
            version = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text.split("\n")[0].rpartition(")")[2] or text)
            kind = "clang" if "clang" in text else "gcc" if "Free Software" in text else Path(path).name
            return Compiler(path, f"{kind} {version[0]}" if version else kind)
    return None


@dataclass(frozen=True)
class Part:
    """A network in a program.

    Attributes
    ----------
    name : prefix of its names.
    network : the network.
    files : text of each file by name.
    samples : codes of the inputs of each run.
    """

    name: str
    network: CNetwork
    files: Mapping[str, str]
    samples: Sequence[Arrays]


def compile_program(
    parts: Sequence[Part], folder: Path, command: Sequence[str], flags: Sequence[str], defines: Sequence[str] = ()
) -> Path:
    """Compile networks and the program around them, and return it.

    Parameters
    ----------
    parts
        Networks, which have different names.
    folder
        Folder for all files.
    command
        Compiler.
    flags, defines
        Flags; names of macros without the prefix of a network, such as SMALL.

    Raises
    ------
    OptionError
        If the compiler refuses the files.
    """
    sources = ["main_of_all.c"]
    options: list[str] = []
    for part in parts:
        for name, text in part.files.items():
            if name.endswith((".c", ".h")) and name != f"{part.name}_check.c":
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
                sources += [name] if name.endswith(".c") else []
        options += [f"-D{part.name.upper()}_{one}" for one in ("TRACE", *defines)]
    (folder / "main_of_all.c").write_text(_main(parts), encoding="utf-8", newline="\n")
    program = folder / "program_of_all"
    words = [*command, *flags, *options, *sources, "-o", program.name]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
        raise OptionError(f"{Path(command[0]).name} refuses the files: {lines[0] if lines else 'without a reason'}")
    return program


def run_program(
    parts: Sequence[Part], program: Path, emulator: Sequence[str] = (), byte_order: ByteOrder = "="
) -> list[list[dict[str, Array]]]:
    """Run a program on the samples of its networks, and return for each network and sample all tensors by C name.

    Parameters
    ----------
    parts
        The networks.
    program
        Result of `compile_program`.
    emulator
        Words before the program.
    byte_order
        Order of the machine that runs it: "<", ">", or "=" for that of this one.

    Raises
    ------
    OptionError
        If the program fails.
    """
    fed = b"".join(
        _bytes_of(t, sample[t.name], byte_order) for p in parts for sample in p.samples for t in p.network.inputs
    )
    words = [*emulator, str(program)]
    result = subprocess.run(words, input=fed, capture_output=True, check=False, timeout=_SECONDS)
    if result.returncode != 0:
        reason = result.stderr.decode("utf-8", "replace").strip().splitlines()
        raise OptionError(
            f"the program of the network ends with status {result.returncode}: {reason[0] if reason else 'no message'}"
        )
    data, place = memoryview(result.stdout), 0
    found: list[list[dict[str, Array]]] = []
    for part in parts:
        runs = []
        for _ in part.samples:
            run = {}
            for number, tensor in enumerate(part.network.tensors):
                ident, size = np.frombuffer(data[place : place + 8], np.dtype(np.int32).newbyteorder(byte_order))
                if (ident, size) != (number, tensor.bytes):
                    raise OptionError(f"the program writes tensor {ident} of {size} bytes where '{tensor.name}' comes")
                flat = np.frombuffer(data[place + 8 : place + 8 + tensor.bytes], _word(tensor, byte_order))
                run[tensor.c_name] = tensor.unplaced(flat.astype(flat.dtype.newbyteorder("=")))
                place += 8 + tensor.bytes
            runs.append(run)
        found.append(runs)
    if place != len(data):
        raise OptionError(f"the program writes {len(data) - place} bytes after the last tensor")
    return found


def _word(tensor: CTensor, byte_order: ByteOrder) -> np.dtype[Any]:
    own = np.dtype(np.uint8) if tensor.dtype.kind == "b" else tensor.dtype
    return own.newbyteorder(byte_order)


def _bytes_of(tensor: CTensor, array: Array, byte_order: ByteOrder) -> bytes:
    return tensor.placed(np.asarray(array)).astype(_word(tensor, byte_order)).tobytes()


def differences_of(network: CNetwork, found: Arrays, expected: Arrays, sample: str) -> list[Difference]:
    """Return the tensors that differ, in the order in which they are computed.

    Parameters
    ----------
    network
        The network.
    found
        Tensors of C, by C name.
    expected
        Tensors of the session by name.
    sample
        Words for the inputs.
    """
    titles = {t: f"{o.node.operator} {o.node.name or o.output.name}" for o in network.operations for t in o.outputs}
    differing = []
    for tensor in network.tensors:
        got = found[tensor.c_name]
        wanted = np.asarray(expected[tensor.name]).reshape(got.shape)
        wrong = np.flatnonzero((got != wanted).reshape(-1))
        if wrong.size:
            at = int(wrong[0])
            index = tuple(int(i) for i in np.unravel_index(at, got.shape))
            differing.append(
                Difference(
                    tensor.name,
                    titles.get(tensor, "input"),
                    sample,
                    int(wrong.size),
                    got.size,
                    index,
                    int(wanted.reshape(-1)[at]),
                    int(got.reshape(-1)[at]),
                )
            )
    return differing


def verify(
    network: CNetwork,
    name: str,
    files: Mapping[str, str],
    golden: Golden,
    samples: Sequence[Sample],
    compiler: Compiler,
    flags: Sequence[str] = ("-O2",),
) -> Verification:
    """Compile a network, run it on samples, and compare every tensor with the session.

    Parameters
    ----------
    network, name, files
        The network, its prefix, and its files as text.
    golden
        The session.
    samples
        Codes of inputs.
    compiler, flags
        Compiler, and flags that are added to those for warnings.
    """
    part = Part(name, network, files, [one.codes for one in samples])
    with tempfile.TemporaryDirectory(prefix="qengine-") as folder:
        program = compile_program([part], Path(folder), [compiler.path], [*WARNINGS, *flags])
        (runs,) = run_program([part], program)
    for sample, found in zip(samples, runs, strict=True):
        differing = differences_of(network, found, golden.run(sample.codes), sample.source)
        if differing:
            break
    else:
        differing = []
    return Verification(compiler.name, tuple(flags), len(network.tensors), len(samples), tuple(differing))


_MAIN = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
"""

_FRAME = """
static void trace(int32_t id, const void *data, uint32_t bytes) {
    (void)fwrite(&id, 4, 1, stdout);
    (void)fwrite(&bytes, 4, 1, stdout);
    (void)fwrite(data, 1, bytes, stdout);
}

static int feed(void *data, size_t bytes) { return fread(data, 1, bytes, stdin) == bytes; }

static int fail(const char *text) {
    (void)fprintf(stderr, "%s\\n", text);
    return 1;
}

static uint8_t *filled(size_t bytes, int round) {
    uint8_t *memory = (uint8_t *)malloc(bytes + 2 * GUARD);
    if (memory != NULL) {
        memset(memory, 0x5A, bytes + 2 * GUARD);
        memset(memory + GUARD, 0x3D + 89 * round % 251, bytes);
    }
    return memory;
}

static int is_whole(const uint8_t *memory, size_t bytes) {
    size_t i;
    for (i = 0; i < GUARD; i++) {
        if (memory[i] != 0x5A || memory[GUARD + bytes + i] != 0x5A) {
            return 0;
        }
    }
    return 1;
}
"""


def _main(parts: Sequence[Part]) -> str:
    """Return the program around networks: even runs use an arena of the caller, odd ones the static one."""
    lines = [_MAIN, f"#define GUARD {_GUARD}", *(f'#include "{part.name}.h"' for part in parts), _FRAME]
    calls: list[str] = []
    for part in parts:
        name, upper = part.name, part.name.upper()
        lines.append(f"void {name}_trace(int32_t id, const void *data, uint32_t bytes) {{ trace(id, data, bytes); }}")
        given, reads = [], []
        for role, tensors in (("in", part.network.inputs), ("out", part.network.outputs)):
            for i, t in enumerate(tensors):
                lines.append(f"static {CType.of(t.dtype).name} {name}_{role}{i}_[{max(t.size, 1)}];")
                given.append(f"{name}_{role}{i}_")
                reads += [f"!feed({given[-1]}, {t.bytes})"] if role == "in" else []
        calls += [
            f"    for (round = 0; round < {len(part.samples)}; round++) {{",
            f"        memory = filled({upper}_ARENA_BYTES, round);",
            f'        if (memory == NULL || {" || ".join(reads) or "0"}) return fail("cannot begin");',
            f"        if (round % 2 == 0) {name}_run_in(memory + GUARD, {', '.join(given)});",
            f"        else {name}_run({', '.join(given)});",
            f'        if (!is_whole(memory, {upper}_ARENA_BYTES)) return fail("{name} writes beyond its arena");',
            "        free(memory);",
            "    }",
        ]
    lines += ["int main(void) {", "    int round;", "    uint8_t *memory;", *calls]
    return "\n".join([*lines, "    return fflush(stdout) != 0;", "}", ""])
