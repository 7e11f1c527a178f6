"""Fuzzing from the command line; CONTRIBUTING.md says when.

    python tests/fuzz.py models --seed 1 --count 200000
    python tests/fuzz.py files --seed 1 --count 20000
    python tests/fuzz.py models --seed 1 --case 1234      # one case again, in this process

The exit status is 0 where every case was right, and 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from time import monotonic

from fuzzing.corpus import corpus
from fuzzing.file_cases import file_case, run_file_case
from fuzzing.model_cases import Outcome, model_case, run_model_case
from fuzzing.watch import run

KINDS = {"models": (model_case, run_model_case), "files": (file_case, run_file_case)}
"""(case of a seed and a number, function that runs it) by the kind of fuzzing."""


def run_numbered(kind: str, seed: int, number: int) -> Outcome:
    """Return the outcome of a case."""
    make, perform = KINDS[kind]
    return perform(make(seed, number))


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="run this case alone, in this process")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=20, help="seconds after which a case counts as a hang")
    parser.add_argument("--memory", type=int, default=12, help="GiB of address space of a process")
    parser.add_argument("--save", help="with --case: write the model to this file")
    arguments = parser.parse_args()
    if arguments.case is not None:
        return _run_one(arguments)
    corpus()  # read before the workers are forked
    began = monotonic()
    shown = [began]

    def report(finished: int) -> None:
        if sys.stderr.isatty() and monotonic() - shown[0] > 1:
            shown[0] = monotonic()
            print(f"\r{finished} of {arguments.count} cases", end="", file=sys.stderr)

    summary = run(
        range(arguments.first, arguments.first + arguments.count),
        partial(run_numbered, arguments.kind, arguments.seed),
        jobs=arguments.jobs,
        limit=arguments.limit,
        memory=arguments.memory << 30,
        report=report,
    )
    for number, outcome in sorted(summary.failures, key=lambda one: one[0]):
        print(f"case {number}: {outcome.kind}\n{outcome.detail}")
    counts = ", ".join(f"{count} {kind}" for kind, count in summary.counts.most_common())
    print(f"{summary.counts.total()} cases of seed {arguments.seed} in {monotonic() - began:.0f} s: {counts}")
    print(f"{len(summary.failures)} failures")
    return 1 if summary.failures else 0


def _run_one(arguments: argparse.Namespace) -> int:
    make, perform = KINDS[arguments.kind]
    case = make(arguments.seed, arguments.case)
    print(case)
    if arguments.save:
        with open(arguments.save, "wb") as file:  # noqa: PTH123
            file.write(case.model)
    outcome = perform(case)
    print(f"{outcome.kind}\n{outcome.detail}")
    return 0 if outcome.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
