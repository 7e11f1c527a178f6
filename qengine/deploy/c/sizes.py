"""Sizes of a network in C: flash, products and instructions; with a compiler its code and stack too."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qengine.deploy.c.ir import Constant, Operation
from qengine.deploy.c.verify import Compiler

_OF_PRODUCT, _OF_PRODUCT_DSP, _OF_DEPTHWISE = 2.4, 1.45, 5.9
"""Instructions of a product on a Cortex-M4 without and with its DSP instructions, and of one of a depthwise
convolution: fitted to what QEMU counts for convolutions of 9 to 288 products an output, see benchmarks/c_kernels.py."""

_OF_SUM, _OF_ELEMENT = 25, 8
"""Instructions of an output of a linear operator without its products, and of an element of other operators, about."""


def flash_of(constants: Iterable[Constant]) -> int:
    """Return the bytes of constant arrays, each once."""
    return sum(c.array.nbytes for c in {id(c): c for c in constants}.values())


def instructions_of(operation: Operation, *, dsp: bool) -> int:
    """Return about how many instructions an operation takes on a Cortex-M4; an estimate."""
    if operation.view is not None:
        return 0
    if not operation.macs:
        return _OF_ELEMENT * max(t.size for t in (*operation.outputs, *operation.reads))
    if any(call.kernel.startswith("depthwise") for call in operation.calls):
        return round(operation.macs * _OF_DEPTHWISE)
    sums = _OF_SUM * sum(t.size for t in operation.outputs)
    return round(operation.macs * (_OF_PRODUCT_DSP if dsp else _OF_PRODUCT)) + sums


@dataclass(frozen=True)
class Measured:
    """Sizes of a compiled network.

    Attributes
    ----------
    compiler, flags : compiler and its flags.
    code : bytes of instructions and of the numbers of kernels; None where `size` is not there.
    stack : most bytes of stack of a function and of what it calls, about; None where the compiler does not tell.
    """

    compiler: str
    flags: tuple[str, ...]
    code: int | None
    stack: int | None

    def as_json(self) -> dict[str, Any]:
        """Return everything for a JSON object."""
        return {"compiler": self.compiler, "flags": list(self.flags), "code": self.code, "stack": self.stack}


def measure(
    name: str,
    files: Mapping[str, str],
    held: int,
    compiler: Compiler,
    flags: Sequence[str] = ("-Os",),
) -> Measured:
    """Compile the files of a network, and return the sizes of its code and stack.

    Parameters
    ----------
    name, files
        Prefix of the network, and its files as text.
    held
        Bytes of weights and tables that the source holds, which do not count as code.
    compiler, flags
        Compiler and flags.
    """
    size_tool = shutil.which("size")
    with tempfile.TemporaryDirectory(prefix="qengine-") as folder:
        root = Path(folder)
        for path, text in files.items():
            if path.endswith((".c", ".h")):
                (root / path).write_text(text, encoding="utf-8", newline="\n")
        source = f"{name}.c"
        usage = [] if compiler.name.startswith("clang") else ["-fstack-usage"]
        words = [compiler.path, "-std=c99", *flags, *usage, "-c", source, "-o", "object.o"]
        result = subprocess.run(words, cwd=root, capture_output=True, check=False, timeout=600)
        if result.returncode != 0:
            return Measured(compiler.name, tuple(flags), None, None)
        code = None if size_tool is None else _code(size_tool, root / "object.o")
        usages = [path.read_text(encoding="utf-8", errors="replace") for path in root.glob("*.su")]
    if code is not None:
        code -= held
    return Measured(compiler.name, tuple(flags), code, _stack(usages))


def _code(tool: str, path: Path) -> int | None:
    """Return the bytes of instructions and constants of an object file."""
    text = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False, timeout=60).stdout
    lines = text.splitlines()
    return int(lines[1].split()[0]) if len(lines) > 1 else None


def _stack(usages: Sequence[str]) -> int | None:
    """Return the most stack that a chain of three functions takes: run, an operator, a kernel."""
    sizes = []
    for line in "".join(usages).splitlines():
        parts = line.split("\t")
        if len(parts) >= 2 and parts[1].isdigit():
            sizes.append(int(parts[1]))
    return sum(sorted(sizes, reverse=True)[:3]) if sizes else None
