"""Float32 runs of a plan with chosen tensors rounded, which compute again only what follows a change.

A model has hundreds of tensors, and for each of them most of a run would repeat another one. A `Replay` keeps every
tensor of two runs: one in which nothing is rounded, and one in which everything is. Any other run is one of
these two with some tensors *apart*, for which it is the other way round: "this tensor alone is rounded", or "all but
this one". It starts where the first of these tensors is computed, from the kept ones.

To prepare each such run as a plan of its own would take longer than the run. So the plan is cut once, in two ways. Each
*step* is a small plan, on native kernels where it can be, and so is each *block* of some steps, in which tensors stay
in the memory of the kernels. A run goes through the blocks: one with a tensor apart runs step by step, one that reads
nothing changed is left out, and the others run whole. What is prepared does not depend on the number of runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.analysis.blame.rounding import (
    Constants,
    Rounder,
    before_name,
    in_format,
    plan_of,
    read_after,
    read_before,
)
from qengine.lru_cache import LruCache
from qengine.model.graph import Node
from qengine.model.steps import Tensor
from qengine.qformat import Format
from qengine.runtime.plan.plan import BoundStep, Plan
from qengine.runtime.plan_cache import PlanCache, Runner

Arrays = Mapping[str, NDArray[Any]]

_BLOCK_STEPS = 8, 20
"""Fewest and most steps of a block: fewer blocks copy less, and short ones run fewer steps alone."""

_CACHED_STEPS = 64
"""Number of steps that are kept ready with other constants, or another rounding, than in the two kept runs."""


@dataclass(frozen=True)
class Kept:
    """Every tensor of a run in which nothing is rounded, or everything.

    Attributes
    ----------
    rounded : whether the run rounds.
    arrays : the tensors by name.
    before : the tensors that were rounded, as they were before that.
    """

    rounded: bool
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    before: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Block:
    """Steps that follow each other.

    Attributes
    ----------
    steps : indices of the steps.
    own : names of the outputs of the steps, and of the constants with formats that they read.
    reads : names of the tensors that they read from before the block.
    later : names of the tensors that are read after the block, or are outputs.
    """

    steps: range
    own: frozenset[str]
    reads: tuple[str, ...]
    later: frozenset[str]


@dataclass(frozen=True)
class _Prepared:
    """Steps and blocks that are ready to run with nothing rounded, or everything."""

    steps: Sequence[Runner]
    blocks: Sequence[Runner]


@dataclass(frozen=True)
class _Run:
    """A run that differs from a kept one.

    Attributes
    ----------
    kept, apart, given, formats : see `Replay.outputs`.
    changed : the tensors so far that differ from the kept ones.
    is_new : whether nothing is kept.
    """

    kept: Kept
    apart: frozenset[str]
    changed: dict[str, NDArray[Any]]
    given: Arrays
    formats: Mapping[str, Format]
    is_new: bool = False

    def feeds(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Return the tensors of some names as they are in this run."""
        return {n: self.changed[n] if n in self.changed else self.kept.arrays[n] for n in names}


