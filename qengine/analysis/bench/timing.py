"""Times of several runs, taken in turns: what disturbs the machine disturbs all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

_PAUSE = 0.1  # seconds: about so long the threads of some runtimes still spin after a run, on the cores of the next


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one run: the best and the median of several."""

    best_ms: float
    median_ms: float


def interleaved(runs: Mapping[str, Callable[[], object]], seconds: float, least: int = 5) -> dict[str, Timing]:
    """Return the times of runs, which take turns, after one turn that does not count.

    Parameters
    ----------
    seconds
        About how long all of it may take.
    least
        Turns that are taken in any case.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while len(next(iter(times.values()))) < least or time.perf_counter() < end:
        for name, run in runs.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: Timing(min(found), median(found)) for name, found in times.items()}
