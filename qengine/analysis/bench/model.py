"""One model: how long a run takes, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.bench.timing import Timing, interleaved
from qengine.errors import UnsupportedError
from qengine.kernels.dot import Kind
from qengine.kernels.isa import Isa
from qengine.kernels.peak import peak_rate
from qengine.kernels.program import Program
from qengine.model.ops.operator import NeedsRun
from qengine.runtime.native.channelwise import DepthwiseOp, FewOp
from qengine.runtime.native.convolution import DotOp
from qengine.runtime.native.executor import Executor, NativePart, ReferencePart
from qengine.runtime.native.op import Op
from qengine.runtime.session import InferenceSession

_REPEATS = 5


@dataclass(frozen=True)
class Row:
    """One kernel of a run.

    Attributes
    ----------
    tensor : what it computes.
    operator : the model's.
    kernel : which one, and the shape of its tile; "reference" where there is none.
    note : how sums are kept exact, or why there is no kernel.
    ms : on one thread, alone and with its data at hand.
    gmacs : 10^9 multiply-accumulates a second, of those that the operator asks for; None where it has none.
    percent_of_peak : of what the same instruction reaches on registers.
    """

    tensor: str
    operator: str
    kernel: str
    note: str
    ms: float
    gmacs: float | None
    percent_of_peak: float | None


@dataclass(frozen=True)
class Report:
    """What `bench` measured.

    Attributes
    ----------
    isa, threads : what ran.
    peaks : GMAC/s of one core by what is multiplied: "s8", "s16", "f32".
    run : a whole run of the session.
    rows : its kernels.
    macs : multiply-accumulates of the model.
    memory : bytes for what lies between steps.
    rivals : times of others on the same input, in turns with the run; or why there is none.
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
    def gmacs(self) -> float:
        """10^9 multiply-accumulates a second of a whole run."""
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
        As for `InferenceSession.run`.
    rivals
        Runs by name to take turns with, or why there is none.
    seconds
        About how long to measure whole runs.

    Raises
    ------
    QEngineError
        If the session runs on the reference, or as `InferenceSession.run`.
    """
    arrays = session.check_feeds(feeds)
    executor = executor_of(session, feeds)
    runs: dict[str, Callable[[], object]] = {"qengine": lambda: session.run(None, feeds)}
    given = dict(rivals or {})
    runs |= {name: run for name, run in given.items() if callable(run)}
    timings = interleaved(runs, seconds)
    ops = [op for part in executor.parts if isinstance(part, NativePart) for op in part.ops]
    kinds = sorted({kind for op in ops if (kind := kind_of(op)) is not None})
    peaks: dict[str, float] = {kind: peak_rate(kind, executor.isa) / 1e9 for kind in kinds}
    beside = {name: timings[name] if callable(run) else run for name, run in given.items()}
    rows = tuple(_rows(executor, arrays, peaks))
    macs = sum(op.macs for op in ops)
    return Report(executor.isa.name, executor.threads, peaks, timings["qengine"], rows, macs, executor.memory, beside)


def executor_of(session: InferenceSession, feeds: Mapping[str, Any]) -> Executor:
    """Return what runs a model of which one plan computes all; see `bench`."""
    try:
        plan = session.plan(session.check_feeds(feeds))
    except NeedsRun as error:
        raise UnsupportedError(f"{error}, and only a model of which one plan computes all is measured") from None
    return session.executor(plan)


def kind_of(op: Op) -> Kind | None:
    """Return what an op multiplies; None where that is not its work."""
    return op.kind if isinstance(op, DotOp | FewOp | DepthwiseOp) else None


def _rows(executor: Executor, feeds: Mapping[str, NDArray[Any]], peaks: Mapping[str, float]) -> list[Row]:
    """Return the kernels of a run, each measured alone, in a run's order so that each finds its input."""
    arrays = executor.arrays(feeds)
    rows = []
    for part in executor.parts:
        start = time.perf_counter()
        part.run(arrays)
        if isinstance(part, NativePart):
            owners = {id(op): bound for bound, ops in part.steps for op in ops}
            for op, threads in zip(part.ops, part.compiled.calls, strict=True):
                bound = owners.get(id(op))
                calls = [call for calls in threads for call in calls]
                ms = _alone(executor.isa, calls, arrays)
                name = op.out.name.strip("\0")
                operator = bound.node.operator if bound else ""
                rows.append(_row(name, operator, op, ms, peaks))
        elif isinstance(part, ReferencePart):
            ms = 1e3 * (time.perf_counter() - start)
            bound = part.bound
            rows.append(Row(bound.output.name, bound.node.operator, "reference", part.why, ms, None, None))
    return rows


def _alone(isa: Isa, calls: list[Any], arrays: Mapping[str, NDArray[Any]]) -> float:
    """Return the milliseconds of calls on one thread, the best of a few."""
    program = Program(isa, [calls])
    empty = Program(isa, [[]])

    def once(what: Program) -> float:
        start = time.perf_counter()
        what.run(arrays)
        return time.perf_counter() - start

    once(program)
    return 1e3 * max(0.0, min(once(program) for _ in range(_REPEATS)) - min(once(empty) for _ in range(_REPEATS)))


def _row(name: str, operator: str, op: Op, ms: float, peaks: Mapping[str, float]) -> Row:
    rate = op.macs / ms / 1e6 if op.macs and ms else None
    kind = kind_of(op)
    share = 100 * rate / peaks[kind] if rate is not None and kind is not None and isfinite(rate) else None
    return Row(name, operator, op.kernel, op.note, ms, rate, share)
