"""Compilation of many kernels on all cores.

LLVM takes 20 to 150 ms for a kernel, Numba 300 to 1000, and a network needs 10 to 30. llvmlite lets one thread of a
process compile at a time, so a batch is shared by processes (`emit.compile_process`): each compiles one kernel after
the other, and gets the next one when it has answered. A process is started with Python's own isolation and this
process's path of modules, so that neither variables of the environment nor the current folder decide what it imports.
It never writes a file; it ends with the batch, and its memory goes back. What it does not answer, because it cannot be
started or dies, this process compiles itself, and so meets the error, if there is one.
"""

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from .isa import Isa
from .spec import Spec

Kernel = tuple[str, bytes]
"""The symbol of a kernel, and its object file."""

_HEAD = struct.Struct("<8sII")  # mark, number of bytes of the symbol, number of bytes of the object file
_MARK = b"\0kernel\n"  # anything else that a process writes is not taken for an answer

_START_SECONDS, _IMPORT_SECONDS = 0.2, 0.4  # of a process, and of Numba in it
_KERNEL_SECONDS, _PYTHON_SECONDS = 0.06, 0.6  # of a kernel in LLVM's instructions, and of one in Python
_WORTH_SECONDS = 0.24  # work that is worth a process
_MAX_PROCESSES = 8  # each takes about 120 MB


def process_count(specs: Sequence[Spec]) -> int:
    """Return the number of processes for a batch of kernels; 0 if this process compiles them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = sum(_seconds(spec) for spec in specs)
    count = min(cores, len(specs), int(seconds / _WORTH_SECONDS + 1e-9), _MAX_PROCESSES)
    # Where Python is embedded in another program, sys.executable may be that program.
    has_python = Path(sys.executable or "").name.lower().startswith("python") and not getattr(sys, "frozen", False)
    # Numba's memory goes back with the process, even if there is one alone.
    return count if has_python and (count > 1 or _needs_numba(specs)) else 0


def estimated_seconds(specs: Sequence[Spec], processes: int) -> float:
    """Return the estimated seconds until a batch is compiled."""
    start = (_START_SECONDS if processes else 0) + (_IMPORT_SECONDS if _needs_numba(specs) else 0)
    return start + sum(_seconds(spec) for spec in specs) / max(processes, 1)


def _needs_numba(specs: Sequence[Spec]) -> bool:
    return any(_is_python(spec.emitter) for spec in specs)


def _seconds(spec: Spec) -> float:
    """Return the estimated seconds that one core takes for a kernel."""
    return _PYTHON_SECONDS if _is_python(spec.emitter) else _KERNEL_SECONDS


@cache
def _is_python(emitter: str) -> bool:
    """Whether a kernel is a Python function, which Numba compiles; its module is not imported, as it imports Numba."""
    with suppress(OSError):
        return b"\ndef python_kernel(" in (Path(__file__).parent / "emit" / f"{emitter}.py").read_bytes()
    return False


def compiled(specs: Sequence[Spec], isa: Isa, processes: int) -> Generator[tuple[int, Kernel], None, None]:
    """Yield the index and the machine code of each kernel, in the order in which they are ready.

    Parameters
    ----------
    specs, isa
        Specifications of the kernels, and the instruction set.
    processes
        Number of processes that compile, see `process_count`; 0 if this one does.
    """
    missing = set(range(len(specs)))
    if processes:
        for index, kernel in _compiled_elsewhere(specs, isa, processes):
            missing.remove(index)
            yield index, kernel
    if missing:
        from .emit.compile_kernel import compile_kernel  # slow to import

        for index in sorted(missing):
            yield index, compile_kernel(specs[index], isa)


def _compiled_elsewhere(specs: Sequence[Spec], isa: Isa, processes: int) -> Iterator[tuple[int, Kernel]]:
    """Yield those kernels that other processes compile."""
    batch = _Batch(specs, isa)
    started: list[subprocess.Popen[bytes]] = []
    threads: list[threading.Thread] = []
    try:
        for _ in range(processes):
            try:
                process = _start()
                started.append(process)
                thread = threading.Thread(target=batch.serve, args=(process,), name="qengine compiler", daemon=True)
                thread.start()
            except (OSError, RuntimeError):  # no more processes, or no more threads
                break
            threads.append(thread)
        ended = 0
        while ended < len(threads):
            answer = batch.answers.get()
            if answer is None:
                ended += 1
            else:
                yield answer
    finally:
        for process in started:
            process.kill()  # it holds nothing that is needed, even in the middle of a kernel
        for thread in threads:
            thread.join()
        for process in started:
            process.communicate()


class _Batch:
    """Kernels that threads have compiled by processes, one process a thread.

    Attributes
    ----------
    answers : index and machine code of each kernel; None for each thread that has ended.
    """

    def __init__(self, specs: Sequence[Spec], isa: Isa) -> None:
        self.answers: SimpleQueue[tuple[int, Kernel] | None] = SimpleQueue()
        longest_first = sorted(range(len(specs)), key=lambda index: -_seconds(specs[index]))
        self._requests = deque((index, pickle.dumps((specs[index], isa))) for index in longest_first)

    def serve(self, process: "subprocess.Popen[bytes]") -> None:
        """Give a process kernels until none are left or it fails."""
        try:
            while self._requests:
                index, request = self._requests.popleft()
                self.answers.put((index, _answer(process, request)))
        except (OSError, EOFError, IndexError):  # the process has died, or another thread took the last kernel
            pass
        finally:
            self.answers.put(None)


def _start() -> "subprocess.Popen[bytes]":
    """Start a process that compiles."""
    paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - an empty path is the current folder
    name = f"{__package__}.emit.compile_process"
    code = f"import sys; sys.path[:] = {paths!r}; from {name} import main; main()"
    options = ["-I", *["-B"] * sys.dont_write_bytecode]
    return subprocess.Popen(
        [sys.executable, *options, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def answer_of(kernel: Kernel) -> bytes:
    """Return the answer of a process that has compiled a kernel."""
    symbol, code = kernel
    return _HEAD.pack(_MARK, len(symbol), len(code)) + symbol.encode() + code


def _answer(process: "subprocess.Popen[bytes]", request: bytes) -> Kernel:
    """Return the answer of a process to a request.

    Raises
    ------
    OSError, EOFError
        If the process has died, or writes something else.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(request)
    process.stdin.flush()
    mark, *sizes = _HEAD.unpack(_read(process, _HEAD.size))
    if mark != _MARK:
        raise EOFError
    symbol, code = (_read(process, size) for size in sizes)
    return symbol.decode(), code


def _read(process: "subprocess.Popen[bytes]", size: int) -> bytes:
    assert process.stdout is not None
    content = process.stdout.read(size)
    if len(content) < size:
        raise EOFError
    return content
