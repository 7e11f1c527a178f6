"""PlanCache: the plans and native executors of a session, made on first use.

A session is made without shapes. The first run with feeds of some shapes makes a plan for them, and its native kernels;
later runs with the same shapes use both again. The key of a plan has the names of the tensors to compute, the shapes
of the feeds, the elements of feeds that decide shapes, and the initializers that the feeds override.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import OptionError
from qengine.kernels.isa import Isa
from qengine.lru_cache import LruCache, digest
from qengine.model.formats.assign import FormatRequest
from qengine.model.ops.operator import NeedsRun
from qengine.model.steps import Tensor
from qengine.runtime.environment import decides
from qengine.runtime.native import (
    CountedExecutor,
    CountedRun,
    Executor,
    make_counted_executor,
    make_executor,
    make_executors,
)
from qengine.runtime.native.memory import SpareMemory
from qengine.runtime.native.observing import Observer
from qengine.runtime.options import SessionOptions
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import Arrays, FixedPointSettings, Plan, decode_output
from qengine.runtime.plan.planner import make_plan
from qengine.runtime.sections import ChangeOutput, InnerTensorCallback, RunPlan, SectionedPlan, SectionSettings
from qengine.threads import BLAS, available_threads

_CACHED_PLANS = 16

Runner = Callable[[Arrays], Arrays]
"""Function that runs a plan on feeds, and returns its outputs as real numbers."""


class RunKey(NamedTuple):
    """Everything that two runs must share for the second to need no checks.

    Attributes
    ----------
    outputs : names of the tensors to return; None for the outputs of the model.
    feeds : name, dtype and shape of every feed.
    raw : whether outputs in fixed point are codes.
    """

    outputs: tuple[str, ...] | None
    feeds: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
    raw: bool

    @classmethod
    def of(cls, names: Sequence[str] | None, feeds: Any, raw: bool) -> RunKey | None:
        """Return the key of a run whose feeds are plain arrays; None for any other, which needs every check."""
        if type(feeds) is not dict or not isinstance(names, list | None):
            return None
        listed = None if names is None else tuple(names)
        if listed is not None and (any(type(name) is not str for name in listed) or len(set(listed)) < len(listed)):
            return None
        described = []
        for name, feed in feeds.items():
            if type(feed) is not np.ndarray or not feed.dtype.isnative:
                return None
            described.append((name, feed.dtype, feed.shape))
        return cls(listed or None, tuple(described), raw)


def requested_network(network_with: Callable[[FormatRequest | None], Network], options: SessionOptions) -> Network:
    """Return the network of a model with the formats that options request."""
    is_requested, unread = options.requests_fixed_point, options.unread_in_float32()
    network = network_with(options.request() if is_requested else None)
    if unread and not is_requested:
        if network.table is None:
            raise OptionError(f"{unread[0]} has no meaning in float32: give a qformat or formats with it")
        network = network.with_request(options.request())
    return network


class PlanCache:
    """Thread-safe cache of what a session prepares for its runs.

    Attributes
    ----------
    network : the model, its passes and its formats.
    options : options of the session.
    isa : instruction set of the native kernels; None for the reference.
    spare : memory of plans that are not used any more, which sessions of one model share.
    """

    def __init__(
        self, network: Network, options: SessionOptions, isa: Isa | None, spare: SpareMemory | None = None
    ) -> None:
        self.network, self.options, self.isa = network, options, isa
        self.spare = SpareMemory() if spare is None else spare
        self._plans: LruCache[Plan] = LruCache(_CACHED_PLANS)
        # What is kept by the id of a plan keeps the plan too: another one may get the id of a plan that is gone.
        self._executors: LruCache[tuple[Plan, Executor]] = LruCache(_CACHED_PLANS)
        self._observers: LruCache[Observer] = LruCache(_CACHED_PLANS)
        self._counted: LruCache[tuple[Plan, Plan, CountedExecutor | None]] = LruCache(_CACHED_PLANS)
        self._overridden: LruCache[Network] = LruCache(_CACHED_PLANS)
        self._sectioned: LruCache[SectionedPlan] = LruCache(_CACHED_PLANS)
        self._prepared: dict[RunKey, Executor] = {}
        self._unplannable: set[tuple[str, ...]] = set()  # outputs that no single plan can compute

    def islands(self) -> tuple[str, ...]:
        """Return the nodes that compute in float32 in the plans in fixed point that were made so far."""
        if self.network.table is None:
            return ()
        steps = (step for plan in self._plans.values() for step in plan.steps if step.is_island)
        return tuple(dict.fromkeys(str(step.node) for step in steps))

    def names(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Return the names without repetition; the outputs of the model for None and for no names."""
        return tuple(dict.fromkeys(names or (value.name for value in self.network.model.outputs)))

    def plan(self, arrays: Mapping[str, Any], names: Sequence[str] | None = None) -> Plan:
        """Return the plan of a run; see `InferenceSession.plan`."""
        outputs, graph = self.names(names), self.network.model
        network, overrides = self._overriding(arrays)
        inputs = {value.name: self._input(value.name, arrays[value.name]) for value in graph.inputs}
        key = (
            outputs,
            overrides,
            tuple((tensor.shape, None if tensor.value is None else digest(tensor.value)) for tensor in inputs.values()),
        )

        def make() -> Plan:
            options = self.options
            rules = network.with_rules(options.rules_of_run(), options.modes_of_all())
            fixed = FixedPointSettings(network.table, rules, options.strict) if network.table else None
            limit = memory.limited(options.memory_limit(), max_elements=options.max_elements, keep=True)
            with limit, BLAS.limited(options.threads):
                plan = make_plan(
                    network.graph_with_outputs(outputs), inputs, fixed, options.max_elements, network.branch
                )
            if fixed is None:
                return plan
            return replace(plan, outputs={**plan.outputs, **network.encoded_constants(outputs, fixed.rules)})

        return self._plans.get(key, make)

    def whole_plan(self, arrays: Mapping[str, Any], names: Sequence[str] | None) -> Plan | None:
        """Return the plan of a run; None where the run must be planned section by section."""
        outputs = self.names(names)
        if outputs in self._unplannable:
            return None
        try:
            return self.plan(arrays, outputs)
        except NeedsRun:
            self._unplannable.add(outputs)
            return None

    def sectioned_plan(
        self,
        arrays: Mapping[str, Any],
        names: Sequence[str] | None,
        on_inner_tensor: InnerTensorCallback | None = None,
        *,
        has_all_graphs: bool = False,
    ) -> SectionedPlan:
        """Return the plan of a run that is planned section by section.

        Parameters
        ----------
        arrays
            Checked feeds.
        names
            Tensors to compute; None for the outputs of the model.
        on_inner_tensor, has_all_graphs
            See `SectionSettings`.
        """
        outputs = self.names(names)
        network, overrides = self._overriding(arrays)
        settings = self._section_settings(partial(self.run, raw=True), on_inner_tensor)
        settings = replace(settings, has_all_graphs=has_all_graphs)
        key = (outputs, overrides, on_inner_tensor, has_all_graphs)
        return self._sectioned.get(key, lambda: SectionedPlan(network, outputs, settings))

    def plan_run_by(
        self,
        run_plan: RunPlan,
        arrays: Mapping[str, Any],
        names: Sequence[str] | None,
        change_output: ChangeOutput | None = None,
    ) -> SectionedPlan:
        """Return the plan of a run that is planned section by section, and that a function of the caller's runs.

        Parameters
        ----------
        run_plan
            Function that runs the plan of each section, also of graphs inside of nodes.
        arrays
            Checked feeds; the plan is for all that override the same initializers.
        names
            Tensors to compute; None for the outputs of the model.
        change_output
            See `SectionSettings`.
        """
        settings = replace(self._section_settings(run_plan, None), executor=None, change_output=change_output)
        return SectionedPlan(self._overriding(arrays)[0], self.names(names), settings)

    def _section_settings(self, run: RunPlan, on_inner_tensor: InnerTensorCallback | None) -> SectionSettings:
        options = self.options
        executor = None if self.isa is None else partial(self.executor, raw=True)
        limits = options.max_elements, options.max_iterations
        return SectionSettings(
            self.network.with_rules(options.rules_of_run(), options.modes_of_all()),
            options.strict,
            *limits,
            run,
            self.isa,
            executor,
            on_inner_tensor,
        )

    def run(self, plan: Plan, arrays: Arrays, *, raw: bool) -> Arrays:
        """Run a plan on its native kernels, or on the reference where there are none; see `Plan.run`."""
        threads = self.options.threads
        if self.isa is None or not plan.steps:
            with BLAS.limited(threads):
                return plan.run(arrays, raw=raw)
        memory.require(plan.bytes, plan.heaviest)
        known = {name: t for name, t in plan.outputs.items() if t.value is not None}
        outputs = {name: np.array(decode_output(t, t.elements, raw), order="C") for name, t in known.items()}
        executor = self.executor(plan, raw=raw)
        # Native kernels do not call NumPy's linear algebra, and the limit takes as long as a layer.
        with BLAS.limited(None if executor.is_native else threads):
            return outputs | executor.run(arrays)

    def prepared(self, key: RunKey) -> Executor | None:
        """Return the executor that `prepare` kept under a key."""
        return self._prepared.get(key)

    def prepare(self, key: RunKey, plan: Plan) -> None:
        """Keep the executor of a plan that has just run.

        Only a plan that native kernels compute whole, and that depends on no elements of the feeds: then a run with
        the same key needs no other check.
        """
        inputs = {value.name for value in self.network.model.inputs}
        reads_all = {t.name for t in plan.inputs} == {name for name, *_ in key.feeds} == inputs
        if (
            self.isa is None
            or not plan.steps
            or not reads_all
            or any(t.value is not None for t in plan.outputs.values())
        ):
            return
        executor = self.executor(plan, raw=key.raw)
        if executor.is_native:
            if len(self._prepared) >= _CACHED_PLANS:
                self._prepared.clear()
            self._prepared[key] = executor

    def executor(self, plan: Plan, *, raw: bool) -> Executor:
        """Return a plan on native kernels; see `InferenceSession.executor`."""
        isa = self.isa
        if isa is None:
            raise OptionError("the session runs on the reference, which has no native kernels")
        threads = self.options.threads or available_threads()

        def make() -> tuple[Plan, Executor]:
            with BLAS.limited(self.options.threads):
                return plan, make_executor(plan, isa, threads, raw=raw, spare=self.spare)

        return self._executors.get((id(plan), raw), make)[1]

    def runners(self, plans: Sequence[Plan]) -> list[Runner]:
        """Return functions that run plans, one at a time, in memory that they share; nothing else keeps them.

        An analysis that runs many small plans gets them all at once, so that their kernels are compiled together.
        """
        isa, options = self.isa, self.options
        if isa is None:
            return [partial(plan.run, raw=False) for plan in plans]
        limit = memory.limited(options.memory_limit(), max_elements=options.max_elements)
        with limit, BLAS.limited(options.threads):
            executors = make_executors(plans, isa, options.threads or available_threads())
        return [executor.run for executor in executors]

    def run_counted(
        self, float32: PlanCache, arrays: Mapping[str, Any], names: Sequence[str]
    ) -> tuple[Plan, CountedRun] | None:
        """Run in fixed point and in float32 on native kernels, which count.

        None where that is not possible: on the reference, and where the run is planned section by section.

        Parameters
        ----------
        float32
            Plans of the same model in float32.
        arrays
            Checked feeds.
        names
            Tensors to compute.

        Returns
        -------
        plan, run
            The plan in fixed point, and its outputs and figures.
        """
        options = self.options
        with memory.limited(options.memory_limit(), max_elements=options.max_elements):
            plan, other = self.whole_plan(arrays, names), float32.whole_plan(arrays, names)
            executor = None if plan is None or other is None else self.counted(plan, other)
            return None if plan is None or executor is None else (plan, executor.run(arrays))

    def counted(self, plan: Plan, float32: Plan) -> CountedExecutor | None:
        """Return a plan in fixed point and the same in float32 as one program on native kernels that counts.

        None where there are no native kernels, or where the plans do not correspond.
        """
        isa = self.isa
        if isa is None:
            return None
        memory.require(plan.bytes, plan.heaviest)
        threads = self.options.threads or available_threads()

        def make() -> tuple[Plan, Plan, CountedExecutor | None]:
            return plan, float32, make_counted_executor(plan, float32, isa, threads)

        return self._counted.get((id(plan), id(float32)), make)[2]

    def compile(self, arrays: Mapping[str, Any], names: Sequence[str] | None, *, raw: bool) -> None:
        """Plan a run and compile its kernels; see `InferenceSession.prepare`."""
        with memory.limited(self.options.memory_limit(), max_elements=self.options.max_elements):
            plan = self.whole_plan(arrays, names)
            if plan is not None and plan.steps and self.isa is not None:
                self.executor(plan, raw=raw)

    def observer(self, arrays: Mapping[str, Any], as_arrays: frozenset[str]) -> Observer | None:
        """Return the run of a plan in float32 on native kernels that count.

        None where that is not possible: on the reference, and where the run is planned section by section.

        Parameters
        ----------
        arrays
            Checked feeds.
        as_arrays
            Names of tensors that the run gives as arrays.
        """
        plan, isa = self.whole_plan(arrays, None), self.isa
        if plan is None or isa is None:
            return None
        memory.require(plan.bytes, plan.heaviest)
        threads = self.options.threads or available_threads()
        return self._observers.get((id(plan), as_arrays), lambda: Observer(plan, isa, threads, as_arrays))

    def _input(self, name: str, array: Any) -> Tensor:
        """Return an input as the plan needs it: with its elements where they decide shapes."""
        if not isinstance(array, np.ndarray):
            raise NeedsRun(f"input '{name}' is not a tensor")
        if name in self.network.value_inputs and decides(array):
            return Tensor(name, array.dtype, array.shape, array.copy())
        return Tensor(name, array.dtype, array.shape)

    def _overriding(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Network, tuple[Any, ...]]:
        """Return the network with the initializers that are fed, and a key of them.

        All passes run again, as they depend on the values of initializers.
        """
        # Copies, because the caller may reuse the arrays.
        overrides = {v.name: arrays[v.name].copy() for v in self.network.model.overridable if v.name in arrays}
        key = tuple((name, digest(array)) for name, array in overrides.items())
        if not overrides:
            return self.network, key
        source = self.network.source
        model = replace(source, constants={**source.constants, **overrides})
        return self._overridden.get(key, lambda: self.network.with_model(model)), key
