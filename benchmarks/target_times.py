"""What the rules of a target cost: the time of a run under each, over that under the defaults, in turns.

    python benchmarks/target_times.py [--seconds S] [--models srcnn,resnet50] [--bits 8,16] [TARGET ...]

Without targets: every bundled one that can run at the word length. A line says how many operators have sums in order,
with the part of their filters that may saturate, and how many left native kernels. SRCNN of 8 bits has one such filter
on esp32-s3; those of ResNet-50 with random weights may saturate in half of the operators.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import benchmark_networks

from qengine import InferenceSession, QEngineError
from qengine.analysis.bench import interleaved
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.runtime.native.executor import NativeSegment
from qengine.targets import names

FORMATS = {("srcnn", 8): "Q0.7", ("srcnn", 16): "Q0.15", ("resnet50", 8): "Q3.4", ("resnet50", 16): "Q3.12"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each block of runs")
    parser.add_argument("--models", default="srcnn,resnet50")
    parser.add_argument("--bits", default="8,16")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models.split(","):
            path, feeds = benchmark_networks.prepared(name, Path(folder))
            for bits in map(int, given.bits.split(",")):
                for target in given.targets or names():
                    compare(name, path, feeds, FORMATS[name, bits], target, given.seconds)


def compare(name: str, path: Path, feeds: dict, form: str, target: str, seconds: float) -> None:
    """Print the CPU time of a run with one thread under a target over that under the defaults."""
    default = InferenceSession(path, qformat=form, threads=1)
    try:
        other = InferenceSession(path, qformat=form, threads=1, target=target)
    except QEngineError as error:
        print(f"{name:10} {form:6} {target:22} {error}", flush=True)
        return
    runs = {"default": lambda: default.run(None, feeds), "target": lambda: other.run(None, feeds)}
    times = {run: t.best_ms for run, t in interleaved(runs, seconds, clock=time.process_time).items()}
    ratio = times["target"] / times["default"]
    print(
        f"{name:10} {form:6} {target:22} {times['target']:9.2f} ms   {ratio:5.2f}x of the defaults{left(other, feeds)}",
        flush=True,
    )


def left(session: InferenceSession, feeds: dict) -> str:
    """Return what a run computes on slower paths: sums in order, and operators on the reference."""
    plan = session.plan(session.check_feeds(feeds))
    linear = [(s.step, s.output, s.arithmetic) for s in plan.steps if isinstance(s.step, Linear)]
    masks = [rules.may_overflow for given in linear if (rules := Accumulation(*given)).in_order]
    parts = session.executor(plan).parts
    on_reference = sum(not isinstance(part, NativeSegment) and hasattr(part, "reason") for part in parts)
    found = []
    if masks:
        filters = sum(mask.sum() for mask in masks), sum(mask.size for mask in masks)
        found.append(f"{len(masks)} of {len(linear)} sums in order: {filters[0]} of {filters[1]} filters may saturate")
    if on_reference:
        found.append(f"on the reference: {on_reference}")
    return "".join(f"; {each}" for each in found)


if __name__ == "__main__":
    main()
