"""Machine code of kernels: compiled once, kept on disk, loaded by later processes.

`addresses` returns the addresses of the machine code of kernels, by their specifications (`spec.Spec`), for an
instruction set. It looks for the code in this process, then on disk, and has compiled what it does not find
(`compile_batch`). It is called once for all kernels of a plan, so that they are compiled and loaded together.

On disk an object file lies in a folder for its *generation*: a hash of the kernels' sources, the versions of the
compilers and the CPU. A change of any of these makes a new folder, so a kernel on disk is never checked against its
source. The last few generations are kept, for several checkouts in use. A file begins with a checksum of its content,
its generation, its instruction set and its specification: a file that is damaged, or that stands under the name of
another, is compiled again and replaced. Code runs from the folder, so no other user may be able to write there
(`private_folder`); where that is not so, kernels stay in memory.
"""

import ctypes
import hashlib
import logging
import os
import platform
import sys
import time
import zlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from .compile_batch import Kernel, compiled, estimated_seconds, process_count
from .isa import Isa
from .locks import Lock
from .private_folder import LOCKS, TEMPORARY, NotPrivateError, PrivateFolder
from .spec import Spec

logger = logging.getLogger("qengine")

CACHE_VARIABLE = "QENGINE_CACHE_DIR"
"""Environment variable with the folder that compiled kernels are kept in."""

_MAGIC = b"qengine kernel 2\n"
_CHECKSUM_BYTES = 32
_KEPT_GENERATIONS = 4
_MAX_WAIT_SECONDS = 120.0  # for kernels that another process compiles

ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
"""Signature of a compiled kernel: addresses of a result and an exception, as Numba has them, and of the arguments."""


class _KernelCache:
    """Thread-safe cache of the addresses of kernels, backed by the object files on disk."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._addresses: dict[tuple[str, str], int] = {}
        self._engines: list[Any] = []  # they own the machine code
        self._has_warned = False
        self._untold, self._untold_seconds = 0, 0.0  # kernels that no line has named yet
        self.seconds = 0.0

    def addresses(self, specs: Sequence[Spec], isa: Isa) -> list[int]:
        """Return the addresses of the machine code of kernels."""
        names = {identity: repr(spec) for identity, spec in {id(spec): spec for spec in specs}.items()}
        keys = [(isa.name, names[id(spec)]) for spec in specs]
        with self._lock.guard:
            new = {key: spec for key, spec in zip(keys, specs, strict=True) if key not in self._addresses}
            if new:
                started = time.perf_counter()
                self._addresses |= zip(new, self._loaded(self._objects(list(new.values()), isa)), strict=True)
                self.seconds += time.perf_counter() - started
            return [self._addresses[key] for key in keys]

    def _objects(self, specs: Sequence[Spec], isa: Isa) -> list[Kernel]:
        """Return the symbols and the object files of kernels, and keep those that are compiled."""
        identities = [f"{isa!r} {spec!r}".encode() for spec in specs]
        folder, _ = _folder()
        found = _kept(folder, identities, range(len(specs)))
        if len(found) < len(specs):
            is_kept = folder is not None and folder.is_writable()
            # Another process may be compiling the same kernels: it is faster to wait for them.
            names = [_file_name(identities[i]) for i in range(len(specs)) if i not in found]
            with folder.locked(names, _MAX_WAIT_SECONDS) if folder is not None and is_kept else nullcontext():
                found |= _kept(folder, identities, [i for i in range(len(specs)) if i not in found])
                missing = [i for i in range(len(specs)) if i not in found]
                with closing(self._compiled([specs[i] for i in missing], isa)) as kernels:
                    for k, kernel in kernels:
                        found[missing[k]] = kernel
                        if folder is not None:
                            identity = identities[missing[k]]
                            folder.write(_file_name(identity), _packed(*kernel, identity))
        return [found[i] for i in range(len(specs))]

    def _compiled(self, specs: Sequence[Spec], isa: Isa) -> Generator[tuple[int, Kernel], None, None]:
        """Yield the index and the machine code of each kernel, and log that they are compiled."""
        if specs:
            processes = process_count(specs)
            self._warn(specs, isa, processes)
            yield from compiled(specs, isa, processes)

    def _warn(self, specs: Sequence[Spec], isa: Isa, processes: int) -> None:
        """Log that a batch of kernels is compiled, where that is noticed; the first time also what becomes of them.

        While a plan is made, a few small kernels are compiled one by one, each in less than a tenth of a second. A line
        for each would hide the one that matters, so they are counted in the next line.
        """
        self._untold += len(specs)
        self._untold_seconds += estimated_seconds(specs, processes)
        seconds, fate = round(self._untold_seconds), "" if self._has_warned else f" ({_fate(*_folder())})"
        if not seconds and "not be kept" not in fate:
            return
        text = f"qengine: compiling {self._untold} new kernel{'s' * (self._untold > 1)} for {isa.name}"
        text += f" on {processes} cores" if processes > 1 else ""
        text += f", about {seconds} s" if seconds else ""
        logger.warning("%s", text + fate)
        self._has_warned, self._untold, self._untold_seconds = True, 0, 0.0

    def _loaded(self, kernels: Sequence[Kernel]) -> list[int]:
        """Return the addresses of kernels, which are loaded together."""
        # One engine for all: one for each would take 30 times as long. It owns its target machine, and frees it.
        machine = _target().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for _, code in kernels:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._engines.append(engine)
        return [int(engine.get_function_address(symbol)) for symbol, _ in kernels]


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


_CACHE = _KernelCache()


def addresses(specs: Sequence[Spec], isa: Isa) -> list[int]:
    """Return the addresses of the machine code of kernels, compiling together those that are not on disk.

    The code has the signature `ENTRY`. Several threads may call this at the same time.
    """
    return _CACHE.addresses(specs, isa)


def build_seconds() -> float:
    """Return the seconds that this process has spent so far on compiling kernels, and on loading compiled ones."""
    return _CACHE.seconds


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


def cache_root() -> str:
    """Return the path of the folder of all generations of kernels, which need not exist.

    Raises
    ------
    NotPrivateError
        If there is no home folder.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return chosen
    home = os.environ.get("HOME", os.path.expanduser("~"))  # noqa: PTH111 - Path raises where there is none
    below, variable = _CACHE_FOLDERS.get(sys.platform, (".cache", "XDG_CACHE_HOME"))
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # noqa: PTH117 - the standard says to ignore such a path
        if not os.path.isabs(home):  # noqa: PTH117
            raise NotPrivateError("there is no home folder")
        base = os.path.join(home, below)  # noqa: PTH118
    return os.path.join(base, "qengine")  # noqa: PTH118


