"""Noise that the format of each tensor causes, measured on data.

A run in fixed point differs from float32 by the rounding of every input, constant and activation. Its SQNR at the
output does not show which of them is at fault. So each tensor is also rounded alone, in a run that is otherwise
float32: the noise at the outputs is then the *sensitivity* of the model to this tensor's format. Noises seldom just add
up: what follows a tensor may be in saturation already, or amplify what several tensors do together. So each tensor is
also left out: all are rounded but this one. What the output gains by that is what mending the tensor is worth. The same
is done with groups of tensors as one. All signals and noises are summed as energies over the feeds; ratios and dB are
computed from the sums at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.analysis.blame.groups import groups_of
from qengine.analysis.blame.points import CONSTANT, Point
from qengine.analysis.blame.rerun import Rerun
from qengine.analysis.blame.result import Blame
from qengine.analysis.blame.sectioned import SectionedRerun
from qengine.analysis.blame.sums import GroupSums, TensorSums, output_decibels
from qengine.analysis.blame.verdict import verdict
from qengine.analysis.islands import island_notes
from qengine.analysis.losses import losses
from qengine.analysis.paired_run import paired_events
from qengine.data.datasets import DataKeywords, data_keywords, runs_of
from qengine.errors import FeedError, FormatError, OptionError, QEngineError
from qengine.kernels.reference.requantize import Tally, add_tally, new_tally
from qengine.keywords import check_keywords
from qengine.metrics.decibels import Energy, OutputNoise, ratio_in_decibels
from qengine.model.constant_roles import constant_roles
from qengine.model.formats.groups import format_groups
from qengine.model.static_values import known_tensors
from qengine.model.steps import Tensor
from qengine.qformat import Overflow
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output
from qengine.runtime.session import InferenceSession

Arrays = Mapping[str, NDArray[Any]]
Groups = str | Iterable[str] | Mapping[str, Collection[str]] | None

_ALL, _ALL_BUT = "all tensors", "all but "
_MAX_FAILURES = 3


def blame(
    session: InferenceSession,
    data: Any,
    *,
    outputs: Sequence[str] | None = None,
    groups: Groups = None,
    advance: Callable[[float], None] | None = None,
    **keywords: Unpack[DataKeywords],
) -> Blame:
    """Measure the noise that the format of each tensor causes: alone, among all others, and together.

    Each feed is run once in fixed point, and in float32 with nothing rounded and with everything rounded. Then it is
    run in float32 twice per tensor: with this tensor alone rounded, and with all tensors but this one. Steps that do
    not depend on the tensor are not computed again. The memory in use is that of the tensors of three runs, for any
    number of feeds.

    Parameters
    ----------
    session
        Session in fixed point.
    data
        Data that `open_dataset` takes. An iterable of mappings that `InferenceSession.run` takes is fed unchanged, one
        mapping a run, and is read once and lazily.
    outputs
        Tensors at which noise is measured, which may lie inside the model; None for the model's outputs.
    groups
        Groups of tensors that are measured as one too: "auto" for the blocks and chains of the graph; a regular
        expression, or several, that is searched in the names of tensors ("name=expression" names the group, and an
        expression with parentheses makes a group for each text that they match); or names of tensors by group.
    advance
        Function that is called with the fraction of a feed that is done since the last call; fractions sum to 1 per
        feed.
    keywords
        Options of the data: `preprocessing`, `batch`, `limit` and `labels`, see `open_dataset`.

    Returns
    -------
    Blame
        The tensors, the most sensitive first, with better formats where there are some.

    Raises
    ------
    OptionError
        If the session is not in fixed point, or the model has no tensor of a name, or none in a group.
    FeedError
        If there are no feeds, or one does not fit the model.
    UnsupportedError
        If no output holds real numbers.

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
    check_keywords("blame", keywords, DataKeywords)
    if not session.in_fixed_point:
        raise OptionError("nothing is rounded in float32: give the session a qformat or formats")
    names = tuple(dict.fromkeys(outputs or (value.name for value in session.graph.outputs)))
    measure = _Measure(session, names, _checked_groups(groups), advance)
    for run, feed in enumerate(runs_of(data, session, data_keywords(keywords)), 1):
        try:
            measure.add(feed)
        except OptionError:
            raise
        except QEngineError as error:
            raise error.about(f"run {run} of the data") from None
    return measure.result()


def _checked_groups(groups: Groups) -> Groups:
    """Return groups that can be read again."""
    if groups is None or isinstance(groups, str | Mapping):
        return groups
    wanted = list(groups) if isinstance(groups, Iterable) else [groups]
    if other := [one for one in wanted if not isinstance(one, str)]:
        raise OptionError(f"groups are 'auto', regular expressions, or names of tensors by group, not {other[0]!r}")
    return wanted


