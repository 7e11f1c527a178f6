"""A `qengine` command whose sweep waits for permits of the test: `python gated.py FOLDER sweep MODEL ...`.

Each point takes one file from the folder before it is computed, and waits while there is none. So a test knows how far
a sweep has come when it sends a signal, on a machine of any speed.
"""

import os
import sys
import time
from pathlib import Path

from qengine.analysis.sweep.work import evaluate as computed

VARIABLE = "QENGINE_TEST_PERMITS"


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


def _taken(folder):
    for permit in folder.iterdir():
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
    sys.exit(cli.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