_CACHE_FOLDERS = {"darwin": ("Library/Caches", ""), "win32": ("AppData/Local", "LOCALAPPDATA")}
"""Folder of caches below the home folder, and the variable that names another, by platform."""


@cache
def _private_folder(root: str) -> tuple[PrivateFolder | None, str]:
    """Return the folder of this generation below a root, and why there is none."""
    name = generation()
    try:
        above = PrivateFolder(root)
        if above.make(name):
            above.prune(r"[0-9a-f]{16}", rf"[0-9a-f]{{40}}|{LOCKS}|{TEMPORARY}", _KEPT_GENERATIONS)
        return PrivateFolder(os.path.join(root, name)), ""  # noqa: PTH118
    except NotPrivateError as error:
        return None, str(error)


def _folder() -> tuple[PrivateFolder | None, str]:
    try:
        return _private_folder(cache_root())
    except NotPrivateError as error:
        return None, str(error)


def _fate(folder: PrivateFolder | None, reason: str) -> str:
    """Return what becomes of compiled kernels, in words."""
    if folder is not None:
        if folder.is_writable():
            return f"kept in {with_tilde(os.path.dirname(folder.path))}"  # noqa: PTH120
        reason = f"{folder.path} cannot be written to"
    return f"they will not be kept: {reason}; {CACHE_VARIABLE} names another folder"


def cache_state() -> str:
    """Return the folder of compiled kernels and what becomes of them, in words."""
    return _fate(*_folder())


def _kept(folder: PrivateFolder | None, identities: Sequence[bytes], wanted: Iterable[int]) -> dict[int, Kernel]:
    """Return those of the wanted kernels that are in files, by index."""
    found = {}
    for i in wanted:
        content = None if folder is None else folder.read(_file_name(identities[i]))
        kernel = None if content is None else _unpacked(content, identities[i])
        if kernel is not None:
            found[i] = kernel
    return found


def _file_name(identity: bytes) -> str:
    return hashlib.sha256(identity).hexdigest()[:40]


def with_tilde(path: str) -> str:
    """Return a path with ~ for the home folder, which has the user's name."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path raises where there is none
    return f"~{path[len(home) :]}" if len(home) > 1 and path.startswith(f"{home}{os.sep}") else path


def _checksum(body: bytes, identity: bytes) -> bytes:
    """Return a checksum of the content of a file, and of all that it was compiled from."""
    head = hashlib.sha256(generation().encode() + b" " + identity).digest()
    return hashlib.sha256(head + body).digest()


def _packed(symbol: str, code: bytes, identity: bytes) -> bytes:
    """Return the content of the file of a kernel."""
    body = symbol.encode() + b"\0" + zlib.compress(code, 1)
    return _MAGIC + _checksum(body, identity) + body


def _unpacked(content: bytes, identity: bytes) -> Kernel | None:
    """Return the symbol and the object file of a kernel; None where the file is damaged or another kernel's."""
    start = len(_MAGIC) + _CHECKSUM_BYTES
    body = content[start:]
    if content[:start] != _MAGIC + _checksum(body, identity):
        return None
    symbol, _, compressed = body.partition(b"\0")
    return symbol.decode(), zlib.decompress(compressed)
