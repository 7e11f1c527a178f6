"""A `qengine` command that waits for permits of the test: `python gated.py FOLDER sweep MODEL ...`, or search.

Each point of a sweep, and each measurement of a search, takes one file from the folder before it is computed, and waits
while there is none. So a test knows how far a command has come when it sends a signal, on a machine of any speed. A
measurement is written to a log when it begins and when it has ended, so the test knows which were made, and how often.
"""

import json
import os
import sys
import time
from pathlib import Path

from qengine.analysis.search.evaluate import ModelEvaluator
from qengine.analysis.sweep.work import evaluate as computed

VARIABLE = "QENGINE_TEST_PERMITS"
LOG = "log"
in_formats = ModelEvaluator.in_formats


def allow(folder, count):
    """Let `count` more points be computed."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        (folder / f"{time.monotonic_ns()}-{i}").touch()


def evaluate(work, point):
    """Compute a point once there is a permit for it."""
    while not _taken(Path(os.environ[VARIABLE])):
        time.sleep(0.002)
    return computed(work, point)


def measured(model, formats, *more):
    """Measure formats once there is a permit for it."""
    folder, text = Path(os.environ[VARIABLE]), json.dumps(formats, sort_keys=True)
    with (folder / LOG).open("a") as log:
        print("begun", text, file=log, flush=True)
        while not _taken(folder):
            time.sleep(0.002)
        value = in_formats(model, formats, *more)
        print("ended", text, file=log, flush=True)
    return value


def logged(folder, word):
    """Return the formats in the log whose measurement was begun, or ended."""
    path = folder / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(word)]


def _taken(folder):
    for permit in folder.iterdir():
        if permit.name == LOG:
            continue
        try:
            permit.unlink()
        except FileNotFoundError:  # another worker was first
            continue
        return True
    return False


def main():
    import gated  # by its name, as worker processes import it

    from qengine import cli
    from qengine.analysis.sweep import processes

    os.environ[VARIABLE] = sys.argv[1]
    processes.evaluate = gated.evaluate
    ModelEvaluator.in_formats = gated.measured
    sys.exit(cli.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