class _Measure:
    """Sums over the feeds, from the first to the last."""

    def __init__(
        self,
        session: InferenceSession,
        names: tuple[str, ...],
        groups: Groups,
        advance: Callable[[float], None] | None,
    ) -> None:
        self._fixed, self._float32 = session, session.in_float32()
        self._format_groups = format_groups(session.graph, known_tensors(session.graph))
        self._names, self._advance = names, advance or (lambda _: None)
        self._wanted = groups
        self._whole: tuple[Plan, Rerun] | None = None
        self._sectioned: SectionedRerun | None = None
        self._sums: dict[str, TensorSums] = {}
        self._groups: dict[str, GroupSums] = {}
        self._tallies: dict[str, Tally] = {}
        kinds = ("run", "rounded", "constants", "activations")
        self._together = {kind: dict[str, Energy]() for kind in kinds}
        self._bound_steps: dict[str, BoundStep] = {}
        self._islands: dict[str, None] = {}
        self._unmatched: dict[str, None] = {}
        self._constants: dict[str, Tensor] = {}
        self._failures: dict[str, str] = {}  # errors by what was rounded
        self._runs = 0

    def add(self, feed: Mapping[str, Any]) -> None:
        """Run one feed, and add its signals and noises."""
        arrays, options = self._fixed.check_feeds(feed), self._fixed.options
        limit = memory.limited(options.memory_limit(), max_elements=options.max_elements)
        with limit, self._fixed.limited(), np.errstate(all="ignore"):
            rerun = self._rerun(arrays)
            rerun.run(arrays)
            points = [point for point in rerun.points.values() if point.rounds]
            groups = self._groups_of(points)
            noise = OutputNoise({name: rerun.exact[name] for name in rerun.outputs})
            part = 1.0 / (4 + 2 * (len(points) + len(groups)))
            for point in rerun.points.values():
                self._sums_of(point, rerun)
            self._in_fixed_point(rerun, arrays, noise)
            self._advance(part)
            self._add(_ALL, self._together["rounded"], noise, rerun.together)
            for kind in ("constants", "activations"):
                rounded = {"constants": kind == "constants", "activations": kind == "activations"}
                self._add(f"all {kind}", self._together[kind], noise, partial(rerun.with_kinds, **rounded))
            self._advance(3 * part)
            for point in rerun.points.values():
                self._measure(point, rerun, noise)
                self._advance(2 * part * point.rounds)
            for name, group in groups.items():
                label = f"group '{name}'"
                self._add(f"{label} alone", group.at_outputs, noise, partial(rerun.alone, group.tensors))
                self._add(f"{_ALL_BUT}{label}", group.all_but, noise, partial(rerun.all_but, group.tensors))
                self._advance(2 * part)
        self._runs += 1

    def _add(self, what: str, energies: dict[str, Energy], noise: OutputNoise, run: Callable[[], Arrays]) -> None:
        """Add the noise of a run with tensors rounded; where that makes a NaN, there is no figure, but a note."""
        if what in self._failures or (what.startswith(_ALL_BUT) and _ALL in self._failures):
            energies.clear()
            return
        try:
            outputs = run()
        except FormatError as error:
            self._failures[what] = str(error)
            energies.clear()
            return
        noise.add(energies, outputs)

    def _rerun(self, arrays: Mapping[str, NDArray[Any]]) -> Rerun | SectionedRerun:
        """Return the runs with tensors rounded for feeds of such shapes."""
        plan = self._fixed.plans.whole_plan(arrays, self._names)
        float32 = self._float32.plans.whole_plan(arrays, self._names)
        if plan is None or float32 is None:
            if self._sectioned is None:
                self._sectioned = SectionedRerun(self._fixed, self._float32, self._names)
            return self._sectioned
        if self._whole is None or self._whole[0] is not plan:
            rerun = Rerun(plan, float32, self._float32)
            self._whole = plan, rerun
            self._unmatched |= dict.fromkeys(rerun.unmatched)
            for bound_step in plan.steps:
                self._add_step(bound_step)
            for tensor in plan.constants:
                self._constants.setdefault(tensor.name, tensor)
        return self._whole[1]

    def _add_step(self, bound_step: BoundStep) -> None:
        self._bound_steps.setdefault(bound_step.output.name, bound_step)
        if bound_step.is_island:
            self._islands.setdefault(str(bound_step.node))

    def _groups_of(self, points: Sequence[Point]) -> dict[str, GroupSums]:
        """Return the groups, found in the first run that has all of their tensors."""
        if self._wanted is not None and not self._groups:
            found = groups_of(self._wanted, self._float32.optimized, points)
            self._groups = {name: GroupSums(tensors) for name, tensors in found.items()}
        return self._groups

    def _in_fixed_point(
        self, rerun: Rerun | SectionedRerun, arrays: Mapping[str, NDArray[Any]], noise: OutputNoise
    ) -> None:
        """Run in fixed point, and add the noise of every tensor against float32."""
        counted = self._fixed.plans.run_counted(self._float32.plans, arrays, self._names)
        if counted is not None:
            _, run = counted
            for name, figures in run.tensors.items():
                add_tally(self._tallies.setdefault(name, new_tally()), figures.tally)
                if name in self._sums and figures.signal is not None and figures.noise is not None:
                    self._sums[name].in_run().add_sums(figures.signal, figures.noise)
            for name in rerun.outputs:
                self._together["run"].setdefault(name, Energy()).add(run.exact[name], run.real[name])
            return

        def computed(name: str) -> NDArray[Any]:
            return self._float32.run([name], arrays)[0]

        fixed = self._fixed.trace(arrays, self._names, self._tallies)
        for event, exact in paired_events(fixed, self._float32.trace(arrays, self._names), computed):
            tensor = event.tensor
            real = decode_output(tensor, event.array, raw=False)
            if tensor.name in self._sums:
                if exact.shape == real.shape:
                    self._sums[tensor.name].in_run().add(exact, real)
            elif tensor.format is not None:
                self._unmatched.setdefault(tensor.name)
            if tensor.name in rerun.outputs:
                noise.add(self._together["run"], {tensor.name: real})
            if event.bound_step is not None:
                self._add_step(event.bound_step)
            elif event.is_island:
                self._islands.setdefault(str(event.node))

    def _measure(self, point: Point, rerun: Rerun | SectionedRerun, noise: OutputNoise) -> None:
        """Round one tensor alone, and all but this one, and measure the noise at the tensor and at the outputs."""
        sums = self._sums[point.name]
        given: dict[str, NDArray[Any]] = {}
        if point.kind != CONSTANT and point.name in rerun.exact:
            sums.histogram.add(rerun.exact[point.name])
        if not point.rounds:
            return
        if (rounded := rerun.rounded(point) if point.kind != CONSTANT else None) is not None:
            given[point.name] = rounded
            sums.add_own(rerun.exact[point.name], given[point.name])
        label = f"'{point.name}'"
        self._add(f"{label} alone", sums.at_outputs, noise, partial(rerun.alone, [point.name], given=given))
        self._add(f"{_ALL_BUT}{label}", sums.all_but, noise, partial(rerun.all_but, [point.name]))

    def _sums_of(self, point: Point, rerun: Rerun | SectionedRerun) -> TensorSums:
        """Return the sums of a tensor; a constant is added when it is first seen."""
        if point.name not in self._sums:
            # What the runs so far do not have makes no noise in them.
            past = self._together["rounded"] if point.rounds else {}
            self._sums[point.name] = TensorSums(
                point,
                at_outputs={name: Energy(energy.signal) for name, energy in past.items()},
                all_but={name: replace(energy) for name, energy in past.items()},
            )
            if point.kind == CONSTANT:
                tally = self._tallies.setdefault(point.name, new_tally())
                self._sums[point.name].add_constant(rerun.plans, tally)
        return self._sums[point.name]

    def result(self) -> Blame:
        """Return the figures of all runs."""
        if not self._runs:
            raise FeedError("there is no data to run the model on: the feeds are empty")
        total = sum(sums.sensitivity for sums in self._sums.values())
        together = {kind: output_decibels(energies) for kind, energies in self._together.items()}
        rounded = together["rounded"]
        tensors = [
            sums.result(
                self._tallies.get(name, new_tally()),
                sums.sensitivity / total if total else 0.0,
                self._shares(name),
                rounded,
            )
            for name, sums in self._sums.items()
        ]
        roles = constant_roles(self._fixed.graph)
        tensors = [replace(one, role=roles.get(one.name)) for one in tensors]
        groups = [sums.result(name, rounded) for name, sums in self._groups.items()]
        found = Blame(
            tensors=tuple(sorted(tensors, key=lambda one: -one.sensitivity)),
            groups=tuple(sorted(groups, key=lambda one: -np.inf if one.gain_db is None else one.gain_db, reverse=True)),
            outputs=tuple(self._together["run"]),
            sqnr_db=together["run"],
            rounded_db=rounded,
            sum_db=ratio_in_decibels(total),
            constants_db=together["constants"],
            activations_db=together["activations"],
            runs=self._runs,
            verdict=(),
            notes=tuple(self._notes()),
            histograms={name: sums.histogram for name, sums in self._sums.items()},
        )
        return replace(found, verdict=tuple(verdict(found)))

    def _shares(self, name: str) -> tuple[str, ...]:
        groups = self._format_groups
        return tuple(sorted(groups[name].members - {name})) if name in groups else ()

    def _notes(self) -> Iterator[str]:
        yield from self._fixed.notes
        yield from losses(self._constants.values(), self._bound_steps.values(), self._tallies)
        yield from island_notes(tuple(self._islands))
        for what, error in list(self._failures.items())[:_MAX_FAILURES]:
            yield f"no figure with {what} rounded: {error}"
        if unmatched := [name for name in self._unmatched if name not in self._sums]:
            listed = ", ".join(f"'{name}'" for name in unmatched)
            yield f"rounded in the run, and not blamed alone, as no step in float32 computes the same: {listed}"
        steps = self._bound_steps.values()
        changes = any(step.arithmetic.overflow in (Overflow.WRAP, Overflow.ZERO) for step in steps if step.arithmetic)
        if changes and any(step.node.activation is not None for step in steps):
            yield "a clipped value always fits in a tensor alone; in the run it wraps or becomes 0 before it is clipped"
