"""Timing of several runs that take turns: a disturbance of the machine then slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from qengine.progress import working

_PAUSE = 0.1  # seconds; threads of some runtimes spin for about this long after a run, on the cores of the next run


@dataclass(frozen=True)
class Timing:
    """Duration of a run in milliseconds: the best and the median of several runs."""

    best_ms: float
    median_ms: float


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    seconds: float,
    least: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Return the timing of each run by name. Runs take turns; a first turn is not counted.

    Parameters
    ----------
    runs
        Functions that are timed, by name.
    seconds
        Approximate duration of all turns together.
    least
        Least number of turns, however long they take.
    clock
        Function that returns the time in seconds; `time.process_time` for CPU time.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    with working("timing runs|s", seconds) as advance:
        while len(next(iter(times.values()))) < least or time.perf_counter() < end:
            begin = time.perf_counter()
            for name, run in runs.items():
                time.sleep(_PAUSE)
                start = clock()
                run()
                times[name].append(1e3 * (clock() - start))
            advance(time.perf_counter() - begin)
    return {name: Timing(min(values), median(values)) for name, values in times.items()}
