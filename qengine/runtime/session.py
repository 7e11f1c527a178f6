"""InferenceSession: a model that runs on feeds, in float32 or in fixed point.

A session has three parts. `SessionOptions` says how it computes. A `Network` holds the model, the graph after the
passes and the formats; it is made once. A `PlanCache` makes a plan for the shapes of the feeds, and the native kernels
of the plan, when they are first needed. A run checks the feeds, takes the plan, and runs it on the native kernels or on
the reference. A model whose data decides how the run continues has no single plan: it runs section by section, see
`sections`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import NDArray

from qengine import memory
from qengine.errors import OptionError
from qengine.kernels.isa import Isa
from qengine.kernels.reference.requantize import Tally
from qengine.keywords import check_keywords, options_with
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.model.rules import Rules
from qengine.model.steps import Tensor
from qengine.qformat import Format
from qengine.runtime.description import Described
from qengine.runtime.environment import returned
from qengine.runtime.event import Event
from qengine.runtime.feeds import Argument, check_feeds
from qengine.runtime.native import Executor
from qengine.runtime.native.observing import Observer
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import Plan
from qengine.runtime.plan_cache import PlanCache, RunKey, requested_network
from qengine.runtime.sections import ChangeOutput, InnerTensorCallback, RunPlan
from qengine.runtime.values import RuntimeValue
from qengine.threads import BLAS

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only


class InferenceSession(Described):
    """An ONNX model that runs in float32, or in fixed point where a format is given.

    Parameters
    ----------
    model
        Path of an .onnx file, its bytes, an onnx.ModelProto, or the graph of another session.
    options
        Formats, arithmetic and limits; None for the defaults.
    keywords
        Single fields of `SessionOptions`, such as ``qformat="Q4.3"``. They replace those of `options`.

    Raises
    ------
    QEngineError
        If the model or an option is not valid.

    Examples
    --------
    >>> import numpy as np
    >>> from qengine import InferenceSession, zoo
    >>> session = InferenceSession(zoo.ENTRIES["digits"].path, qformat="Q4.3")
    >>> [(argument.name, argument.shape, argument.type) for argument in session.get_inputs()]
    [('image', ['N', 1, 28, 28], 'tensor(float)')]
    >>> (scores,) = session.run(None, {"image": np.zeros((2, 1, 28, 28), np.float32)})
    >>> scores.shape
    (2, 10)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
        options: SessionOptions | None = None,
        **keywords: Unpack[SessionKeywords],
    ) -> None:
        check_keywords("InferenceSession", keywords, SessionKeywords)
        self._options = options_with(SessionOptions, options, keywords)
        with memory.limited(self._options.memory_limit(), max_elements=self._options.max_elements):
            graph = model if isinstance(model, Graph) else load(model)
            self._network = requested_network(lambda request: Network(graph, request), self._options)
        self._plans = PlanCache(self._network, self._options, self._options.instruction_set())

    def get_inputs(self) -> list[Argument]:
        """Return the inputs that every run needs."""
        return [Argument.of(value) for value in self.graph.inputs]

    def get_outputs(self) -> list[Argument]:
        """Return the outputs of the model, which a run computes by default."""
        return [Argument.of(value) for value in self.graph.outputs]

    def get_overridable_initializers(self) -> list[Argument]:
        """Return the initializers that the feeds of a run may override."""
        return [Argument.of(value) for value in self.graph.overridable]

    @property
    def graph(self) -> Graph:
        """The model as it was loaded; a quantized one without its QuantizeLinear and DequantizeLinear nodes."""
        return self._network.model

    @property
    def optimized(self) -> Graph:
        """The graph after the passes, which a run computes."""
        return self._network.optimized

    @cached_property
    def formats(self) -> dict[str, Format]:
        """The format of every tensor in fixed point, by the model's own tensor names; empty in float32."""
        return self._network.table.by_model_name() if self._network.table else {}

    @property
    def options(self) -> SessionOptions:
        """The options of the session."""
        return self._options

    @property
    def rules(self) -> Rules:
        """The rules of runs in fixed point: those of the options, and of the model."""
        return self._network.with_rules(self._options.rules_of_run(), self._options.modes_of_all())

    @property
    def network(self) -> Network:
        """The model, the graph after the passes, and the formats of both."""
        return self._network

    @property
    def rounded(self) -> frozenset[str]:
        """The names of the tensors that a run rounds to their formats; empty in float32.

        The other tensors with a format were fused into the operator that reads them.
        """
        table = self._network.table
        return frozenset() if table is None else frozenset(table.activations.keys() & self._network.optimized.tensors())

    @property
    def in_fixed_point(self) -> bool:
        """Whether runs are in fixed point: the options give formats, or a quantized model has its own."""
        return self._network.table is not None

    def with_options(self, options: SessionOptions) -> InferenceSession:
        """Return a session of the same model with other options, which shares all that does not depend on them."""
        with memory.limited(options.memory_limit(), max_elements=options.max_elements):
            network = requested_network(self._network.with_request, options)
            return self._other(network, options, options.instruction_set())

    def in_float32(self) -> InferenceSession:
        """Return a session of the same model in float32, after the same passes, to compare fixed point with.

        For a quantized model it uses the dequantized weights, and does not round between operators.
        """
        return self if not self.in_fixed_point else self.fusing(self._network.source.fuses)

    def fusing(self, fuses: bool) -> InferenceSession:
        """Return a session of the same model in float32 that computes functions in several operators as one, or not."""
        return self._other(self._network.fusing(fuses), self._options.in_float32(), self._plans.isa)

    def giving_hidden(self) -> InferenceSession:
        """Return a session of the same model whose runs compute the tensors inside of nodes too, to look at them."""
        return self._giving_hidden or self

    @cached_property
    def _giving_hidden(self) -> InferenceSession | None:
        network = self._network.giving_hidden()
        return None if network is self._network else self._other(network, self._options, self._plans.isa)

    def giving_sums(self) -> InferenceSession:
        """Return a session of the same model whose runs compute what fused activations bound too, to look at it."""
        return self._other(self._network.giving_sums(), self._options, self._plans.isa)

    def _other(self, network: Network, options: SessionOptions, isa: Isa | None) -> InferenceSession:
        other = copy.copy(self)
        for cached in ("formats", "_giving_hidden"):
            other.__dict__.pop(cached, None)
        other._network, other._options = network, options
        other._plans = PlanCache(network, options, isa, self._plans.spare)
        return other

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: how a quantized model was read, which requests have no effect, and on the target."""
        if not self.in_fixed_point:
            return self._network.notes
        on_rules = self._network.notes_on_rules(self._options.rules_of_run())
        return self._network.notes + self._options.notes_on_target() + on_rules

    def run(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, raw: bool = False
    ) -> list[NDArray[Any]]:
        """Run the model.

        Parameters
        ----------
        output_names
            Tensors to return, intermediate ones included; None for the model's outputs.
        feeds
            An array for every input, of the shape and dtype that `get_inputs` returns; a list for a sequence, and a
            dict for a map.
        raw
            Whether to return integer codes for the tensors in fixed point, instead of the real numbers that the codes
            represent. Weights are those of the run, with every BatchNormalization that was folded into them.

        Returns
        -------
        list of ndarray
            The tensors in the order of the names. The arrays are new: they share no memory with feeds or session.
            A sequence is a list, a map a dict, and an empty optional None.

        Raises
        ------
        FeedError
            If a feed is missing, unknown, or of the wrong dtype, rank or shape, or holds NaN in fixed point.
        QEngineError
            If the shapes do not fit each other, or a tensor would be too large.
        """
        key = RunKey.of(output_names, feeds, raw)
        if key is not None and (executor := self._plans.prepared(key)) is not None:
            outputs = executor.run(feeds)
            return [outputs[name] for name in key.outputs or [value.name for value in self.graph.outputs]]
        if isinstance(output_names, str):
            raise OptionError(f"output_names is a list of names: give ['{output_names}']")
        if not isinstance(output_names, Sequence | None) or any(not isinstance(n, str) for n in output_names or ()):
            raise OptionError(f"output_names is a list of names, or None, not {output_names!r}")
        names = list(output_names or (value.name for value in self.graph.outputs))
        arrays = self.check_feeds(feeds)
        with memory.limited(self._options.memory_limit(), max_elements=self._options.max_elements):
            results = self._run(arrays, tuple(dict.fromkeys(names)), raw, key)
        # A name that is listed twice gives two arrays.
        return [copy.copy(results[name]) if name in names[:i] else results[name] for i, name in enumerate(names)]

    def prepare(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, raw: bool = False) -> None:
        """Plan a run and compile its kernels ahead; see `run`. Where the data decides how it continues, do nothing."""
        self._plans.compile(self.check_feeds(feeds), output_names, raw=raw)

    def _run(
        self, arrays: Mapping[str, Any], names: tuple[str, ...], raw: bool, key: RunKey | None
    ) -> Mapping[str, Any]:
        plan = self._plans.whole_plan(arrays, names)
        if plan is not None:
            outputs = self._plans.run(plan, arrays, raw=raw)
            if key is not None:
                self._plans.prepare(key, plan)
            return outputs
        with self.limited():
            sectioned = self._plans.sectioned_plan(arrays, names)
            results = sectioned.run(self._runtime_values(arrays))
        for name, constant in sectioned.network.encoded_constants(names, self.rules).items():
            results[name] = RuntimeValue(constant.codes, constant.format, real_dtype=constant.dtype)
        return {name: returned(value, raw) for name, value in results.items()}

    def _runtime_values(self, arrays: Mapping[str, Any]) -> dict[str, RuntimeValue]:
        return {value.name: RuntimeValue(arrays[value.name]) for value in self.graph.inputs}

    def trace(
        self,
        arrays: Mapping[str, Any],
        names: Sequence[str] | None = None,
        tallies: dict[str, Tally] | None = None,
        on_inner_tensor: InnerTensorCallback | None = None,
    ) -> Iterator[Event]:
        """Run on the reference kernels, and yield every tensor as it is computed, the inputs included.

        Parameters
        ----------
        arrays
            Feeds that `check_feeds` returned.
        names
            Tensors to compute; None for the outputs of the model.
        tallies
            Counts by tensor name, which every tensor in fixed point is added to; None to count nothing.
        on_inner_tensor
            Function that is called with the tensors that graphs inside of nodes compute, for which there are no
            events; None for no calls.
        """
        events = self._events(arrays, names, tallies, on_inner_tensor)
        return memory.each_limited(self._options.memory_limit(), events, max_elements=self._options.max_elements)

    def _events(
        self,
        arrays: Mapping[str, Any],
        names: Sequence[str] | None,
        tallies: dict[str, Tally] | None,
        on_inner_tensor: InnerTensorCallback | None,
    ) -> Iterator[Event]:
        plan = self._plans.whole_plan(arrays, names)
        if plan is None:
            yield from self._plans.sectioned_plan(arrays, names, on_inner_tensor).trace(
                self._runtime_values(arrays), tallies
            )
            return
        steps = {bound_step.output.name: bound_step for bound_step in plan.steps}
        for tensor, array in plan.trace(arrays, tallies):
            bound_step = steps.get(tensor.name)
            yield Event(tensor, array, None if bound_step is None else bound_step.node, bound_step)

    def observer(self, arrays: Mapping[str, Any], as_arrays: Collection[str]) -> Observer | None:
        """Return the run on native kernels that counts the values of tensors; see `PlanCache.observer`."""
        return None if self.in_fixed_point else self._plans.observer(arrays, frozenset(as_arrays))

    def known_outputs(self, arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, Tensor]:
        """Return those of the tensors that need no run, with their elements: `trace` does not yield them."""
        plan = self._plans.whole_plan(arrays, names)
        if plan is not None:
            return {name: t for name, t in plan.outputs.items() if t.value is not None}
        sectioned = self._plans.sectioned_plan(arrays, names)
        constants = {n: Tensor(n, a.dtype, a.shape, a) for n, a in sectioned.graph.constants.items() if n in names}
        return constants | sectioned.network.encoded_constants(tuple(names), self.rules)

    def quantized_constants(self, arrays: Mapping[str, Any], names: Sequence[str]) -> tuple[Tensor, ...]:
        """Return the constants that a run quantizes; none where the run is planned section by section."""
        plan = self._plans.whole_plan(arrays, names)
        return () if plan is None else plan.constants

    def plans_of_run(self, arrays: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Plan]:
        """Return the plans of a run: one, or those of all sections, also of graphs inside of nodes.

        Where the data decides how a run continues, this runs the model.

        Parameters
        ----------
        arrays
            Feeds that `check_feeds` returned.
        names
            Tensors to compute; None for the outputs of the model.
        """
        plan = self._plans.whole_plan(arrays, names)
        if plan is not None:
            return [plan]
        plans: dict[int, Plan] = {}

        def run(plan: Plan, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            plans[id(plan)] = plan
            return self._plans.run(plan, inputs, raw=True)

        self.sectioned_by(run, arrays, names)(arrays)
        return list(plans.values())

    def sectioned_by(
        self,
        run_plan: RunPlan,
        arrays: Mapping[str, Any],
        names: Sequence[str] | None,
        change_output: ChangeOutput | None = None,
    ) -> Callable[[Mapping[str, Any]], dict[str, RuntimeValue]]:
        """Return a function of feeds that runs the model section by section; see `PlanCache.plan_run_by`."""
        plan = self._plans.plan_run_by(run_plan, arrays, names, change_output)
        return lambda feeds: plan.run(self._runtime_values(feeds))

    def executor(self, plan: Plan, *, raw: bool = False) -> Executor:
        """Return a plan on this session's native kernels, compiled on first use.

        Parameters
        ----------
        plan
            A plan that `plan` returned.
        raw
            Whether to return codes for the outputs in fixed point.

        Raises
        ------
        OptionError
            If the session runs on the reference.
        """
        return self._plans.executor(plan, raw=raw)

    @property
    def plans(self) -> PlanCache:
        """The plans of the session and their executors, for an analysis that runs plans of its own."""
        return self._plans

    def check_feeds(self, feeds: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the feeds as arrays, after every check that needs no shapes of other tensors; see `run`."""
        return check_feeds(self.graph, feeds)

    def plan(self, arrays: Mapping[str, NDArray[Any]], names: Sequence[str] | None = None) -> Plan:
        """Return the plan for feeds of such shapes, made on first use.

        Parameters
        ----------
        arrays
            Feeds that `check_feeds` returned.
        names
            Tensors that the plan computes; None or no names for the outputs of the model.

        Raises
        ------
        OptionError
            If the model has no tensor of a name.
        """
        return self._plans.plan(arrays, names)

    def limited(self) -> AbstractContextManager[None]:
        """Limit the threads of NumPy's linear algebra to those of the session, while the context lasts."""
        return BLAS.limited(self._options.threads)
