"""Work that kills the process that does it, for tests of dying workers; the workers import it."""

import os
import signal
from pathlib import Path

from qengine.analysis.sweep.work import evaluate as computed


def evaluate(work, point):
    """Kill the process at points of 3 bits, and the first time at points of 4."""
    mark = Path(work.folder, "killed")
    if point.width == 3 or (point.width == 4 and not mark.exists()):
        if point.width == 4:
            mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return computed(work, point)


def at_start(work):
    """Kill the process as it starts."""
    os._exit(7)
