"""Noise that the format of each tensor causes, measured on data.

A run in fixed point differs from float32 by the rounding of every input, constant and activation. Its SQNR at the
output does not show which of them is at fault. So each tensor is also rounded alone, in a run that is otherwise
float32: the noise at the outputs is then the *sensitivity* of the model to this tensor's format. All signals and
noises are summed as energies over the feeds; ratios and dB are computed from the sums at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import CONSTANT, Point
from qengine.analysis.blame.rerun import Rerun
from qengine.analysis.blame.result import Blame
from qengine.analysis.blame.sums import TensorSums
from qengine.analysis.report import losses
from qengine.errors import FeedError, OptionError, QEngineError, UnsupportedError
from qengine.kernels.reference.requantize import Tally, add_tally, new_tally
from qengine.metrics.decibels import Energy, mean_ratio, ratio_in_decibels
from qengine.model.formats.groups import format_groups
from qengine.model.ops.operator import NeedsRun
from qengine.model.static_values import known_tensors
from qengine.model.steps import Arithmetic, Tensor
from qengine.qformat import Overflow
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output
from qengine.runtime.session import InferenceSession

Feeds = Iterable[Mapping[str, Any]]


def blame(
    session: InferenceSession,
    feeds: Feeds,
    *,
    outputs: Sequence[str] | None = None,
    advance: Callable[[float], None] | None = None,
) -> Blame:
    """Measure the noise that the format of each tensor causes, alone and together.

    Each feed is run once in fixed point and once in float32. Then it is run in float32 once per tensor, with this
    tensor alone rounded; steps that do not depend on the tensor are not computed again. The memory in use is that of
    the tensors of one run, for any number of feeds.

    Parameters
    ----------
    session
        Session in fixed point.
    feeds
        Iterable of mappings, one per run, as `InferenceSession.run` takes them; it is read once and lazily.
    outputs
        Tensors at which noise is measured, which may lie inside the model; None for the model's outputs.
    advance
        Function that is called with the fraction of a feed that is done since the last call; fractions sum to 1 per
        feed.

    Raises
    ------
    OptionError
        If the session is not in fixed point, or the model has no tensor of a name.
    FeedError
        If there are no feeds, or one does not fit the model.
    UnsupportedError
        If the data decides how a run continues, or no output holds real numbers.

    Examples
    --------
    >>> import qengine
    >>> from qengine import zoo
    >>> from qengine.analysis.blame import blame
    >>> digits = zoo.find("digits")
    >>> feeds = {"image": digits.sample().feeds["image"][:100]}
    >>> formats = qengine.calibrate(digits.path, [feeds])
    >>> formats = {**formats, "block2.norm1": "Q6.1", "block2.relu1": "Q6.1"}  # they share a format
    >>> broken = qengine.InferenceSession(digits.path, formats=formats)
    >>> worst = blame(broken, [feeds]).tensors[0]
    >>> worst.name, worst.suggestion.text, str(worst.suggestion.format)
    ('block2.relu1', '3 fewer integer bits', 'Q3.4')
    """
    if not session.in_fixed_point:
        raise OptionError("nothing is rounded in float32: give the session a qformat or formats")
    if isinstance(feeds, Mapping):
        raise FeedError("feeds are an iterable of mappings, one for each run: give [feeds] for one")
    measure = _Measure(session, tuple(outputs or (value.name for value in session.graph.outputs)), advance)
    for run, feed in enumerate(feeds, 1):
        try:
            measure.add(feed)
        except QEngineError as error:
            raise error.about(f"run {run} of the data") from None
    return measure.result()


class _Measure:
    """Sums over the feeds, from the first to the last."""

    def __init__(
        self, session: InferenceSession, names: tuple[str, ...], advance: Callable[[float], None] | None
    ) -> None:
        self._fixed, self._float32 = session, session.in_float32()
        self._groups = format_groups(session.graph, known_tensors(session.graph))
        self._names, self._advance = names, advance or (lambda _: None)
        self._reruns: tuple[Plan | None, Rerun | None] = (None, None)
        self._sums: dict[str, TensorSums] = {}
        self._tallies: dict[str, Tally] = {}
        self._together = {kind: dict[str, Energy]() for kind in ("run", "constants", "activations")}
        self._bound_steps: dict[str, BoundStep] = {}
        self._islands: dict[str, None] = {}
        self._constants: dict[str, Tensor] = {}
        self._arithmetic = Arithmetic()
        self._runs = 0

    def add(self, feed: Mapping[str, Any]) -> None:
        """Run one feed, and add its signals and noises."""
        arrays = self._fixed.check_feeds(feed)
        plan, rerun = self._plans(arrays)
        with self._fixed.limited(), np.errstate(all="ignore"):
            rerun.run(arrays)
            part = 1.0 / (3 + sum(point.rounds for point in rerun.points.values()))
            self._in_fixed_point(plan, rerun, arrays)
            self._advance(part)
            for point in rerun.points.values():
                self._measure_alone(point, plan, rerun)
                self._advance(part * point.rounds)
            for kind in ("constants", "activations"):
                outputs = rerun.run_with_kinds_rounded(constants=kind == "constants", activations=kind == "activations")
                self._add_outputs(self._together[kind], rerun, outputs)
                self._advance(part)
        self._runs += 1

    def _plans(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Plan, Rerun]:
        try:
            plan = self._fixed.plan(arrays, self._names)
            float32 = self._float32.plan(arrays, self._names)
        except NeedsRun as reason:
            raise UnsupportedError(
                f"the data decides how this model runs ({reason}), and no tensor can be rounded alone: "
                "compare a whole run with float32 instead (qengine run)"
            ) from None
        known, rerun = self._reruns
        if known is not plan or rerun is None:
            assert plan.fixed is not None
            self._arithmetic = plan.fixed.arithmetic
            rerun = Rerun(plan, float32, self._float32)
            self._reruns = plan, rerun
            for bound_step in plan.steps:
                self._bound_steps.setdefault(bound_step.output.name, bound_step)
                if bound_step.is_island:
                    self._islands.setdefault(str(bound_step.node))
            for tensor in plan.constants:
                self._constants.setdefault(tensor.name, tensor)
        return plan, rerun

    def _in_fixed_point(self, plan: Plan, rerun: Rerun, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Run in fixed point, and add the noise of every tensor against float32."""
        counted = self._fixed.plans.run_counted(self._float32.plans, arrays, self._names)
        if counted is not None:
            _, run = counted
            for name, figures in run.tensors.items():
                add_tally(self._tallies.setdefault(name, new_tally()), figures.tally)
                if figures.signal is not None and figures.noise is not None:
                    self._sums_of(rerun.points[name], plan).cumulative.add_sums(figures.signal, figures.noise)
            for name in rerun.outputs:
                self._together["run"].setdefault(name, Energy()).add(run.exact[name], run.real[name])
            return
        for tensor, codes in plan.trace(arrays, self._tallies):
            real = decode_output(tensor, codes, raw=False)
            exact = rerun.exact[tensor.name]
            if tensor.format is not None:
                self._sums_of(rerun.points[tensor.name], plan).cumulative.add(exact, real)
            if tensor.name in rerun.outputs:
                self._together["run"].setdefault(tensor.name, Energy()).add(exact, real)

    def _measure_alone(self, point: Point, plan: Plan, rerun: Rerun) -> None:
        """Round one tensor alone, and measure the noise at the tensor and at the outputs."""
        sums = self._sums_of(point, plan)
        if point.kind != CONSTANT:
            sums.histogram.add(rerun.exact[point.name])
        if not point.rounds:
            return
        rounded = None
        if point.kind != CONSTANT:
            rounded = rerun.rounded(point)
            sums.own.add(rerun.exact[point.name], rounded)
        self._add_outputs(sums.at_outputs, rerun, rerun.run_with_rounded(point, array=rounded))

    def _add_outputs(self, energies: dict[str, Energy], rerun: Rerun, outputs: Mapping[str, NDArray[Any]]) -> None:
        for name, array in outputs.items():
            energies.setdefault(name, Energy()).add(rerun.exact[name], array)

    def _sums_of(self, point: Point, plan: Plan) -> TensorSums:
        """Return the sums of a tensor; a constant is added when it is first seen."""
        if point.name not in self._sums:
            self._sums[point.name] = TensorSums(point)
            if point.kind == CONSTANT:
                tally = self._tallies.setdefault(point.name, new_tally())
                self._sums[point.name].add_constant(plan, tally)
        return self._sums[point.name]

    def result(self) -> Blame:
        """Return the figures of all runs."""
        if not self._runs:
            raise FeedError("there is no data to run the model on: the feeds are empty")
        total = sum(sums.sensitivity for sums in self._sums.values())
        tensors = [
            sums.result(
                self._tallies.get(name, new_tally()), sums.sensitivity / total if total else 0.0, self._shares(name)
            )
            for name, sums in self._sums.items()
        ]
        together = {kind: ratio_in_decibels(mean_ratio(energies.values())) for kind, energies in self._together.items()}
        return Blame(
            tensors=tuple(sorted(tensors, key=lambda one: -one.sensitivity)),
            outputs=tuple(self._together["run"]),
            sqnr_db=together["run"],
            constants_db=together["constants"],
            activations_db=together["activations"],
            runs=self._runs,
            notes=tuple(self._notes()),
            histograms={name: sums.histogram for name, sums in self._sums.items()},
        )

    def _shares(self, name: str) -> tuple[str, ...]:
        return tuple(sorted(self._groups[name].members - {name})) if name in self._groups else ()

    def _notes(self) -> Iterable[str]:
        yield from self._fixed.notes
        yield from losses(self._constants.values(), self._bound_steps.values(), self._tallies)
        for node in self._islands:
            yield f"computed in float32, without a fixed-point rule: {node}"
        fused = any(bound_step.node.activation is not None for bound_step in self._bound_steps.values())
        if fused and self._arithmetic.overflow is Overflow.WRAP:
            yield "a clipped value cannot wrap in a tensor alone; in the run it wraps before it is clipped"
