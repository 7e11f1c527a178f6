"""The sensitivity of the output to each unit at each word length, measured with that unit alone rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from qengine.analysis.blame.rerun import Rerun
from qengine.analysis.search.descent import monotone
from qengine.analysis.search.units import Unit
from qengine.data.datasets import Batch
from qengine.errors import QEngineError
from qengine.metrics.decibels import Energy
from qengine.runtime.plan.plan import Plan
from qengine.runtime.session import InferenceSession


def measure_sensitivity(
    session: InferenceSession,
    output: str,
    units: Sequence[Unit],
    priced: frozenset[int],
    runs: Iterable[Batch],
    samples: int,
    advance: Callable[[float], None],
) -> list[dict[int, float]]:
    """Return the noise over signal that each unit alone brings to the output, by word length.

    It is the noise of a float32 run in which the unit alone is rounded.

    Parameters
    ----------
    session
        Session of the model in fixed point, in any formats of the units.
    output
        Output at which noise is measured.
    units
        Units to round.
    priced
        Indices of the units that are measured; the others get an empty mapping.
    runs, samples
        The data, and the number of samples to use: the first batches are used until there are enough.
    advance
        Function that is called with the number of samples that are done.

    Raises
    ------
    NeedsRun
        If the data decides how a run continues.
    QEngineError
        If a run fails, or the output holds no real numbers.
    """
    energies = [{width: Energy() for width in unit.widths} if u in priced else {} for u, unit in enumerate(units)]
    float32, done = session.in_float32(), 0
    planned: Plan | None = None
    rerun: Rerun | None = None
    for run, batch in enumerate(runs, 1):
        if done >= samples:
            break
        try:
            arrays = session.check_feeds(batch.feeds)
            plan = session.plan(arrays, (output,))
            if rerun is None or plan is not planned:
                planned, rerun = plan, Rerun(plan, float32.plan(arrays, (output,)))
            with session.limited(), np.errstate(all="ignore"):
                rerun.run(arrays)
                for unit, by_width in zip(units, energies, strict=True):
                    for width, energy in by_width.items():
                        _add(rerun, unit, width, output, energy)
                    advance(batch.count / len(units))
        except QEngineError as error:
            raise error.about(f"run {run} of the data") from None
        done += batch.count
    return [monotone({width: energy.ratio for width, energy in by_width.items()}) for by_width in energies]


def _add(rerun: Rerun, unit: Unit, width: int, output: str, energy: Energy) -> None:
    """Add the noise of a unit alone; where several of its tensors are rounded, the noise of all of them."""
    signal = 0.0
    for name in unit.tensors:
        point = rerun.points.get(name)
        if point is None or not point.rounds:
            continue
        one = Energy()
        one.add(rerun.exact[output], rerun.run_with_rounded(point, unit.formats[width])[output])
        energy.noise += one.noise
        signal = one.signal
    energy.signal += signal
