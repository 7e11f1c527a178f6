"""Environment: machine, packages and settings, on which a result may depend, for a bug report."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

import qengine
from qengine.analysis.machine_state import cpu_name, load_average
from qengine.data import zoo
from qengine.errors import QEngineError, first_line
from qengine.kernels.build import cache_state, with_tilde
from qengine.kernels.isa import REFERENCE, available
from qengine.memory import machine_bytes
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.threads import available_threads

_VARIABLES = re.compile(r"QENGINE_|NUMBA_|OMP_NUM|OPENBLAS_|MKL_NUM|PYTHONPATH$|COLUMNS$|NO_COLOR$|FORCE_COLOR$|TERM$")
_COMPILERS = ("cc", "gcc", "clang", "arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "cl")
_FOR_USERS = ("plot", "torch", "ssim", "dask", "parquet", "audio", "pandas", "bench", "docs")
_CHECKED, _FORMAT = "digits", "Q3.4"


@dataclass(frozen=True)
class Package:
    """A package that qengine needs, or can use.

    Attributes
    ----------
    name : name in the package index.
    version : installed version; None where it is not installed.
    extra : extra of qengine that installs it; "" for a package that every command needs.
    """

    name: str
    version: str | None
    extra: str = ""


@dataclass(frozen=True)
class Check:
    """A run of a bundled model on one kind of kernels, compared with the reference.

    Attributes
    ----------
    isa : name of the instruction set.
    is_equal : whether every code is that of the reference.
    error : why the run failed; "" where it did not.
    """

    isa: str
    is_equal: bool
    error: str = ""


@dataclass(frozen=True)
class Environment:
    """The machine, the packages and the settings of this process, and whether kernels compute what they should.

    Attributes
    ----------
    qengine, python, system : versions in words.
    folder : folder that qengine is imported from.
    cpu : name of the processor, as the system gives it and as LLVM does.
    isas : instruction sets that kernels can be compiled for here.
    cores : number of cores that this process may use.
    load : processes that have run or waited on average during the last minute; None where the system does not tell.
    memory : bytes of the machine or of the container.
    cache : folder of compiled kernels, and what becomes of them there.
    compilers : compilers of C that are on the path, with their versions.
    packages : packages by name.
    variables : variables of the process that change what runs.
    checks : runs of a bundled model.
    """

    qengine: str
    python: str
    system: str
    folder: str
    cpu: str
    isas: tuple[str, ...]
    cores: int
    load: float | None
    memory: int
    cache: str
    compilers: Mapping[str, str]
    packages: tuple[Package, ...]
    variables: Mapping[str, str]
    checks: tuple[Check, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether every check has given the reference's codes."""
        return all(check.is_equal for check in self.checks)

    def record(self) -> dict[str, Any]:
        """Return the environment as a JSON object."""
        return asdict(self) | {"is_sound": self.is_sound}


def environment(*, checks: bool = True) -> Environment:
    """Return what is known of this process's environment.

    Parameters
    ----------
    checks
        Whether a bundled model runs on each kind of kernels, which takes some seconds where none are compiled yet.
    """
    found = Environment(
        qengine=qengine.__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}, {platform.architecture()[0]}",
        system=platform.platform(),
        folder=with_tilde(str(Path(qengine.__file__).parent)),
        cpu=f"{cpu_name()} ({llvm.get_host_cpu_name()} for LLVM)",
        isas=tuple(isa.name for isa in available()),
        cores=available_threads(),
        load=load_average(),
        memory=machine_bytes(),
        cache=cache_state(),
        compilers=dict(_compilers()),
        packages=tuple(_packages()),
        variables={name: os.environ[name] for name in sorted(os.environ) if _VARIABLES.match(name)},
    )
    return replace(found, checks=tuple(_checks())) if checks else found


def _compilers() -> Iterator[tuple[str, str]]:
    """Yield the compilers of C on the path, and the first line of what each says of its version."""
    for name in _COMPILERS:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            yield name, f"does not run: {first_line(error)}"
            continue
        yield name, next(iter(done.stdout.splitlines()), "of an unknown version")


def _packages() -> Iterator[Package]:
    """Yield the packages that the installed qengine requires, the necessary ones first, each once."""
    try:
        wanted = requires("qengine") or []
    except PackageNotFoundError:  # run from a folder on sys.path
        wanted = []
    seen: set[str] = set()
    extras = {extra: i for i, extra in enumerate(("", *_FOR_USERS))}
    pairs = [(re.split(r"[^\w.-]", text, maxsplit=1)[0], _extra(text)) for text in wanted]
    for name, extra in sorted((pair for pair in pairs if pair[1] in extras), key=lambda pair: extras[pair[1]]):
        if name not in seen:
            seen.add(name)
            yield Package(name, _version(name), extra)


def _extra(requirement: str) -> str:
    """Return the extra of a requirement as a package's metadata has it; "" for none."""
    match = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
    return match[1] if match else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _checks() -> Iterator[Check]:
    """Yield the checks of all kinds of kernels that this machine has."""
    entry = zoo.ENTRIES[_CHECKED]
    feeds = {name: array[:16] for name, array in entry.sample().feeds.items()}

    def codes(isa: str) -> np.ndarray[Any, Any]:
        session = InferenceSession(entry.path, SessionOptions(qformat=_FORMAT, isa=isa))
        return np.asarray(session.run(None, feeds, raw=True)[0])

    exact = codes(REFERENCE)
    for isa in available():
        try:
            yield Check(isa.name, bool(np.array_equal(codes(isa.name), exact)))
        except (QEngineError, OSError, RuntimeError) as error:
            yield Check(isa.name, is_equal=False, error=first_line(error))
