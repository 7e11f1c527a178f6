"""Cases of damaged files: one file of a folder is damaged, and a command reads it in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from time import monotonic, sleep

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from qengine.cli import main

from .model_cases import Outcome
from .mutations import Rng, mutate, pick

_SECONDS = 20.0
"""Time after which a command counts as a hang."""

COMMANDS = {
    "run": "run model.onnx -i x=x.npy",
    "run with formats": "run model.onnx -i x=x.npy --formats formats.json --json",
    "run archive": "run model.onnx -i x=x.npz -o out.npz",
    "run tensor": "run model.onnx -i x=x.pb --qformat Q4.3",
    "run image": "run model.onnx -i x=x.png -o out.png",
    "run external": "run external.onnx -i x=x.npy",
    "run quantized": "run quantized.onnx -i x=x.npy",
    "inspect": "inspect model.onnx --json",
    "inspect data": "inspect model.onnx --data set.npz --qformat Q4.3",
    "calibrate": "calibrate model.onnx --data set.npz -o new.json",
    "calibrate images": "calibrate model.onnx --data images -o new.json",
    "quantize": "quantize model.onnx --formats formats.json -o new.onnx",
    "sweep": "sweep model.onnx --data set.npz --bits 4 -o results",
}
READS = {
    "run": ["model.onnx", "x.npy"],
    "run with formats": ["formats.json", "formats.json", "model.onnx"],
    "run archive": ["x.npz"],
    "run tensor": ["x.pb"],
    "run image": ["x.png"],
    "run external": ["external.onnx", "external.data", "external.data"],
    "run quantized": ["quantized.onnx"],
    "inspect": ["model.onnx"],
    "inspect data": ["set.npz", "model.onnx"],
    "calibrate": ["set.npz", "model.onnx"],
    "calibrate images": ["images/0.png", "images/1.png", "images"],
    "quantize": ["model.onnx", "formats.json"],
    "sweep": ["results/results.sqlite", "results/results.sqlite", "set.npz"],
}
"""Files that each command reads; one that is listed twice is damaged twice as often."""


@dataclass(frozen=True)
class FileCase:
    """A command, and the damage to one file that it reads.

    Attributes
    ----------
    command : name in `COMMANDS`.
    damaged : path of the damaged file in the folder.
    seed : seed and number that the damage follows from.
    """

    command: str
    damaged: str
    seed: tuple[int, int]


def file_case(seed: int, number: int) -> FileCase:
    """Return a case; the same numbers always give the same case."""
    rng = np.random.default_rng([seed, number, 1])
    command = pick(rng, [name for name in COMMANDS for _ in range(1 if name == "sweep" else 4)])
    return FileCase(command, pick(rng, READS[command]), (seed, number))


def run_file_case(case: FileCase) -> Outcome:
    """Return the outcome of a command on a folder with a damaged file: its exit status and what it wrote."""
    template = _template()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "work")
        shutil.copytree(template, folder)
        _damage(np.random.default_rng([*case.seed, 2]), folder / case.damaged)
        return _in_child(COMMANDS[case.command].split(), folder)


def _in_child(words: list[str], folder: Path) -> Outcome:
    """Run a command in a forked process, and classify how it ended."""
    child = os.fork()
    if child == 0:
        _become_command(words, folder)
    status = _ended(child)
    errors = (folder.parent / "stderr").read_text(errors="replace")
    if status is None:
        return Outcome("hang", f"longer than {_SECONDS:g} s")
    if os.WIFSIGNALED(status):
        return Outcome("crash", f"signal {os.WTERMSIG(status)}")
    code = os.WEXITSTATUS(status)
    lines = [line for line in errors.splitlines() if "compiling" not in line]
    if "Traceback" in errors or code not in (0, 2):
        return Outcome("foreign", f"exit status {code}: {errors[-2000:]}")
    if code == 2 and len(lines) != 1:
        return Outcome("lines", f"{len(lines)} lines: {errors[-2000:]}")
    return Outcome("result" if code == 0 else "error", errors)


def _become_command(words: list[str], folder: Path) -> None:
    """Run a command with its outputs in files, and end this process with its exit status."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder.parent / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        code = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended(child: int) -> int | None:
    """Return the status of a child process; None where it takes too long, after it was killed."""
    end, pause = monotonic() + _SECONDS, 0.001
    while monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        sleep(pause)
        pause = min(pause * 1.5, 0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _damage(rng: Rng, path: Path) -> None:
    """Damage a file, or replace it by something that is no file."""
    choice = rng.random()
    if choice < 0.12:
        _replace(rng, path)
        return
    if path.is_dir():
        (path / "odd.png").write_bytes(rng.bytes(int(rng.integers(0, 200))))
        return
    if choice < 0.3 and path.suffix == ".onnx":
        model = onnx.load(path, load_external_data=False)
        mutate(rng, model)
        path.write_bytes(model.SerializeToString())
        return
    if choice < 0.7 and path.suffix == ".json":
        path.write_text(json.dumps(_damaged_json(rng, json.loads(path.read_text()))))
        return
    path.write_bytes(_damaged_bytes(rng, path.read_bytes()))


def _replace(rng: Rng, path: Path) -> None:
    """Put a folder, a FIFO, a device, a broken or circular link, or nothing in the place of a file."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    choice = rng.integers(6)
    if choice == 0:
        path.mkdir()
    elif choice == 1:
        os.mkfifo(path)
    elif choice == 2:
        path.symlink_to(pick(rng, ("/dev/zero", "/dev/null", "/dev/tty", "/proc/self/mem")))
    elif choice == 3:
        path.symlink_to(path.name)
    elif choice == 4:
        path.write_bytes(b"")


def _damaged_bytes(rng: Rng, data: bytes) -> bytes:
    """Return data with flipped, missing, added or repeated bytes."""
    choice, end = rng.integers(5), len(data)
    position = int(rng.integers(end)) if end else 0
    if choice == 0:
        return data[:position]
    if choice == 1:
        return data[:position] + rng.bytes(int(rng.integers(1, 40))) + data[position:]
    if choice == 2:
        return data[:position] + data[position + int(rng.integers(1, 40)) :]
    if choice == 3:
        value = pick(rng, (b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"\xff\xff\xff\x7f", b"999999999999"))
        return data[:position] + value + data[position + len(value) :]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 10)) if data else 0):
        near = int(rng.integers(min(end, 256))) if rng.random() < 0.5 else int(rng.integers(end))
        changed[near] = int(rng.integers(256))
    return bytes(changed)


_JSON = (None, True, 0, -1, 1e308, 10**400, "", "Q4.3", "Q99.3", "Q4.3\n", "x" * 2000, [], {}, [[[]]], {"a": {}})


def _damaged_json(rng: Rng, value: object) -> object:
    """Return a JSON value with one part replaced by something else."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = pick(rng, list(value))
        changed = dict(value)
        if rng.random() < 0.2:
            changed[pick(rng, ("bogus", "", key + " "))] = changed.pop(key)
        else:
            changed[key] = _damaged_json(rng, value[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.9:
        k = int(rng.integers(len(value)))
        return [*value[:k], _damaged_json(rng, value[k]), *value[k + 1 :]]
    return pick(rng, _JSON)


@cache
def _template() -> Path:
    """Return a folder with a small valid file of every kind, which is removed when the process ends."""
    import atexit

    _import_everything()
    rng = np.random.default_rng(0)
    folder = Path(tempfile.mkdtemp())
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    model = _model(rng)
    onnx.save(model, folder / "model.onnx")
    onnx.save(
        onnx.ModelProto.FromString(model.SerializeToString()),
        folder / "external.onnx",
        save_as_external_data=True,
        location="external.data",
        size_threshold=0,
    )
    x = rng.normal(size=(1, 1, 8, 8)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x)
    np.savez(folder / "set.npz", x=np.repeat(x, 4, 0), labels=np.arange(4) % 3)
    (folder / "x.pb").write_bytes(numpy_helper.from_array(x, "x").SerializeToString())
    (folder / "images").mkdir()
    for path in (folder / "x.png", folder / "images" / "0.png", folder / "images" / "1.png"):
        Image.fromarray(rng.integers(0, 256, (8, 8)).astype(np.uint8)).save(path)
    for words in (
        "calibrate model.onnx --data set.npz -o formats.json",
        "quantize model.onnx --formats formats.json -o quantized.onnx",
        "sweep model.onnx --data set.npz --bits 3 -o results",
    ):
        outcome = _in_child(words.split(), folder)
        if outcome.kind != "result":
            raise RuntimeError(f"{words}: {outcome}")
    return folder


def _import_everything() -> None:
    """Import what the commands import when they need it: a forked process then begins with all of it."""
    for name in ("cli", "analysis", "data", "model", "quantization", "runtime"):
        package = import_module(f"qengine.{name}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not re.search(r"\.(rivals|scheduler|cluster|plots)\b", module.name):
                import_module(module.name)


def _model(rng: Rng) -> onnx.ModelProto:
    """Return a small classifier of images of 8x8."""
    constants = {"w": rng.normal(size=(2, 1, 3, 3)), "b": rng.normal(size=2), "g": rng.normal(size=(3, 32))}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
