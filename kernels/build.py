"""From a kernel's specification to the address of machine code: compiled once, kept on disk for later processes.

A kept kernel is an object file behind a checksum. It is loaded with LLVM alone: numba is imported only where
something must be compiled.
"""

import ctypes
import hashlib
import logging
import os
import platform
import re
import stat
import sys
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from .isa import Isa
from .locks import Lock
from .spec import Spec

logger = logging.getLogger("qengine")

CACHE_VARIABLE = "QENGINE_CACHE_DIR"
"""The environment variable that says where compiled kernels are kept."""

_MAGIC = b"qengine kernel 1\n"
_KEPT_GENERATIONS = 4

# What a compiled kernel is called with: Numba's place for a result, its place for an exception, the arguments.
ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class _Store:
    """The kernels of this process, and those on disk."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._addresses: dict[tuple[str, str], int] = {}
        self._alive: list[Any] = []  # engines own the machine code
        self._said = False

    def address(self, spec: Spec, isa: Isa) -> int:
        """Return where the machine code of a kernel lies."""
        key = (isa.name, repr(spec))
        with self._lock.held:
            if key not in self._addresses:
                self._addresses[key] = self._load(*self._object(spec, isa))
            return self._addresses[key]

    def _object(self, spec: Spec, isa: Isa) -> tuple[str, bytes]:
        name = hashlib.sha256(f"{isa!r} {spec!r}".encode()).hexdigest()[:40]
        folder = _folder()
        found = None if folder is None else _read(folder / name)
        if found is None:
            if not self._said:
                self._said = True
                where = "they will not be kept: no private folder for them" if folder is None else f"kept in {folder}"
                logger.warning("qengine: compiling kernels for %s, once (%s)", isa.name, where)
            from .emit import compile_kernel

            found = compile_kernel.compile_kernel(spec, isa)
            if folder is not None:
                _write(folder / name, *found)
        return found

    def _load(self, symbol: str, code: bytes) -> int:
        # One engine each: symbols of different processes may have one name.
        # An engine owns its target machine, and takes it along when it goes.
        machine = _target().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._alive.append(engine)
        return int(engine.get_function_address(symbol))


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


_STORE = _Store()


def address(spec: Spec, isa: Isa) -> int:
    """Return the address of a kernel's machine code, compiling it if it is not on disk.

    The code has the signature `ENTRY`. Several threads may ask at once.
    """
    return _STORE.address(spec, isa)


@cache
def generation() -> str:
    """Return what kept kernels depend on beside their specification: sources, compilers, CPU."""
    parts = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *(here / "emit").glob("*.py")]):
        parts.update(path.name.encode() + b"\0" + path.read_bytes())
    for known in (version("numba"), llvmlite.__version__, platform.python_version(), sys.byteorder):
        parts.update(known.encode())
    parts.update(llvm.get_default_triple().encode() + llvm.get_host_cpu_name().encode())
    parts.update(llvm.get_host_cpu_features().flatten().encode())
    return parts.hexdigest()[:16]


def cache_root() -> Path:
    """Return the folder of all kept kernels, which need not exist."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qengine"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qengine"


@cache
def _prepared(root: str) -> Path | None:
    try:
        folder = Path(root) / generation()
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(OSError):
                _prune(folder)
        about = folder.stat()
        # Code is run from here: nobody else may be able to write it.
        if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return None
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None
    return folder


def _folder() -> Path | None:
    try:
        return _prepared(str(cache_root()))
    except RuntimeError:
        return None


def _prune(current: Path) -> None:
    """Delete what older versions kept, but for the last few; nothing that is not a kept kernel."""
    older = [
        p for p in current.parent.iterdir() if p != current and re.fullmatch(r"[0-9a-f]{16}", p.name) and p.is_dir()
    ]
    older.sort(key=lambda p: p.stat().st_mtime)
    for folder in older[: -_KEPT_GENERATIONS + 1]:
        for path in folder.iterdir():
            if re.fullmatch(r"[0-9a-f]{40}", path.name):
                path.unlink()
        with suppress(OSError):  # something else lies there
            folder.rmdir()


def _read(path: Path) -> tuple[str, bytes] | None:
    """Return a kept kernel; None where there is none, or not a whole one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        return None
    symbol, _, packed = body.partition(b"\0")
    return symbol.decode(), zlib.decompress(packed)


def _write(path: Path, symbol: str, code: bytes) -> None:
    body = symbol.encode() + b"\0" + zlib.compress(code, 1)
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(name, path)  # noqa: PTH105 - whole or not at all, also beside other processes
    except OSError:  # it will be compiled again
        if name is not None:
            with suppress(OSError):
                Path(name).unlink()
