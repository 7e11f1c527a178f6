"""Comparison of models with other runtimes, in turns: the ratio of their times to ours.

    python benchmarks/ratios.py [--seconds S] [--threads 1,2] [--cpu-time] [--process] [MODEL ...]
    python benchmarks/ratios.py --models DIR [--threads 1] [--memory]     # any files, beside ONNX Runtime

The times of a block were taken in turns. Other runtimes have their best settings; see qengine/analysis/bench/rivals.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import benchmark_networks
import model_files
import numpy as np

from qengine import InferenceSession, zoo
from qengine.analysis.bench import interleaved
from qengine.analysis.bench.rivals import RivalSetup, rival_runs

FORMATS = {"float32": (None, None), "int8": ("Q3.4", 8), "int16": ("Q3.12", 16)}
# The pixels of SRCNN lie in 0..1: these formats waste no bit.
SRCNN = {"float32": (None, None), "int8": ("Q0.7", 8), "int16": ("Q0.15", 16)}

PROCESS = """
import sys
import numpy as np
import onnxruntime
from PIL import Image
image = np.asarray(Image.open(sys.argv[2]).convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(y,) = session.run(None, {"input": image, "factor": np.float32([1, 1, 3, 3])})
Image.fromarray(np.rint(y[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)).save(sys.argv[3])
"""


def compare(name: str, folder: Path, seconds: float, thread_counts: list[int], *, cpu_time: bool) -> None:
    """Print the times of a model in float32, 8 and 16 bits, on each number of threads."""
    path, feeds = benchmark_networks.prepared(name, folder)
    for word, (form, bits) in (SRCNN if name == "srcnn" else FORMATS).items():
        ours: dict[int, float] = {}
        for threads in thread_counts:
            session = InferenceSession(path, qformat=form, threads=threads)
            runs = {"qengine": lambda s=session: s.run(None, feeds)}
            rivals = rival_runs(["onnxruntime", "openvino"], RivalSetup(path, feeds, bits, threads))
            runs |= {rival: run for rival, run in rivals.items() if callable(run)}
            clock = time.process_time if cpu_time and threads == 1 else time.perf_counter
            times = {runtime: t.best_ms for runtime, t in interleaved(runs, seconds, clock=clock).items()}
            ours[threads] = times["qengine"]
            beside = ", ".join(
                f"{rival} {times[rival]:.2f} ms ({times[rival] / ours[threads]:.2f}x)"
                if rival in times
                else f"{rival}: {reason}"
                for rival, reason in rivals.items()
            )
            print(f"{name:13} {word:8} {threads} thread(s): {ours[threads]:8.2f} ms   {beside}", flush=True)
        first, *others = thread_counts
        for threads in others:
            gain = ours[first] / ours[threads]
            print(f"{name:13} {word:8} {threads} threads against {first}: {gain:.2f}x", flush=True)


def whole_processes(repeats: int = 7) -> None:
    """Print the time of `qengine run` as a process, and of a script that does the same with ONNX Runtime, in turns."""
    entry = zoo.find("srcnn")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has bytecode
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        image = Path(folder) / "in.png"
        from PIL import Image

        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 255, (256, 256, 3), np.uint8).astype(np.uint8)).save(image)
        out = str(Path(folder) / "out.png")
        run = [sys.executable, "-m", "qengine", "run", str(entry.path), "-i", f"input={image}", "-i", "factor=1,1,3,3"]
        run += ["--scale", "1/255", "-o", out]
        words = {
            "onnxruntime, float32": [sys.executable, "-c", PROCESS, str(entry.path), str(image), out],
            "qengine run, float32": run,
            "qengine run, Q0.7, with its comparison": [*run, "--qformat", "Q0.7"],
        }
        best = dict.fromkeys(words, float("inf"))
        for turn in range(repeats + 1):
            for name, command in words.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if turn:
                    best[name] = min(best[name], time.perf_counter() - start)
        base = best["onnxruntime, float32"]
        for name, seconds in best.items():
            print(f"process       {name:40} {seconds:.3f} s   {seconds / base:.2f}x")
        start = time.perf_counter()
        fresh = {**os.environ, "QENGINE_CACHE_DIR": str(Path(folder) / "kernels")}
        subprocess.run([*run, "--qformat", "Q0.7"], check=True, capture_output=True, env=fresh)
        print(f"process       the first ever, compiling                {time.perf_counter() - start:.1f} s")


def _thread_counts(text: str) -> list[int]:
    """Return the numbers of threads that an option names."""
    counts = [int(n) for n in text.split(",")]
    if min(counts) < 1:
        raise ValueError
    return counts


_thread_counts.__name__ = "list of numbers of threads"  # argparse names it in its message


def main() -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(benchmark_networks.MODELS))
    parser.add_argument("--seconds", type=float, default=8.0, help="approximate duration of each measurement")
    parser.add_argument("--process", action="store_true", help="also time whole processes")
    parser.add_argument(
        "--models", dest="folder", type=Path, metavar="DIR", help="measure the .onnx files of a folder instead"
    )
    parser.add_argument("--threads", type=_thread_counts, default="1,2", help="--models takes the first")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time where there is one thread")
    parser.add_argument("--memory", action="store_true", help="also the peak memory of --models")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        if not any(arguments.folder.glob("**/*.onnx")):
            parser.error(f"there is no .onnx file in {arguments.folder}")
        if find_spec("onnxruntime") is None:
            parser.error("onnxruntime is not installed: pip install -e '.[bench]'")
        model_files.compare_folder(arguments.folder, arguments.threads[0], arguments.seconds, memory=arguments.memory)
        return
    if unknown := set(arguments.models) - set(benchmark_networks.MODELS):
        parser.error(f"no model is named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models or benchmark_networks.MODELS:
            compare(name, Path(folder), arguments.seconds, arguments.threads, cpu_time=arguments.cpu_time)
    if arguments.process:
        whole_processes()


if __name__ == "__main__":
    main()
