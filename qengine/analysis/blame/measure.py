"""From a session and data to what each tensor costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.energy import Energy, mean_ratio, sqnr_of
from qengine.analysis.blame.points import WEIGHTS, Point
from qengine.analysis.blame.rerun import Rerun
from qengine.analysis.blame.result import Blame, TensorBlame
from qengine.analysis.blame.suggest import suggest
from qengine.analysis.report import losses, unused_bits
from qengine.errors import FeedError, OptionError, QEngineError, UnsupportedError
from qengine.kernels.reference.requantize import (
    FLUSHED,
    LARGEST,
    SATURATED,
    TOTAL,
    Tally,
    new_tally,
    quantize,
)
from qengine.model.formats.assign import groups_of
from qengine.model.ops.operator import NeedsRun, find
from qengine.model.static_values import known_tensors
from qengine.model.steps import Arithmetic, Tensor
from qengine.qformat import ChannelFormats, Overflow, fraction_bits_of
from qengine.quantization.calibration.histogram import Histogram
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
    """Tell what the format of each tensor costs, alone and together.

    Each feed is run once in fixed point and once in float32, and then in float32 once more for every tensor that is
    rounded, with this tensor alone rounded; what does not depend on it is not computed again. All figures are sums over
    all feeds. The memory that is used is that of the tensors of one run, however many feeds there are.

    Parameters
    ----------
    session
        In fixed point.
    feeds
        What `InferenceSession.run` takes, any number of times: any iterable, read once and lazily.
    outputs
        The tensors at which noise is measured, those inside of the model included; None for the model's outputs.
    advance
        Called with parts of a feed as they are done, which sum to 1 for each.

    Raises
    ------
    OptionError
        If the session is not in fixed point, or the model has no tensor of a name.
    FeedError
        If there are no feeds, or one does not fit the model.
    UnsupportedError
        If the data decides how a run goes on, or no output holds real numbers.

    Examples
    --------
    >>> import qengine
    >>> from qengine import zoo
    >>> from qengine.analysis.blame import blame
    >>> digits = zoo.find("digits")
    >>> feeds = {"image": digits.sample().feeds["image"][:100]}
    >>> formats = qengine.calibrate(digits.path, [feeds])
    >>> formats = {**formats, "block2.norm1": "Q6.1", "block2.relu1": "Q6.1"}  # which share one
    >>> broken = qengine.InferenceSession(digits.path, formats=formats)
    >>> worst = blame(broken, [feeds]).tensors[0]
    >>> worst.name, worst.suggestion.text, str(worst.suggestion.format)
    ('block2.relu1', '3 fewer integer bits', 'Q3.4')
    """
    if not session.in_fixed_point:
        raise OptionError("nothing is rounded in float32: give a qformat or formats")
    if isinstance(feeds, Mapping):
        raise FeedError("feeds are an iterable of mappings, one for each run: give [feeds] for one")
    measure = _Measure(session, tuple(outputs or (value.name for value in session.graph.outputs)), advance)
    for run, feed in enumerate(feeds, 1):
        try:
            measure.add(feed)
        except QEngineError as error:
            raise error.about(f"run {run} of the data") from None
    return measure.result()


@dataclass
class _Sums:
    """What is summed of one tensor."""

    point: Point
    cumulative: Energy = field(default_factory=Energy)
    own: Energy = field(default_factory=Energy)
    at_outputs: dict[str, Energy] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=Histogram)
    rows: NDArray[np.float64] | None = None


class _Measure:
    """Sums over feeds that grow."""

    def __init__(
        self, session: InferenceSession, names: tuple[str, ...], advance: Callable[[float], None] | None
    ) -> None:
        self._fixed, self._float32 = session, session.in_float32()
        self._groups = groups_of(session.graph, known_tensors(session.graph))
        self._names, self._advance = names, advance or (lambda _: None)
        self._reruns: tuple[Plan | None, Rerun | None] = (None, None)
        self._sums: dict[str, _Sums] = {}
        self._tallies: dict[str, Tally] = {}
        self._together = {kind: dict[str, Energy]() for kind in ("run", "weights", "activations")}
        self._bounds: dict[str, BoundStep] = {}
        self._islands: dict[str, None] = {}
        self._constants: dict[str, Tensor] = {}
        self._arithmetic = Arithmetic()
        self._runs = 0

    def add(self, feed: Mapping[str, Any]) -> None:
        """Count one feed."""
        arrays = self._fixed.check_feeds(feed)
        plan, rerun = self._plans(arrays)
        with self._fixed.limited(), np.errstate(all="ignore"):
            rerun.run(arrays)
            part = 1.0 / (3 + sum(point.rounds for point in rerun.points.values()))
            self._in_fixed_point(plan, rerun, arrays)
            self._advance(part)
            for point in rerun.points.values():
                self._of(point, rerun)
                self._advance(part * point.rounds)
            for kind in ("weights", "activations"):
                found = rerun.together(weights=kind == "weights", activations=kind == "activations")
                self._at_outputs(self._together[kind], rerun, found)
                self._advance(part)
        self._runs += 1

    def _plans(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Plan, Rerun]:
        try:
            plan = self._fixed.plan(arrays, self._names)
            float32 = self._float32.plan(arrays, self._names)
        except NeedsRun as reason:
            raise UnsupportedError(
                f"the data decides how this model runs ({reason}), so that no tensor can be rounded alone; "
                "compare a whole run with float32 instead (qengine run)"
            ) from None
        known, rerun = self._reruns
        if known is not plan or rerun is None:
            assert plan.fixed is not None
            self._arithmetic = plan.fixed.arithmetic
            rerun = Rerun(plan, float32)
            self._reruns = plan, rerun
            for bound in plan.steps:
                self._bounds.setdefault(bound.output.name, bound)
                if bound.is_island:
                    self._islands.setdefault(str(bound.node))
            for tensor in plan.constants:
                self._constants.setdefault(tensor.name, tensor)
        return plan, rerun

    def _in_fixed_point(self, plan: Plan, rerun: Rerun, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Run in fixed point, and compare every tensor with float32."""
        for tensor, codes in plan.trace(arrays, self._tallies):
            real = decode_output(tensor, codes, raw=False)
            exact = rerun.exact[tensor.name]
            if tensor.format is not None:
                self._known(rerun.points[tensor.name]).cumulative.add(exact, real)
            if tensor.name in rerun.outputs:
                self._together["run"].setdefault(tensor.name, Energy()).add(exact, real)

    def _of(self, point: Point, rerun: Rerun) -> None:
        """Measure one tensor alone."""
        sums = self._known(point)
        if point.kind != WEIGHTS:
            sums.histogram.add(rerun.exact[point.name])
        if not point.rounds:
            return
        rounded = None
        if point.kind != WEIGHTS:
            rounded = rerun.rounded(point)
            sums.own.add(rerun.exact[point.name], rounded)
        self._at_outputs(sums.at_outputs, rerun, rerun.alone(point, array=rounded))

    def _at_outputs(self, energies: dict[str, Energy], rerun: Rerun, found: Mapping[str, NDArray[Any]]) -> None:
        for name, array in found.items():
            energies.setdefault(name, Energy()).add(rerun.exact[name], array)

    def _known(self, point: Point) -> _Sums:
        """Return the sums of a tensor; a constant is counted once, when it is first seen."""
        if point.name in self._sums:
            return self._sums[point.name]
        sums = self._sums[point.name] = _Sums(point)
        if point.kind == WEIGHTS:
            tally = self._tallies.setdefault(point.name, new_tally())
            seen: list[NDArray[Any]] = []
            for i, _, tensor in point.places:
                assert tensor.value is not None
                if any(tensor.value is one for one in seen):
                    continue
                seen.append(tensor.value)
                n = fraction_bits_of(point.format, tensor.ndim)
                codes = quantize(tensor.value, n, point.format.word(), tally=tally)
                sums.own.add(tensor.value, np.ldexp(codes.astype(np.float64), -n))
                sums.histogram.add(tensor.value)
                sums.rows = self._rows(i, tensor.value, point) if len(seen) == 1 else None
            sums.cumulative = sums.own
        return sums

    def _rows(self, i: int, value: NDArray[Any], point: Point) -> NDArray[np.float64] | None:
        """Return weights as (channels, any number); None where no axis counts channels."""
        if isinstance(point.format, ChannelFormats):
            return None
        plan, _ = self._reruns
        assert plan is not None
        node = plan.steps[i].node
        axis = find(node).channel_axis(node, value.ndim) if value.size else None
        if axis is None:
            return None
        finite = np.where(np.isfinite(value), value, 0).astype(np.float64)
        return np.moveaxis(finite, axis, 0).reshape(value.shape[axis], -1)

    def result(self) -> Blame:
        """Return what was found of all feeds."""
        if not self._runs:
            raise FeedError("there is no data to run the model on: the feeds are empty")
        harm = {
            name: mean_ratio(list(one.at_outputs.values())) if one.at_outputs else 0.0
            for name, one in self._sums.items()
        }
        total = sum(harm.values())
        tensors = [
            self._told(sums, harm[name], harm[name] / total if total else 0.0) for name, sums in self._sums.items()
        ]
        together = {kind: sqnr_of(mean_ratio(list(found.values()))) for kind, found in self._together.items()}
        return Blame(
            tensors=tuple(sorted(tensors, key=lambda one: -one.harm)),
            outputs=tuple(self._together["run"]),
            sqnr_db=together["run"],
            weights_db=together["weights"],
            activations_db=together["activations"],
            runs=self._runs,
            notes=tuple(self._notes()),
            histograms={name: one.histogram for name, one in self._sums.items()},
        )

    def _told(self, sums: _Sums, harm: float, share: float) -> TensorBlame:
        point, tally = sums.point, self._tallies.get(sums.point.name, new_tally())
        return TensorBlame(
            name=point.name,
            kind=point.kind,
            operator=point.operator,
            format=point.format,
            shares=self._shares(point.name),
            elements=int(tally[TOTAL]),
            sqnr_db=sums.cumulative.sqnr_db,
            own_db=sums.own.sqnr_db if point.rounds else None,
            output_db=sqnr_of(harm) if point.rounds else None,
            noise={name: energy.noise for name, energy in sums.at_outputs.items()},
            harm=harm,
            share=share,
            saturated=int(tally[SATURATED]),
            flushed=int(tally[FLUSHED]),
            unused_bits=unused_bits(point.format, int(tally[LARGEST])),
            suggestion=suggest(sums.histogram, point.format, share, sums.rows) if point.rounds else None,
        )

    def _shares(self, name: str) -> tuple[str, ...]:
        return tuple(sorted(self._groups[name].members - {name})) if name in self._groups else ()

    def _notes(self) -> Iterable[str]:
        yield from self._fixed.notes
        yield from losses(self._constants.values(), self._bounds.values(), self._tallies)
        for node in self._islands:
            yield f"in float32, as there is no rule for it in fixed point: {node}"
        fused = any(bound.node.activation is not None for bound in self._bounds.values())
        if fused and self._arithmetic.overflow is Overflow.WRAP:
            yield "what an activation cuts cannot wrap in a tensor alone; in the run it wraps before it is cut"
