"""What each unit does to the output at each word length, measured alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from qengine.analysis.blame.energy import Energy
from qengine.analysis.blame.rerun import Rerun
from qengine.analysis.search.descent import monotone
from qengine.analysis.search.units import Unit
from qengine.data.datasets import Batch
from qengine.errors import QEngineError
from qengine.runtime.plan.plan import Plan
from qengine.runtime.session import InferenceSession


def measure_harm(
    session: InferenceSession,
    output: str,
    units: Sequence[Unit],
    priced: frozenset[int],
    runs: Iterable[Batch],
    samples: int,
    advance: Callable[[float], None],
) -> list[dict[int, float]]:
    """Return for each unit, by word length, the noise that it alone brings to the output, in parts of the signal.

    It is that of a float32 run in which nothing but the unit is rounded.

    Parameters
    ----------
    session
        Of the model in fixed point, in any formats of the units.
    output
        Where noise is measured.
    units
        What is rounded.
    priced
        The places of those that are measured; the others get nothing.
    runs, samples
        The data, of which the first batches are used, until there are so many samples.
    advance
        Told how many samples are done.

    Raises
    ------
    NeedsRun
        If the data decides how a run goes on.
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
                for unit, known in zip(units, energies, strict=True):
                    for width, energy in known.items():
                        _add(rerun, unit, width, output, energy)
                    advance(batch.count / len(units))
        except QEngineError as error:
            raise error.about(f"run {run} of the data") from None
        done += batch.count
    return [monotone({width: energy.ratio for width, energy in known.items()}) for known in energies]


def _add(rerun: Rerun, unit: Unit, width: int, output: str, energy: Energy) -> None:
    """Count the noise of a unit alone; where several of its tensors are rounded, that of all of them."""
    signal = 0.0
    for name in unit.tensors:
        point = rerun.points.get(name)
        if point is None or not point.rounds:
            continue
        one = Energy()
        one.add(rerun.exact[output], rerun.alone(point, unit.formats[width])[output])
        energy.noise += one.noise
        signal = one.signal
    energy.signal += signal
