"""PlanCache: the plans and native executors of a session, made on first use.

A session is made without shapes. The first run with feeds of some shapes makes a plan for them, and its native kernels;
later runs with the same shapes use both again. The key of a plan has the names of the tensors to compute, the shapes
of the feeds, the elements of feeds that decide shapes, and the initializers that the feeds override.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import OptionError
from qengine.kernels.isa import Isa
from qengine.lru_cache import LruCache, digest
from qengine.model.ops.operator import NeedsRun
from qengine.model.steps import Tensor
from qengine.runtime.environment import decides
from qengine.runtime.native import Executor, make_executor
from qengine.runtime.native.observing import Observer
from qengine.runtime.options import SessionOptions
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import Arrays, FixedPointSettings, Plan, decode_output
from qengine.runtime.plan.planner import make_plan
from qengine.runtime.sections import InnerTensorCallback, RunPlan, SectionedPlan, SectionSettings
from qengine.threads import available_threads

_CACHED_PLANS = 16


class PlanCache:
    """Thread-safe cache of what a session prepares for its runs.

    Attributes
    ----------
    network : the model, its passes and its formats.
    options : options of the session.
    isa : instruction set of the native kernels; None for the reference.
    """

    def __init__(self, network: Network, options: SessionOptions, isa: Isa | None) -> None:
        self.network, self.options, self.isa = network, options, isa
        self._plans: LruCache[Plan] = LruCache(_CACHED_PLANS)
        self._executors: LruCache[Executor] = LruCache(_CACHED_PLANS)
        self._observers: LruCache[Observer] = LruCache(_CACHED_PLANS)
        self._overridden: LruCache[Network] = LruCache(_CACHED_PLANS)
        self._sectioned: LruCache[SectionedPlan] = LruCache(_CACHED_PLANS)
        self._unplannable: set[tuple[str, ...]] = set()  # outputs that no single plan can compute

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
            fixed = FixedPointSettings(network.table, options.arithmetic(), options.strict) if network.table else None
            with memory.limited(options.memory_limit(), max_elements=options.max_elements, keep=True):
                plan = make_plan(network.graph_with_outputs(outputs), inputs, fixed, options.max_elements)
            return replace(plan, outputs={**plan.outputs, **network.encoded_constants(outputs)})

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
        self, arrays: Mapping[str, Any], names: Sequence[str] | None, on_inner_tensor: InnerTensorCallback | None = None
    ) -> SectionedPlan:
        """Return the plan of a run that is planned section by section.

        Parameters
        ----------
        arrays
            Checked feeds.
        names
            Tensors to compute; None for the outputs of the model.
        on_inner_tensor
            See `SectionSettings`.
        """
        outputs = self.names(names)
        network, overrides = self._overriding(arrays)
        settings = self._section_settings(partial(self.run, raw=True), on_inner_tensor)
        key = (outputs, overrides, on_inner_tensor)
        return self._sectioned.get(key, lambda: SectionedPlan(network, outputs, settings))

    def recording_plan(self, arrays: Mapping[str, Any], plans: dict[int, Plan]) -> SectionedPlan:
        """Return the plan of a run that is planned section by section, which adds every plan that it runs to `plans`.

        Parameters
        ----------
        arrays
            Checked feeds.
        plans
            Plans by their ids.
        """

        def run(plan: Plan, inputs: Arrays) -> Arrays:
            plans[id(plan)] = plan
            return self.run(plan, inputs, raw=True)

        return SectionedPlan(self._overriding(arrays)[0], self.names(None), self._section_settings(run, None))

    def _section_settings(self, run: RunPlan, on_inner_tensor: InnerTensorCallback | None) -> SectionSettings:
        options = self.options
        return SectionSettings(
            options.arithmetic(), options.strict, options.max_elements, options.max_iterations, run, on_inner_tensor
        )

    def run(self, plan: Plan, arrays: Arrays, *, raw: bool) -> Arrays:
        """Run a plan on its native kernels, or on the reference where there are none; see `Plan.run`."""
        if self.isa is None or not plan.steps:
            return plan.run(arrays, raw=raw)
        memory.require(plan.bytes, plan.heaviest)
        known = {name: t for name, t in plan.outputs.items() if t.value is not None}
        outputs = {name: np.array(decode_output(t, t.elements, raw), order="C") for name, t in known.items()}
        return outputs | self.executor(plan, raw=raw).run(arrays)

    def executor(self, plan: Plan, *, raw: bool) -> Executor:
        """Return a plan on native kernels; see `InferenceSession.executor`."""
        isa = self.isa
        if isa is None:
            raise OptionError("the session runs on the reference, which has no native kernels")
        threads = self.options.threads or available_threads()
        return self._executors.get((id(plan), raw), lambda: make_executor(plan, isa, threads, raw=raw))

    def observer(self, plan: Plan, as_arrays: frozenset[str]) -> Observer:
        """Return a plan in float32 on native kernels that count; see `InferenceSession.observer`."""
        assert self.isa is not None
        isa, threads = self.isa, self.options.threads or available_threads()
        memory.require(plan.bytes, plan.heaviest)
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
