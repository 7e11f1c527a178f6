"""Verification: a network in C, compiled, run on this machine, and compared with the session tensor by tensor.

`host_program` makes and runs the program. Every tensor of every sample counts, not only the outputs: an error inside
that the end hides would show with other inputs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.golden import Golden, Sample
from qengine.deploy.c.host_program import HostProgram
from qengine.deploy.c.ir import CNetwork

Array = NDArray[Any]
Arrays = Mapping[str, Array]


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

    Raises
    ------
    OptionError
        If the compiler refuses the files, the program fails, or one of both takes too long.
    """
    differing: list[Difference] = []
    with tempfile.TemporaryDirectory(prefix="qengine-") as folder:
        program = HostProgram(network, name, Path(folder))
        program.compile(files, compiler.path, flags, len(samples))
        runs = program.run([one.codes for one in samples])
        for sample, found in zip(samples, runs, strict=True):
            differing = differences_of(network, found, golden.run(sample.codes), sample.source)
            if differing:
                break
    return Verification(compiler.name, tuple(flags), len(network.tensors), len(samples), tuple(differing))
