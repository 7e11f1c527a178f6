"""Measurement of a model: the duration of a run, and of each of its kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.bench.timing import Timing, interleaved
from qengine.errors import UnsupportedError
from qengine.kernels.isa import Isa
from qengine.kernels.peak import peak_rate
from qengine.kernels.program import Call, Program
from qengine.model.ops.operator import NeedsRun
from qengine.results import Record, Result
from qengine.runtime.native.executor import Arrays, Executor, NativeSegment, ReferencePart
from qengine.runtime.native.op import Op
from qengine.runtime.session import InferenceSession

_REPEATS = 5


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
    percent_of_peak : share of the rate that the same instruction reaches on registers.
    """

    tensor: str
    operator: str
    kernel: str
    note: str
    ms: float
    gmacs: float | None
    percent_of_peak: float | None


@dataclass(frozen=True, repr=False)
class Report(Result):
    """Measurement of a model.

    Attributes
    ----------
    isa, threads : instruction set, and number of threads.
    peaks : GMAC/s of one core by the type of the factors: "s8", "s16", "f32".
    run : timing of whole runs of the session.
    rows : measurements of its kernels.
    macs : multiply-accumulates of the model.
    memory : bytes of memory for tensors between steps.
    rivals : timing of other runtimes on the same input, in turns with the run; or the reason why there is none.
    """

    isa: str
    threads: int
    peaks: Mapping[str, float]
    run: Timing
    rows: tuple[Row, ...]
    macs: int
    memory: int
    rivals: Mapping[str, Timing | str]

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


def bench(
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
    arrays = session.check_feeds(feeds)
    executor = executor_of(session, feeds)
    rivals = dict(rivals or {})
    runs: dict[str, Callable[[], object]] = {"qengine": lambda: session.run(None, feeds)}
    runs |= {name: run for name, run in rivals.items() if callable(run)}
    timings = interleaved(runs, seconds)
    ops = [op for segment in executor.segments for op in segment.ops]
    kinds = sorted({op.kind for op in ops if op.kind is not None})
    peaks: dict[str, float] = {kind: peak_rate(kind, executor.isa) / 1e9 for kind in kinds}
    return Report(
        isa=executor.isa.name,
        threads=executor.threads,
        peaks=peaks,
        run=timings["qengine"],
        rows=tuple(_rows(executor, arrays, peaks)),
        macs=sum(op.macs for op in ops),
        memory=executor.memory,
        rivals={name: timings[name] if callable(run) else run for name, run in rivals.items()},
    )


def executor_of(session: InferenceSession, feeds: Mapping[str, Any]) -> Executor:
    """Return the executor of a model that a single plan computes; see `bench`."""
    try:
        plan = session.plan(session.check_feeds(feeds))
    except NeedsRun as error:
        raise UnsupportedError(f"{error}, and only a model of which one plan computes all is measured") from None
    return session.executor(plan)


def _rows(executor: Executor, feeds: Mapping[str, NDArray[Any]], peaks: Mapping[str, float]) -> list[Row]:
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


def _rows_of_segment(part: NativeSegment, isa: Isa, arrays: Arrays, peaks: Mapping[str, float]) -> list[Row]:
    """Return the measurements of the ops of a segment, whose arrays hold its inputs."""
    operators = {id(op): bound_step.node.operator for bound_step, ops in part.steps for op in ops}
    rows = []
    for op, threads in zip(part.ops, part.compiled.calls, strict=True):
        ms = _best_ms(isa, [call for calls in threads for call in calls], arrays)
        rows.append(_row(op, operators.get(id(op), ""), ms, peaks))
    return rows


def _best_ms(isa: Isa, calls: list[Call | None], arrays: Arrays) -> float:
    """Return the milliseconds of calls on one thread, the best of several runs, without the overhead of a run."""
    program, empty = Program(isa, [calls]), Program(isa, [[]])

    def seconds(measured: Program) -> float:
        start = time.perf_counter()
        measured.run(arrays)
        return time.perf_counter() - start

    seconds(program)
    return 1e3 * max(0.0, min(seconds(program) for _ in range(_REPEATS)) - min(seconds(empty) for _ in range(_REPEATS)))


def _row(op: Op, operator: str, ms: float, peaks: Mapping[str, float]) -> Row:
    rate = op.macs / ms / 1e6 if op.macs and ms else None
    percent = None
    if rate is not None and op.kind is not None and isfinite(rate):
        percent = 100 * rate / peaks[op.kind]
    return Row(op.out.name.strip("\0"), operator, op.kernel, op.note, ms, rate, percent)
