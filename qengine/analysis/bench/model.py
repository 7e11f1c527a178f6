"""Measurement of a model: the duration of a run, and of each of its kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.bench.timing import Timing, interleaved
from qengine.analysis.machine_state import MachineState, machine_state
from qengine.errors import UnsupportedError
from qengine.kernels.dot import FactorType
from qengine.kernels.isa import Isa
from qengine.kernels.peak import PeakLoop
from qengine.kernels.program import Call, Program
from qengine.model.ops.operator import NeedsRun
from qengine.results import Record, Result
from qengine.runtime.native.executor import Arrays, Executor, NativeSegment, ReferencePart
from qengine.runtime.native.op import Op
from qengine.runtime.session import InferenceSession

_REPEATS = 5
_AGAIN = 3
"""Passes over the kernels at most, while one is above the peak, or all together take longer than the whole run."""
_PEAK_SECONDS = 0.02
"""Seconds of a measurement of the peak."""
_PEAK_SHARE = 4  # times as long as a measurement of the peak, none follows
_UNSTEADY = 1.5
_ABOVE_PEAK = (
    "above the peak: measured again, and still faster than the fastest loop on registers, so the clock was higher then"
)


@dataclass(frozen=True)
class Row:
    """Measurement of one kernel of a run.

    Attributes
    ----------
    tensor : name of the tensor that it computes.
    operator : operator of the model; "" for packing and unpacking.
    kernel : kernel and shape of its tile; "reference" where no native kernel computes the step.
    note : width of the sums and how often they are widened, or the reason why there is no native kernel.
    ms : milliseconds on one thread, with the data in the cache.
    gmacs : 10^9 multiply-accumulates a second, of those that the operator has; None for an operator without any.
    percent_of_peak : share of the rate that the same instruction reaches on registers, the best of measurements that
        take turns with the kernels.
    kind : type of the factors: "s8", "s16" or "f32"; None for a kernel without products.
    """

    tensor: str
    operator: str
    kernel: str
    note: str
    ms: float
    gmacs: float | None
    percent_of_peak: float | None
    kind: FactorType | None = None


@dataclass(frozen=True, repr=False)
class Report(Result):
    """Measurement of a model.

    Attributes
    ----------
    isa, threads : instruction set, and number of threads.
    peaks : GMAC/s of one core by the type of the factors: "s8", "s16", "f32".
    run : timing of whole runs of the session.
    one_thread : timing of whole runs on one thread, in turns with those.
    rows : measurements of its kernels, each by itself on one thread.
    macs : multiply-accumulates of the model.
    memory : bytes of memory for tensors between steps.
    rivals : timing of other runtimes on the same input, in turns with the run; or the reason why there is none.
    machine : state of the machine before the measurement.
    warnings : reasons why these figures may be wrong, such as a busy machine.
    """

    isa: str
    threads: int
    peaks: Mapping[str, float]
    run: Timing
    one_thread: Timing
    rows: tuple[Row, ...]
    macs: int
    memory: int
    rivals: Mapping[str, Timing | str]
    machine: MachineState
    warnings: tuple[str, ...]

    @property
    def overhead_ms(self) -> float:
        """Milliseconds of a run on one thread that no kernel takes; negative where kernels alone took longer."""
        return self.one_thread.best_ms - sum(row.ms for row in self.rows)

    @property
    def summary(self) -> str:
        """The result in one line."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.run.best_ms:.3g} ms a run on {threads} of {self.isa}, {self.gmacs:.3g} GMAC/s"

    def records(self) -> list[Record]:
        """Return a row for each kernel of a run."""
        return [dict(vars(one)) for one in self.rows]

    @property
    def gmacs(self) -> float:
        """The rate of a whole run, in 10^9 multiply-accumulates a second."""
        return self.macs / self.run.best_ms / 1e6


def measure(
    session: InferenceSession,
    feeds: Mapping[str, Any],
    rivals: Mapping[str, Callable[[], object] | str] | None = None,
    seconds: float = 2.0,
) -> Report:
    """Measure a session on native kernels.

    Parameters
    ----------
    session, feeds
        See `InferenceSession.run`.
    rivals
        Runs of other runtimes by name, or the reason why there is none.
    seconds
        Approximate duration of the measurement of whole runs.

    Raises
    ------
    QEngineError
        If the session runs on the reference, or a feed is not valid; see `InferenceSession.run`.
    """
    machine = machine_state()
    arrays = session.check_feeds(feeds)
    executor = executor_of(session, feeds)
    rivals = dict(rivals or {})
    runs: dict[str, Callable[[], object]] = {"qengine": lambda: session.run(None, feeds)}
    alone = session
    if executor.threads > 1:
        alone = session.with_options(replace(session.options, threads=1))
        runs["one thread"] = lambda: alone.run(None, feeds)
    runs |= {name: run for name, run in rivals.items() if callable(run)}
    timings = interleaved(runs, seconds)
    ops = [op for segment in executor.segments for op in segment.ops]
    peaks = _Peaks(sorted({op.kind for op in ops if op.kind is not None}), executor.isa)
    one_thread = timings.get("one thread", timings["qengine"])
    rows = _rows(executor, arrays, peaks)
    for _ in range(_AGAIN - 1):
        if peaks.hold(rows) and sum(row.ms for row in rows) <= one_thread.best_ms:
            break
        peaks.insist()
        rows = [_better(*pair) for pair in zip(rows, _rows(executor, arrays, peaks), strict=True)]
        again = interleaved({"again": lambda: alone.run(None, feeds)}, 0.0)["again"]
        one_thread = Timing(min(one_thread.best_ms, again.best_ms), min(one_thread.median_ms, again.median_ms))
    run = timings["qengine"] if executor.threads > 1 else one_thread
    return Report(
        isa=executor.isa.name,
        threads=executor.threads,
        peaks=peaks.gmacs,
        run=run,
        one_thread=one_thread,
        rows=tuple(peaks.shares(rows)),
        macs=sum(op.macs for op in ops),
        memory=executor.memory,
        rivals={name: timings[name] if callable(run) else run for name, run in rivals.items()},
        machine=machine,
        warnings=(*machine.warnings, *_unsteady(timings)),
    )