class Replay:
    """A plan in float32 that runs again and again with other tensors rounded.

    Parameters
    ----------
    plan
        The plan.
    rounder
        Changes that round its tensors.
    plans
        Plans of the session that runs it.
    outputs
        Names of the tensors that a run returns.
    """

    def __init__(self, plan: Plan, rounder: Rounder, plans: PlanCache, outputs: Collection[str]) -> None:
        self._plan, self._rounder, self._plans, self._outputs = plan, rounder, plans, tuple(outputs)
        self._tensors = {t.name: t for t in (*plan.inputs, *(step.output for step in plan.steps))}
        self._bytes = 3 * sum(prod(t.shape) * t.dtype.itemsize for t in self._tensors.values())
        self._constants = [rounder.constants_of(step) for step in plan.steps]
        self._blocks = [self._block(steps) for steps in _cut(plan)]
        self._others: LruCache[Runner] = LruCache(_CACHED_STEPS)
        self._ready: dict[bool, _Prepared] = {}

    def run(self, feeds: Arrays, *, rounded: bool) -> Kept:
        """Run with nothing rounded, or everything, and keep every tensor."""
        memory.require(self._bytes, "every tensor of a run, exact, rounded, and before it is rounded,")
        kept = Kept(rounded)
        for tensor in self._plan.inputs:
            fed = np.asarray(feeds[tensor.name])
            kept.arrays[tensor.name] = fed
            if rounded and self._rounder.rounds(tensor):
                kept.before[tensor.name] = fed
                kept.arrays[tensor.name] = self._in_format(tensor.name, fed)
        for bound_step, run in zip(self._plan.steps, self._prepared(rounded).steps, strict=True):
            found, name = run({n: kept.arrays[n] for n in bound_step.reads}), bound_step.output.name
            kept.arrays[name] = found[name]
            if before_name(name) in found:
                kept.before[name] = found[before_name(name)]
        return kept

    def outputs(
        self,
        kept: Kept,
        apart: Collection[str],
        given: Arrays | None = None,
        formats: Mapping[str, Format] | None = None,
    ) -> Arrays:
        """Return the outputs of a run that differs from a kept one in some tensors.

        Parameters
        ----------
        kept
            The run, by `run`.
        apart
            Names of the tensors that are rounded where the kept run rounds nothing, and are not where it does.
        given
            Results of `rounded` that are there already, by name.
        formats
            Formats of tensors in the place of their own, by name.
        """
        changed: dict[str, NDArray[Any]] = {}
        run = _Run(kept, frozenset(apart), changed, given or {}, formats or {})
        for tensor in self._plan.inputs:
            if tensor.name in run.apart:
                changed |= self._turned(tensor.name, run)
        self._run_blocks(run)
        return {name: changed.get(name, kept.arrays[name]) for name in self._outputs}

    def outputs_of(self, feeds: Arrays, apart: Collection[str], *, rounded: bool) -> Arrays:
        """Return the outputs of a run of which nothing is kept, and whose feeds are rounded already where they are.

        Parameters
        ----------
        feeds
            An array for every input of the plan.
        apart, rounded
            Whether the run rounds everything or nothing, and the tensors for which it is the other way round.
        """
        changed = dict(feeds)
        self._run_blocks(_Run(Kept(rounded), frozenset(apart), changed, {}, {}, is_new=True))
        return {name: changed[name] for name in self._outputs}

    def _run_blocks(self, run: _Run) -> None:
        """Run each block with a change, and add what it computes to the changed tensors."""
        for block, runner in zip(self._blocks, self._prepared(run.kept.rounded).blocks, strict=True):
            if not run.apart.isdisjoint(block.own):
                for i in block.steps:
                    self._run_step(i, run)
            elif run.is_new or not run.changed.keys().isdisjoint(block.reads):
                run.changed.update(runner(run.feeds(block.reads)))

    def rounded(self, kept: Kept, name: str, fmt: Format | None = None) -> NDArray[Any]:
        """Return an input or an activation of a kept run that rounds nothing, rounded to a format, or to its own."""
        return self._in_format(name, kept.arrays[name], fmt)

    def _in_format(self, name: str, array: NDArray[Any], fmt: Format | None = None) -> NDArray[Any]:
        point = self._rounder.points[name]
        return in_format(name, array, fmt or point.format, point.modes)

    def _turned(self, name: str, run: _Run) -> dict[str, NDArray[Any]]:
        """Return a tensor that nothing before it changes, the other way round; nothing where that is the same."""
        if run.kept.rounded:
            other = run.kept.before[name]
        else:
            other = run.given[name] if name in run.given else self.rounded(run.kept, name, run.formats.get(name))
        return {} if np.array_equal(other, run.kept.arrays[name]) else {name: other}

    def _run_step(self, i: int, run: _Run) -> None:
        """Run one step where it differs from the kept run, and add its output to the changed tensors."""
        bound_step, constants = self._plan.steps[i], self._constants[i]
        name, turned = bound_step.output.name, run.apart.intersection(constants)
        may_round = self._rounder.rounds(bound_step.output)
        is_apart = may_round and name in run.apart
        if not run.is_new and not turned and run.changed.keys().isdisjoint(bound_step.reads):
            if is_apart:
                run.changed.update(self._turned(name, run))
            return
        rounded = run.kept.rounded
        if turned or is_apart:
            forms = {n: run.formats.get(n, fmt) for n, fmt in constants.items() if rounded != (n in turned)}
            runner = self._other_step(i, forms, rounds=may_round and rounded != is_apart)
        else:
            runner = self._prepared(rounded).steps[i]
        run.changed[name] = runner(run.feeds(bound_step.reads))[name]

    def _other_step(self, i: int, constants: Constants, *, rounds: bool) -> Runner:
        """Return a step with other constants, or another rounding, than in the kept runs."""
        key = (i, tuple(constants.items()), rounds)
        return self._others.get(key, lambda: self._plans.runners([self._plan_of_step(i, constants, rounds=rounds)])[0])

    def _step_plan(self, i: int, *, rounded: bool) -> Plan:
        """Return a step of a kept run as a plan."""
        constants = self._constants[i] if rounded else {}
        return self._plan_of_step(i, constants, rounds=rounded and self._rounder.rounds(self._plan.steps[i].output))

    def _plan_of_step(self, i: int, constants: Constants, *, rounds: bool) -> Plan:
        steps = list(self._rounded_step(self._plan.steps[i], constants, rounds=rounds))
        outputs = read_after([steps[0], steps[-1]], {step.output.name for step in steps})
        return self._plan_of(read_before(steps, self._tensors.__getitem__), steps, outputs, rounds=rounds)

    def _plan_of(
        self, inputs: Sequence[Tensor], steps: Sequence[BoundStep], outputs: Mapping[str, Tensor], *, rounds: bool
    ) -> Plan:
        """Return a plan; one that rounds needs the arithmetic."""
        return replace(plan_of(self._plan, inputs, steps, outputs), fixed=self._rounder.fixed if rounds else None)

    def _rounded_step(self, bound_step: BoundStep, constants: Constants, *, rounds: bool) -> Iterator[BoundStep]:
        """Yield a step on rounded constants, and the steps that round its output."""
        if not rounds:
            yield self._rounder.with_constants(bound_step, constants)
            return
        before, added = self._rounder.rounding(bound_step.output, bound_step.node)
        yield self._rounder.with_constants(bound_step, constants, before)
        yield from added

    def _block(self, steps: range) -> _Block:
        bound_steps = [self._plan.steps[i] for i in steps]
        own = {step.output.name for step in bound_steps}
        own.update(name for i in steps for name in self._constants[i])
        later = {name for step in self._plan.steps[steps.stop :] for name in step.reads} | set(self._outputs)
        reads = tuple(t.name for t in read_before(bound_steps, self._tensors.__getitem__))
        return _Block(steps, frozenset(own), reads, frozenset(later))

    def _block_plan(self, block: _Block, *, rounded: bool) -> Plan:
        """Return a block of a kept run as a plan."""
        steps = [one for i in block.steps for one in self._steps_of(i, rounded=rounded)]
        inputs = [self._tensors[name] for name in block.reads]
        return self._plan_of(inputs, steps, read_after(steps, block.later), rounds=rounded)

    def _prepared(self, rounded: bool) -> _Prepared:
        """Return the steps and blocks of a kept run, made on first use."""
        if rounded not in self._ready:
            count = len(self._plan.steps)
            plans = [self._step_plan(i, rounded=rounded) for i in range(count)]
            plans += [self._block_plan(block, rounded=rounded) for block in self._blocks]
            runners = self._plans.runners(plans)
            self._ready[rounded] = _Prepared(runners[:count], runners[count:])
        return self._ready[rounded]

    def _steps_of(self, i: int, *, rounded: bool) -> Iterator[BoundStep]:
        bound_step = self._plan.steps[i]
        rounds = rounded and self._rounder.rounds(bound_step.output)
        return self._rounded_step(bound_step, self._constants[i] if rounded else {}, rounds=rounds)

    def whole_plan(self, *, constants: bool, activations: bool) -> Plan:
        """Return the plan of a run in which all constants are rounded, or all inputs and activations, or both."""
        inputs = list(self._plan.inputs)
        steps: list[BoundStep] = []
        for k, tensor in enumerate(inputs):
            if activations and self._rounder.rounds(tensor):
                inputs[k], added = self._rounder.rounding(tensor, Node("Identity", (tensor.name,), (tensor.name,)))
                steps += added
        for i, bound_step in enumerate(self._plan.steps):
            rounds = activations and self._rounder.rounds(bound_step.output)
            steps += self._rounded_step(bound_step, self._constants[i] if constants else {}, rounds=rounds)
        outputs = {name: self._tensors[name] for name in self._outputs}
        return self._plan_of(inputs, steps, outputs, rounds=activations)


def _cut(plan: Plan) -> Iterator[range]:
    """Yield the steps of each block: cut where the tensors that pass are smallest."""
    last_read = {name: i for i, step in enumerate(plan.steps) for name in step.reads}
    sizes = {step.output.name: prod(step.output.shape) for step in plan.steps}
    passing, live = [], 0
    for i, step in enumerate(plan.steps):
        live += sizes[step.output.name] if last_read.get(step.output.name, -1) > i else 0
        live -= sum(sizes.get(name, 0) for name in dict.fromkeys(step.reads) if last_read[name] == i)
        passing.append(live)
    least, most = _BLOCK_STEPS
    start, count = 0, len(plan.steps)
    while count - start > most:
        end = min(range(start + least, start + most + 1), key=lambda i: (passing[i - 1], -i))
        yield range(start, end)
        start = end
    if start < count:
        yield range(start, count)
