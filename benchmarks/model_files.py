"""Comparison of any model file with ONNX Runtime: time and memory, and whether the outputs agree.

Each measurement is a process of its own, so that a model that fails, hangs or takes all memory costs its own line only:

    python benchmarks/model_files.py time MODEL.onnx --threads 1 --seconds 4     # both runtimes, in turns
    python benchmarks/model_files.py memory MODEL.onnx --runtime qengine         # one runtime
    python benchmarks/ratios.py --models DIR                                      # a table of all files of a folder

The first two print one line of JSON. Times are CPU time of the process for one thread, which the load of a shared
machine changes little, and wall time for several. Memory (Linux only) is the peak of the process, with kernels
compiled, above what it has after a first run of a model with one node: each runtime loads its libraries then, one
while it is imported, the other when it first runs. Feeds are those of MODEL.npz, if there is one, and else random:
axes without a length get 1 in front and a length of `LENGTHS` elsewhere, the first that ONNX Runtime accepts.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], list]

LENGTHS = (16, 32, 64, 128, 224, 512, 16000, 8, 4, 1)
"""Lengths for axes that a model leaves open, in the order in which they are tried."""

TYPES = {
    **{"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16},
    **{"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8},
    **{"tensor(int16)": np.int16, "tensor(uint16)": np.uint16, "tensor(bool)": np.bool_},
}

_LEAST_TURNS = 5
_LIMIT = 600.0  # seconds for one measurement


def rival_session(path: Path, threads: int):
    """Return a session of ONNX Runtime on some threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _candidates(inputs) -> Iterator[Feeds]:
    """Yield random feeds, with several lengths for the open axes, and several kinds of integers."""
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        for largest in (9, 1, 0):
            feeds = {}
            for value in inputs:
                shape = [
                    n if isinstance(n, int) and n > 0 else 1 if axis == 0 else length
                    for axis, n in enumerate(value.shape)
                ]
                dtype = np.dtype(TYPES[value.type])
                random = rng.random(shape) if dtype.kind == "f" else rng.integers(min(largest, 1), largest + 1, shape)
                feeds[value.name] = np.asarray(random).astype(dtype)
            yield feeds


def feeds_of(path: Path) -> Feeds:
    """Return the feeds of a model: those beside it, or random ones that ONNX Runtime accepts."""
    beside = path.with_suffix(".npz")
    if beside.exists():
        return _read(beside)
    session = rival_session(path, 1)
    error: Exception | None = None
    for feeds in _candidates(session.get_inputs()):
        try:
            session.run(None, feeds)
        except Exception as refused:
            error = refused
        else:
            return feeds
    raise RuntimeError(f"no random feeds are accepted: {error}")


def _read(path: Path) -> Feeds:
    with np.load(path) as arrays:
        return dict(arrays)


def _largest_difference(ours: list, theirs: list) -> float:
    """Return the largest difference of the outputs, relative to the largest number of each.

    It is infinite where shapes differ, or where one runtime gives NaN or an infinity and the other does not.
    """
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiub" or not a.size:
            continue
        if a.shape != b.shape:
            return float("inf")
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return float("inf")
        scale = max(float(np.abs(b[finite]).max(initial=0)), 1e-30)
        worst = max(worst, float(np.abs(a[finite] - b[finite]).max(initial=0)) / scale)
    return worst


def compare_times(path: Path, feeds: Feeds, threads: int, seconds: float) -> dict:
    """Return the times of both runtimes on one model, in turns."""
    import qengine

    session = rival_session(path, threads)
    start = time.perf_counter()
    own = qengine.InferenceSession(path, threads=threads)
    ours = own.run(None, feeds)
    first = time.perf_counter() - start
    runs: dict[str, Run] = {"qengine": lambda f: own.run(None, f), "onnxruntime": lambda f: session.run(None, f)}
    difference = _largest_difference(ours, runs["onnxruntime"](feeds))
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    gc.disable()
    while len(times["qengine"]) < _LEAST_TURNS or time.perf_counter() < end:
        for name, run in runs.items():
            if threads > 1:
                time.sleep(0.05)  # threads of a runtime may still spin
            start = clock()
            run(feeds)
            times[name].append(1e3 * (clock() - start))
    best = {name: min(values) for name, values in times.items()}
    return {
        "first_s": first,
        "difference": difference,
        "ms": best["qengine"],
        "rival_ms": best["onnxruntime"],
        "ratio": best["qengine"] / best["onnxruntime"],
        "median_ratio": median(times["qengine"]) / median(times["onnxruntime"]),
    }