class _Peaks:
    """Peak rates that are measured again between the kernels, so that a disturbance of the machine meets both."""

    def __init__(self, kinds: Sequence[FactorType], isa: Isa) -> None:
        self._loops = {kind: PeakLoop(kind, isa) for kind in kinds}
        self.gmacs: dict[str, float] = dict.fromkeys(kinds, 0.0)
        self._next = 0.0
        self.measure()

    def measure(self) -> None:
        """Measure all rates again, unless that was done a moment ago, and keep the best."""
        if time.perf_counter() < self._next:
            return
        start = time.perf_counter()
        for kind, loop in self._loops.items():
            self.gmacs[kind] = max(self.gmacs[kind], loop.rate(_PEAK_SECONDS) / 1e9)
        end = time.perf_counter()
        self._next = end + _PEAK_SHARE * (end - start)

    def insist(self) -> None:
        """Measure all rates in many short turns, of which one may fall between two disturbances."""
        for kind, loop in self._loops.items():
            self.gmacs[kind] = max(self.gmacs[kind], loop.rate(10 * _PEAK_SECONDS, turns=100) / 1e9)

    def hold(self, rows: Sequence[Row]) -> bool:
        """Whether no kernel is faster than the peak of its factors."""
        return all((row.percent_of_peak or 0) <= 100 for row in self.shares(rows))

    def shares(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with their shares of the best rates, and a note at one above its peak."""
        found = []
        for row in rows:
            if row.gmacs is None or row.kind is None or not isfinite(row.gmacs):
                found.append(row)
                continue
            share = 100 * row.gmacs / self.gmacs[row.kind]
            note = row.note if share <= 100 else "; ".join(part for part in (row.note, _ABOVE_PEAK) if part)
            found.append(replace(row, percent_of_peak=share, note=note))
        return found


def _better(one: Row, other: Row) -> Row:
    return one if one.ms <= other.ms else other


def _unsteady(timings: Mapping[str, Timing]) -> tuple[str, ...]:
    """Return a warning where the runs of a measurement differed much."""
    worst = max(timings.values(), key=lambda one: one.median_ms / one.best_ms if one.best_ms else 1.0)
    ratio = worst.median_ms / worst.best_ms if worst.best_ms else 1.0
    if ratio <= _UNSTEADY:
        return ()
    return (f"runs differ: the median takes {ratio:.1f} times the best; something else uses the machine",)


def executor_of(session: InferenceSession, feeds: Mapping[str, Any]) -> Executor:
    """Return the executor of a model that a single plan computes; see `measure`."""
    try:
        plan = session.plan(session.check_feeds(feeds))
    except NeedsRun as error:
        raise UnsupportedError(f"{error}, and only a model of which one plan computes all is measured") from None
    return session.executor(plan)


def _rows(executor: Executor, feeds: Mapping[str, NDArray[Any]], peaks: _Peaks) -> list[Row]:
    """Return the measurements of all kernels, each by itself, in the order of a run so that each has its input."""
    arrays = executor.arrays(feeds)
    rows = []
    for part in executor.parts:
        start = time.perf_counter()
        part.run(arrays)
        ms = 1e3 * (time.perf_counter() - start)
        if isinstance(part, NativeSegment):
            rows += _rows_of_segment(part, executor.isa, arrays, peaks)
        elif isinstance(part, ReferencePart):
            bound_step = part.bound_step
            rows.append(Row(bound_step.output.name, bound_step.node.operator, "reference", part.reason, ms, None, None))
    return rows


def _rows_of_segment(part: NativeSegment, isa: Isa, arrays: Arrays, peaks: _Peaks) -> list[Row]:
    """Return the measurements of the ops of a segment, whose arrays hold its inputs."""
    operators = {id(op): bound_step.node.operator for bound_step, ops in part.steps for op in ops}
    rows = []
    for op, threads in zip(part.ops, part.compiled.calls, strict=True):
        ms = _best_ms(isa, [call for calls in threads for call in calls], arrays)
        rows.append(_row(op, operators.get(id(op), ""), ms))
        peaks.measure()
    return rows


def _best_ms(isa: Isa, calls: list[Call | None], arrays: Arrays) -> float:
    """Return the milliseconds of calls on one thread, the best of several runs, without the time of an empty call."""
    program, empty = Program(isa, [calls]), Program(isa, [[]])

    def seconds(measured: Program) -> float:
        start = time.perf_counter()
        measured.run(arrays)
        return time.perf_counter() - start

    seconds(program)
    return 1e3 * max(0.0, min(seconds(program) for _ in range(_REPEATS)) - min(seconds(empty) for _ in range(_REPEATS)))


def _row(op: Op, operator: str, ms: float) -> Row:
    rate = op.macs / ms / 1e6 if op.macs and ms else None
    return Row(op.out.name.strip("\0"), operator, op.kernel, op.note, ms, rate, None, op.kind)
