"""Machine code of kernels: compiled once, kept on disk, loaded by later processes.

`address` returns the address of a kernel's machine code for a specification (`spec.Spec`) and an instruction set. It
looks for the code in this process, then on disk, and compiles it only if it finds none. Compiling needs Numba, whose
import alone takes longer than a run. Loading an object file needs LLVM only, so `.emit` is imported only to compile.

On disk an object file lies in a folder for its *generation*: a hash of the kernels' sources, the versions of the
compilers and the CPU. A change of any of these makes a new folder, so a kernel on disk is never checked against its
source. The last few generations are kept, for several checkouts in use. A file begins with a checksum, is written to a
temporary name and renamed, and is compiled again if the checksum is wrong. Code runs from the folder, so the folder
must belong to the user, and no other user may have permission to write to it.
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
"""Environment variable with the folder that compiled kernels are kept in."""

_MAGIC = b"qengine kernel 1\n"
_KEPT_GENERATIONS = 4

ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
"""Signature of a compiled kernel: addresses of Numba's result, of Numba's exception and of the arguments."""


class _KernelCache:
    """Thread-safe cache of the addresses of kernels, backed by the object files on disk."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._addresses: dict[tuple[str, str], int] = {}
        self._engines: list[Any] = []  # they own the machine code
        self._has_warned = False

    def address(self, spec: Spec, isa: Isa) -> int:
        """Return the address of a kernel's machine code."""
        key = (isa.name, repr(spec))
        with self._lock.guard:
            if key not in self._addresses:
                self._addresses[key] = self._load(*self._object(spec, isa))
            return self._addresses[key]

    def _object(self, spec: Spec, isa: Isa) -> tuple[str, bytes]:
        name = hashlib.sha256(f"{isa!r} {spec!r}".encode()).hexdigest()[:40]
        folder = _folder()
        kernel = None if folder is None else _read(folder / name)
        if kernel is None:
            if not self._has_warned:
                self._has_warned = True
                where = "they will not be kept: no private folder for them" if folder is None else f"kept in {folder}"
                logger.warning("qengine: compiling kernels for %s, once (%s)", isa.name, where)
            from .emit import compile_kernel

            kernel = compile_kernel.compile_kernel(spec, isa)
            if folder is not None:
                _write(folder / name, *kernel)
        return kernel

    def _load(self, symbol: str, code: bytes) -> int:
        # One engine per kernel: kernels that other processes compiled may have the same symbol.
        # An engine owns its target machine, and frees it when it is freed.
        machine = _target().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._engines.append(engine)
        return int(engine.get_function_address(symbol))


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


_CACHE = _KernelCache()


def address(spec: Spec, isa: Isa) -> int:
    """Return the address of a kernel's machine code, compiling it if it is not on disk.

    The code has the signature `ENTRY`. Several threads may call this at the same time.
    """
    return _CACHE.address(spec, isa)


@cache
def generation() -> str:
    """Return a hash of the sources, the compilers and the CPU, on which machine code also depends."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *(here / "emit").glob("*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for text in (version("numba"), llvmlite.__version__, platform.python_version(), sys.byteorder):
        digest.update(text.encode())
    digest.update(llvm.get_default_triple().encode() + llvm.get_host_cpu_name().encode())
    digest.update(llvm.get_host_cpu_features().flatten().encode())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """Return the folder of all generations of kernels, which need not exist."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qengine"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qengine"


@cache
def _private_folder(root: str) -> Path | None:
    """Return the folder of this generation, created if it does not exist; None where it cannot be written safely."""
    try:
        folder = Path(root) / generation()
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(OSError):
                _prune(folder)
        status = folder.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return None
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None
    return folder


def _folder() -> Path | None:
    try:
        return _private_folder(str(cache_root()))
    except RuntimeError:
        return None


def _prune(current: Path) -> None:
    """Delete the kernels of all but the last few generations, and no other files."""
    older = [
        p for p in current.parent.iterdir() if p != current and re.fullmatch(r"[0-9a-f]{16}", p.name) and p.is_dir()
    ]
    older.sort(key=lambda p: p.stat().st_mtime)
    for folder in older[: -_KEPT_GENERATIONS + 1]:
        for path in folder.iterdir():
            if re.fullmatch(r"[0-9a-f]{40}", path.name):
                path.unlink()
        with suppress(OSError):  # the folder holds something else
            folder.rmdir()


def _read(path: Path) -> tuple[str, bytes] | None:
    """Return the symbol and the object file of a kernel on disk; None where it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    header = len(_MAGIC) + 32
    body = data[header:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : header]:
        return None
    symbol, _, compressed = body.partition(b"\0")
    return symbol.decode(), zlib.decompress(compressed)


def _write(path: Path, symbol: str, code: bytes) -> None:
    """Write a kernel to disk, whole or not at all; if that fails, the next process compiles the kernel again."""
    body = symbol.encode() + b"\0" + zlib.compress(code, 1)
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(name, path)  # noqa: PTH105 - atomic, also with other processes
    except OSError:
        if name is not None:
            with suppress(OSError):
                Path(name).unlink()