def peak_memory(path: Path, feeds: Feeds, runtime: str) -> dict:
    """Return the peak of this process above what it has after a first small run, in MB, for a session and two runs."""
    if runtime == "qengine":
        import qengine

        make = qengine.InferenceSession
    else:
        make = rival_session
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.onnx"
        small.write_bytes(_small_model())
        make(small, threads=1).run(None, {"x": np.ones((1, 4), np.float32)})
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _kilobytes("VmRSS")
    session = make(path, threads=1)
    for _ in range(2):
        session.run(None, feeds)
    return {"mb": (_kilobytes("VmHWM") - before) / 1024}


def _small_model() -> bytes:
    """Return a model with one node."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", [x], [y])
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def _kilobytes(field: str) -> int:
    """Return a size of this process, as Linux gives it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


FAILED = "error"
"""The key of a result that holds why there is none."""


def measured(*arguments: str, limit: float, script: str = __file__) -> dict:
    """Return what a process of this file, or of another script, prints last; or why it printed nothing."""
    command = [sys.executable, script, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {FAILED: f"more than {limit:.0f} s"}
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines else {FAILED: f"exit status {done.returncode}"}


def compare_folder(folder: Path, threads: int, seconds: float, *, memory: bool) -> None:
    """Print a table of all model files of a folder, the slowest beside ONNX Runtime last, and the means."""
    rows, failed = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(folder.glob("**/*.onnx")):
            feeds = str(Path(scratch) / "feeds.npz")
            common = [str(path), "--feeds", feeds, "--threads", str(threads), "--seconds", str(seconds)]
            row = measured("feeds", *common, limit=_LIMIT)
            row |= {} if FAILED in row else measured("time", *common, limit=_LIMIT)
            if memory and FAILED not in row:
                for runtime in ("qengine", "onnxruntime"):
                    row |= {runtime: measured("memory", *common, "--runtime", runtime, limit=_LIMIT).get("mb")}
            name = str(path.relative_to(folder))
            (failed if FAILED in row else rows).append((name, row))
            print(f"  {name}: {row.get(FAILED) or format(row['ratio'], '.2f')}", file=sys.stderr, flush=True)
    rows.sort(key=lambda named: named[1]["ratio"])
    _print_table(rows, failed, threads)


def _print_table(rows: list[tuple[str, dict]], failed: list[tuple[str, dict]], threads: int) -> None:
    clock = "CPU ms" if threads == 1 else "ms"
    print(f"{'model':34} {clock:>9} {'ORT':>9} {'ratio':>6} {'first s':>8} {'difference':>10} {'MB':>7} {'ORT MB':>7}")
    for name, row in rows:
        memory = "".join(f" {mb:7.1f}" if (mb := row.get(k)) is not None else "" for k in ("qengine", "onnxruntime"))
        print(
            f"{name[-34:]:34} {row['ms']:9.3f} {row['rival_ms']:9.3f} {row['ratio']:6.2f} {row['first_s']:8.2f} "
            f"{row['difference']:10.1e}{memory}"
        )
    for name, row in failed:
        print(f"{name[-34:]:34} {row[FAILED]}")
    if rows:
        ratios = [row["ratio"] for _, row in rows]
        above = ", ".join(f"{sum(r > limit for r in ratios)} above {limit}x" for limit in (1.0, 1.5, 3.0))
        print(f"{len(ratios)} models on {threads} thread(s): geometric mean {geometric_mean(ratios):.2f}x, {above}")


def main() -> None:
    """Parse the command line, measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("feeds", "time", "memory"))
    parser.add_argument("model", type=Path)
    parser.add_argument("--feeds", type=Path, help=".npz of the feeds; `feeds` writes it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runtime", choices=("qengine", "onnxruntime"), default="qengine")
    arguments = parser.parse_args()
    path, given = arguments.model, arguments.feeds
    try:
        if arguments.what == "feeds":
            np.savez(given, **feeds_of(path))
            result = {}
        else:
            feeds = feeds_of(path) if given is None else _read(given)
            if arguments.what == "time":
                result = compare_times(path, feeds, arguments.threads, arguments.seconds)
            else:
                result = peak_memory(path, feeds, arguments.runtime)
    except Exception as error:
        first_line = str(error).partition("\n")[0][:160]
        result = {FAILED: f"{type(error).__name__}: {first_line}"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
