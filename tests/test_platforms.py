"""What other systems lack, taken away here: commands run without it, and write the same bytes.

This is a simulation. Windows' own libraries, its paths and its consoles are not tested by it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import qengine

WINDOWS = """
import sys, os, types
import concurrent.futures.process, ctypes, getpass, multiprocessing.resource_tracker, numba, onnx, PIL.Image
import rich.console, rich.progress, sqlite3, subprocess, tempfile, threadpoolctl, typer, zipfile, fcntl
import rich.live, rich.table, typer.completion, matplotlib.figure
import matplotlib.backends.backend_agg, matplotlib.backends.backend_svg
sys.platform = "win32"
real = fcntl

def locking(file, mode, count):
    try:
        real.lockf(file, real.LOCK_EX | real.LOCK_NB, count, os.lseek(file, 0, os.SEEK_CUR))
    except BlockingIOError as error:
        raise PermissionError(*error.args)

sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "posix_ipc"):
    sys.modules[name] = None
for name in ("O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_NONBLOCK O_NOCTTY O_PATH geteuid getuid getgid sched_getaffinity fork "
             "register_at_fork fchmod sysconf getloadavg").split():
    if hasattr(os, name):
        delattr(os, name)
os.supports_dir_fd = set()
import signal
for name in ("pthread_sigmask", "SIGHUP"):
    delattr(signal, name)
ctypes.windll = types.SimpleNamespace(
    kernel32=types.SimpleNamespace(GetPhysicallyInstalledSystemMemory=lambda size: setattr(size._obj, "value", 1 << 23))
)
"""

PLAIN = """
import json, sys
from qengine.cli import main
for line in json.loads(sys.argv[1]):
    status = main(line)
    if status:
        sys.exit(f"{line}: exit status {status}")
"""

COMMANDS = (
    ["run", "digits", "--qformat", "Q3.4", "-o", "out.npz"],
    ["calibrate", "digits", "--limit", "20", "-o", "formats.json"],
    ["sweep", "digits", "--bits", "8", "--limit", "20", "-o", "results"],
    ["quantize", "digits", "--bits", "8", "--limit", "20", "-o", "digits_q.onnx"],
    ["export", "vectors", "digits", "--qformat", "Q3.4", "--limit", "1", "--edges", "1", "-o", "pack"],
    ["export", "c", "digits", "--qformat", "Q3.4", "-o", "net"],
    ["inspect", "digits"],
)
WRITTEN = ("out.npz", "formats.json", "results/results.csv", "digits_q.onnx", "pack/manifest.json", "net/net.c")
FROM_CLOCK = ("results/results.csv",)


def run_all(folder: Path, program: str, *arguments: str) -> None:
    folder.mkdir()
    (folder / "home").mkdir()
    environment = dict(os.environ, HOME=str(folder / "home"))
    for name in ("QENGINE_CACHE_DIR", "QENGINE_ISA", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What the commands write here, and where Windows' lacks are."""
    root = tmp_path_factory.mktemp("platforms")
    run_all(root / "here", PLAIN, json.dumps(COMMANDS))
    run_all(root / "there", WINDOWS + PLAIN, json.dumps(COMMANDS))
    return root / "here", root / "there"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_bytes_without_what_windows_lacks(folders, name):
    here, there = ((folder / name).read_bytes() for folder in folders)
    assert here
    assert there if name in FROM_CLOCK else there == here


def test_kernels_are_kept_below_the_profile(folders):
    kept = list((folders[1] / "home" / "AppData" / "Local" / "qengine").glob("*/*"))
    assert len(kept) > 5


def text_files(path: Path) -> list[str]:
    """Calls in a source that read or write text as the system, and not the program, decides."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {keyword.arg for keyword in node.keywords}
        receiver, name = ast.unparse(node.func.value), node.func.attr
        if receiver in ("self", "files", "archive"):  # a pack's own method, or a file of bytes in an archive
            continue
        writes = name == "write_text" or (name == "open" and "'w'" in [ast.unparse(one) for one in node.args])
        if (writes and {"encoding", "newline"} - given) or (name == "read_text" and "encoding" not in given):
            found.append(f"{path}:{node.lineno} {receiver}.{name}")
    return found


def test_text_has_one_encoding_and_one_end_of_line():
    root = Path(qengine.__file__).parent
    found = [call for path in root.rglob("*.py") for call in text_files(path)]
    assert not found, "give encoding= and newline=, or use qengine.atomic_files.write_text"
