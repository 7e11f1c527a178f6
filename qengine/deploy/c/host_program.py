"""The program around a network in C that a verification runs on this machine.

It reads the codes of inputs, runs, and writes each tensor as its hook gets it. The arena lies between bytes that must
not change, and holds other garbage before each run: a tensor out of its place, or a value that is never written, shows.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.emit.templates import filled
from qengine.deploy.c.ir import CNetwork, CTensor, CType
from qengine.errors import OptionError, first_line

Array = NDArray[Any]
Arrays = Mapping[str, Array]

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic")
_SECONDS = 1800
_MAIN, _PROGRAM = "main_of_host.c", "program_of_host"

_TEXT = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "@name@.h"

#define GUARD 64 /* bytes before and after the arena */

@buffers@
void net_trace(int32_t id, const void *data, uint32_t bytes) {
    (void)fwrite(&id, 4, 1, stdout);
    (void)fwrite(&bytes, 4, 1, stdout);
    (void)fwrite(data, 1, bytes, stdout);
}

static int fail(const char *text) {
    (void)fprintf(stderr, "%s\\n", text);
    return 1;
}

static int feed(void *data, size_t bytes) { return fread(data, 1, bytes, stdin) == bytes; }

static int is_whole(const uint8_t *memory) {
    size_t i;
    for (i = 0; i < GUARD; i++) {
        if (memory[i] != 0x5A || memory[GUARD + NET_ARENA_BYTES + i] != 0x5A) {
            return 0;
        }
    }
    return 1;
}

/* Even runs use an arena of their own, odd ones the static one. */
int main(void) {
    uint8_t *memory = (uint8_t *)malloc(NET_ARENA_BYTES + 2 * GUARD);
    int round;
    if (memory == NULL) return fail("there is not enough memory");
    for (round = 0; round < @rounds@; round++) {
        memset(memory, 0x5A, NET_ARENA_BYTES + 2 * GUARD);
        memset(memory + GUARD, 0x3D + 89 * round % 128, NET_ARENA_BYTES);
        if (@reads@) return fail("the inputs are cut");
        if (round % 2 == 0) net_run_in(memory + GUARD, @given@);
        else net_run(@given@);
        if (!is_whole(memory)) return fail("@name@_run_in writes beyond its arena");
    }
    free(memory);
    return fflush(stdout) != 0;
}
"""


@dataclass(frozen=True)
class HostProgram:
    """A network in C as a program of this machine.

    Attributes
    ----------
    network : the network.
    name : prefix of its names.
    folder : folder for all files.
    """

    network: CNetwork
    name: str
    folder: Path

    def compile(self, files: Mapping[str, str], compiler: str, flags: Sequence[str], rounds: int) -> None:
        """Compile the program.

        Parameters
        ----------
        files
            Text of the files of the network by name.
        compiler, flags
            Compiler, and flags that are added to those for warnings.
        rounds
            Number of runs.

        Raises
        ------
        OptionError
            If the compiler refuses the files.
        """
        texts = {name: text for name, text in files.items() if name.endswith((".c", ".h"))}
        texts.pop(f"{self.name}_check.c", None)
        texts[_MAIN] = self._main(rounds)
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8", newline="\n")
        sources = [name for name in texts if name.endswith(".c")]
        words = [compiler, *WARNINGS, *flags, f"-D{self.name.upper()}_TRACE", *sources, "-o", _PROGRAM]
        errors = self._called(words, "")
        if errors is not None:
            lines = [line for line in errors.splitlines() if "error" in line] or errors.splitlines()
            raise OptionError(f"{Path(compiler).name} refuses the files: {lines[0] if lines else 'without a reason'}")

    def run(self, samples: Sequence[Arrays]) -> Iterator[dict[str, Array]]:
        """Run the program on samples, and yield all tensors of each by C name.

        Raises
        ------
        OptionError
            If the program fails.
        """
        with (self.folder / "inputs").open("wb") as file:
            for sample in samples:
                for t in self.network.inputs:
                    t.placed(np.asarray(sample[t.name])).astype(_word(t)).tofile(file)
        errors = self._called([str(self.folder / _PROGRAM)], "inputs")
        if errors is not None:
            raise OptionError(f"the program of the network fails: {errors.strip() or 'it says nothing'}")
        path = self.folder / "outputs"
        data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        place = 0
        for _ in samples:
            run = {}
            for number, tensor in enumerate(self.network.tensors):
                ident, size = data[place : place + 8].view(np.int32)
                if (ident, size) != (number, tensor.bytes):
                    raise OptionError(f"the program writes tensor {ident} of {size} bytes where '{tensor.name}' comes")
                flat = data[place + 8 : place + 8 + tensor.bytes].tobytes()
                run[tensor.c_name] = tensor.unplaced(np.frombuffer(flat, _word(tensor)))
                place += 8 + tensor.bytes
            yield run

    def _called(self, words: Sequence[str], source: str) -> str | None:
        """Run a program in the folder, its output in a file, and return its errors; None where it succeeds."""
        given = self.folder / source if source else None
        try:
            with (self.folder / "outputs").open("wb") as out:
                result = subprocess.run(
                    words,
                    cwd=self.folder,
                    input=None if given is None else given.read_bytes(),
                    stdin=subprocess.DEVNULL if given is None else None,
                    stdout=out,
                    stderr=subprocess.PIPE,
                    check=False,
                    timeout=_SECONDS,
                )
        except subprocess.TimeoutExpired:
            raise OptionError(f"{Path(words[0]).name} takes more than {_SECONDS} s: leave out --verify") from None
        except OSError as error:
            raise OptionError(f"{words[0]} does not run: {first_line(error)}") from None
        if result.returncode == 0:
            return None
        return result.stderr.decode("utf-8", "replace") or f"status {result.returncode}"

    def _main(self, rounds: int) -> str:
        """Return the text of the program."""
        buffers, given, reads = [], [], []
        for role, tensors in (("in", self.network.inputs), ("out", self.network.outputs)):
            for i, t in enumerate(tensors):
                given.append(f"{role}_{i}")
                buffers.append(f"static {CType.of(t.dtype).name} {given[-1]}[{max(t.size, 1)}];")
                reads += [f"!feed({given[-1]}, {t.bytes})"] if role == "in" else []
        return filled(
            _TEXT,
            self.name,
            name=self.name,
            buffers="\n".join([*buffers, ""]),
            reads=" || ".join(reads) or "0",
            given=", ".join(given),
            rounds=rounds,
        )


def _word(tensor: CTensor) -> np.dtype[Any]:
    return np.dtype(np.uint8) if tensor.dtype.kind == "b" else tensor.dtype
