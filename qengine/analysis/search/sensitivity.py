"""The sensitivity of the output to each unit at each word length, measured with that unit alone rounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from qengine.analysis.blame.rerun import Rerun
from qengine.analysis.search.descent import monotone
from qengine.analysis.search.evaluate import BudgetExhausted
from qengine.analysis.search.memory import Memory
from qengine.analysis.search.units import FormatText, Unit
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
    memory: Memory | None = None,
    until: float = inf,
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
    memory
        Memory of the sums after each batch, those of an earlier call among them.
    until
        Time of `time.monotonic` at which the measurement ends.

    Raises
    ------
    BudgetExhausted
        If the time `until` comes before the end.
    NeedsRun
        If the data decides how a run continues.
    QEngineError
        If a run fails, or the output holds no real numbers.
    """
    energies = [{width: Energy() for width in unit.widths} if u in priced else {} for u, unit in enumerate(units)]
    memory = memory or Memory(None, "")
    asked = [output, sorted(priced), [[unit.name, _formats(unit)] for unit in units]]
    float32, done = session.in_float32(), 0
    planned: Plan | None = None
    rerun: Rerun | None = None
    for run, batch in enumerate(runs, 1):
        if done >= samples:
            break
        what, used = ["sensitivity", run, *asked], min(batch.count, samples - done)
        if memory.knows(what):
            _restore(energies, memory.value(what))
            done += batch.count
            advance(used)
            continue
        try:
            arrays = session.check_feeds(batch.feeds)
            plan = session.plan(arrays, (output,))
            if rerun is None or plan is not planned:
                planned, rerun = plan, Rerun(plan, float32.plan(arrays, (output,)), float32)
            with session.limited(), np.errstate(all="ignore"):
                rerun.run(arrays)
                for unit, by_width in zip(units, energies, strict=True):
                    if time.monotonic() >= until:
                        raise BudgetExhausted
                    for width, energy in by_width.items():
                        _add(rerun, unit, width, output, energy)
                    advance(used / len(units))
        except QEngineError as error:
            raise error.about(f"run {run} of the data") from None
        memory.keep(what, [[vars(energy) for energy in by_width.values()] for by_width in energies])
        done += batch.count
    return [monotone({width: energy.ratio for width, energy in by_width.items()}) for by_width in energies]


def _formats(unit: Unit) -> list[tuple[int, dict[str, FormatText]]]:
    return [(width, dict(formats)) for width, formats in unit.tensor_formats.items()]


def _restore(energies: Sequence[Mapping[int, Energy]], kept: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Set the sums to those after a batch."""
    for by_width, sums in zip(energies, kept, strict=True):
        for energy, one in zip(by_width.values(), sums, strict=True):
            energy.signal, energy.noise, energy.nonfinite = one["signal"], one["noise"], one["nonfinite"]


def _add(rerun: Rerun, unit: Unit, width: int, output: str, energy: Energy) -> None:
    """Add the noise of a unit alone; where several of its tensors are rounded, the noise of all of them."""
    signal = 0.0
    for name in unit.tensors:
        point = rerun.points.get(name)
        if point is None or not point.rounds:
            continue
        one = Energy()
        one.add(rerun.exact[output], rerun.alone([name], formats={name: unit.formats[width][name]})[output])
        energy.noise += one.noise
        signal = one.signal
    energy.signal += signal
