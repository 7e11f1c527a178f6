"""InferenceSession: a model and an arithmetic, run on feeds."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.kernels.reference.requantize import Tally
from qengine.lru_cache import Recent, digest
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.model.ops.operator import NeedsRun
from qengine.model.steps import Arithmetic, Tensor
from qengine.qformat import Format
from qengine.runtime.control_flow import Held
from qengine.runtime.feeds import Argument, check_feeds
from qengine.runtime.native import Executor, make_executor
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import Fixed, Plan, answer
from qengine.runtime.plan.planner import make_plan
from qengine.runtime.sections import Event, Flow, Settings, Watch, decides
from qengine.threads import BLAS, available_threads

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

_PLANS = 16


class InferenceSession:
    """An ONNX model that runs in float32, or in fixed point where a format is given.

    Parameters
    ----------
    model
        Path of an .onnx file, its bytes, an onnx.ModelProto, or the graph of another session.
    options
        How it computes; None for the defaults.
    keywords
        Single fields of `SessionOptions`, such as ``qformat="Q4.3"``; they go before `options`.

    Raises
    ------
    QEngineError
        If the model or an option is not valid.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
        options: SessionOptions | None = None,
        **keywords: Unpack[SessionKeywords],
    ) -> None:
        self._options = SessionOptions.of(options, keywords)
        self._isa, self._arithmetic = self._options.instruction_set(), self._options.arithmetic()
        graph = model if isinstance(model, Graph) else load(model)
        is_asked, unread = self._options.asks_for_fixed_point, self._options.without_meaning_in_float32()
        self._network = Network(graph, self._options.request() if is_asked else None)
        if unread and not is_asked:
            if self._network.table is None:
                raise OptionError(f"{unread[0]} has no meaning in float32: give a qformat or formats with it")
            self._network = self._network.asking(self._options.request())
        self._forget()

    def _forget(self) -> None:
        """Start with nothing planned."""
        self.__dict__.pop("formats", None)
        self._plans: Recent[Plan] = Recent(_PLANS)
        self._executors: Recent[Executor] = Recent(_PLANS)
        self._overridden: Recent[Network] = Recent(_PLANS)
        self._flows: Recent[Flow] = Recent(_PLANS)
        self._flowing: set[tuple[str, ...]] = set()  # what is asked for that no single plan can compute

    def get_inputs(self) -> list[Argument]:
        """Return the inputs that every run must be fed."""
        return [Argument.of(value) for value in self.graph.inputs]

    def get_outputs(self) -> list[Argument]:
        """Return the outputs of a run that names none."""
        return [Argument.of(value) for value in self.graph.outputs]

    def get_overridable_initializers(self) -> list[Argument]:
        """Return the initializers that a run may be fed another value for."""
        return [Argument.of(value) for value in self.graph.overridable]

    @property
    def graph(self) -> Graph:
        """The model as it was loaded; of a quantized one that is read as fixed point, what it computes."""
        return self._network.model

    @property
    def optimized(self) -> Graph:
        """What a run computes: the graph after the passes."""
        return self._network.optimized

    @cached_property
    def formats(self) -> dict[str, Format]:
        """The format of every tensor in fixed point, by the model's own names; empty in float32."""
        return self._network.table.by_model_name() if self._network.table else {}

    @property
    def options(self) -> SessionOptions:
        """What the session was told."""
        return self._options

    @property
    def arithmetic(self) -> Arithmetic:
        """How runs in fixed point round, overflow and accumulate."""
        return self._arithmetic

    @property
    def network(self) -> Network:
        """The model, the same after the passes, and the formats of both."""
        return self._network

    @property
    def rounded(self) -> frozenset[str]:
        """The tensors that a run brings to their formats; empty in float32.

        The others with a format went into the operator after them.
        """
        table = self._network.table
        return frozenset() if table is None else frozenset(table.activations.keys() & self._network.optimized.tensors())

    @property
    def in_fixed_point(self) -> bool:
        """Whether runs are in fixed point: formats were asked for, or a quantized model has its own."""
        return self._network.table is not None

    def in_float32(self) -> InferenceSession:
        """Return a session of the same model in float32, after the same passes: what fixed point is compared with.

        Of a quantized model it has the weights as they are, and leaves out the rounding between operators.
        """
        if not self.in_fixed_point:
            return self
        other = copy.copy(self)
        other._network = self._network.asking(None, as_float32=True)
        other._options, other._arithmetic = self._options.in_float32(), Arithmetic()
        other._forget()
        return other

    @property
    def notes(self) -> tuple[str, ...]:
        """How a quantized model was read, and what was asked for and has no effect."""
        return self._network.notes

    def run(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, raw: bool = False
    ) -> list[NDArray[Any]]:
        """Run the model.

        Parameters
        ----------
        output_names
            Tensors to return, intermediate ones included; None for the model's outputs.
        feeds
            An array for every input, of the shape and dtype that `get_inputs` tells.
        raw
            Return integer codes for the tensors in fixed point, instead of the real numbers that they stand for.
            Weights are those of the run: a BatchNormalization that was folded is in them.

        Returns
        -------
        list of ndarray
            In the order of the names; the caller's own.

        Raises
        ------
        FeedError
            If a feed is missing, unknown, or of the wrong dtype, rank or shape, or holds NaN in fixed point.
        QEngineError
            If the shapes do not go together, or a tensor would be too large.
        """
        if isinstance(output_names, str):
            raise OptionError(f"output_names is a list of names: give ['{output_names}']")
        if not isinstance(output_names, Sequence | None) or any(not isinstance(n, str) for n in output_names or ()):
            raise OptionError(f"output_names is a list of names, or None, not {output_names!r}")
        names = list(output_names or (value.name for value in self.graph.outputs))
        arrays = self.check_feeds(feeds)
        with self.limited():
            found = self._run(arrays, tuple(dict.fromkeys(names)), raw)
        # A tensor that is asked for twice comes twice, as two arrays.
        return [copy.copy(found[name]) if name in names[:i] else found[name] for i, name in enumerate(names)]

    def _run(self, arrays: Mapping[str, Any], names: tuple[str, ...], raw: bool) -> dict[str, Any]:
        plan = self._whole_plan(arrays, names)
        if plan is None:
            return self._run_flow(arrays, names, raw)
        return plan.run(arrays, raw=raw) if self._isa is None else self._run_native(plan, arrays, raw)

    def _whole_plan(self, arrays: Mapping[str, Any], names: Sequence[str] | None) -> Plan | None:
        """Return the plan of a run; None where the data decides how it goes on, or something is no tensor."""
        wanted = self._wanted(names)
        if wanted in self._flowing:
            return None
        try:
            return self.plan(arrays, wanted)
        except NeedsRun:
            self._flowing.add(wanted)
            return None

    def _wanted(self, names: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names or (value.name for value in self.graph.outputs)))

    def _run_flow(self, arrays: Mapping[str, Any], names: tuple[str, ...], raw: bool) -> dict[str, Any]:
        flow, feeds = self._flow(arrays, names)
        found = flow.run(feeds) | {
            n: Held(t.codes, t.format, real=t.dtype) for n, t in flow.network.encoded(names).items()
        }
        return {name: _answered(held, raw) for name, held in found.items()}

    def _flow(
        self, arrays: Mapping[str, Any], names: tuple[str, ...], watch: Watch | None = None
    ) -> tuple[Flow, dict[str, Held]]:
        """Return what runs the model section by section, and what to feed it."""
        network, overrides = self._fed(arrays)
        execute = self._execute if watch is None else partial(_watched, watch)
        settings = Settings(self._arithmetic, self._options.strict, self._options.max_elements, execute, watch)
        flow = self._flows.get((names, overrides, watch), lambda: Flow(network, names, settings))
        return flow, {value.name: Held(arrays[value.name]) for value in self.graph.inputs}

    def _execute(self, plan: Plan, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Run a section; what is in fixed point comes as codes."""
        if self._isa is None:
            return plan.run(feeds, raw=True)
        return self._run_native(plan, feeds, raw=True)

    def trace(
        self,
        arrays: Mapping[str, Any],
        names: Sequence[str] | None = None,
        tallies: dict[str, Tally] | None = None,
        watch: Watch | None = None,
    ) -> Iterator[Event]:
        """Run on the reference, and give every tensor that is computed as it comes, the inputs too.

        Parameters
        ----------
        arrays
            What `check_feeds` returned.
        names
            As of `run`.
        tallies
            Where given, it gets for every tensor in fixed point what was counted.
        watch
            Where given, it is told what the graphs inside of nodes compute, of which there are no events.
        """
        plan = self._whole_plan(arrays, names)
        if plan is None:
            flow, feeds = self._flow(arrays, self._wanted(names), watch)
            yield from flow.trace(feeds, tallies)
            return
        steps = {bound.output.name: bound for bound in plan.steps}
        for tensor, array in plan.trace(arrays, tallies):
            bound = steps.get(tensor.name)
            yield Event(tensor, array, None if bound is None else bound.node, bound)

    def known_outputs(self, arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, Tensor]:
        """Return those of the tensors that no run computes, with their elements; see `trace`."""
        plan = self._whole_plan(arrays, names)
        if plan is not None:
            return {name: t for name, t in plan.outputs.items() if t.value is not None}
        flow, _ = self._flow(arrays, self._wanted(names))
        constants = {n: Tensor(n, a.dtype, a.shape, a) for n, a in flow.graph.constants.items() if n in names}
        return constants | flow.network.encoded(tuple(names))

    def quantized_constants(self, arrays: Mapping[str, Any], names: Sequence[str]) -> tuple[Tensor, ...]:
        """Return the constants that a run quantizes; none where the data decides what is run."""
        plan = self._whole_plan(arrays, names)
        return () if plan is None else plan.constants

    def _run_native(self, plan: Plan, arrays: Mapping[str, NDArray[Any]], raw: bool) -> dict[str, NDArray[Any]]:
        assert self._isa is not None
        known = {
            n: np.array(answer(t, t.elements, raw), order="C") for n, t in plan.outputs.items() if t.value is not None
        }
        if not plan.steps:
            return plan.run(arrays, raw=raw)
        return known | self.executor(plan, raw=raw).run(arrays)

    def executor(self, plan: Plan, *, raw: bool = False) -> Executor:
        """Return a plan on this session's native kernels, made when it is first needed.

        Raises
        ------
        OptionError
            If the session runs on the reference.
        """
        if self._isa is None:
            raise OptionError("the session runs on the reference, which has no native kernels")
        isa, threads = self._isa, self._options.threads or available_threads()
        return self._executors.get((id(plan), raw), lambda: make_executor(plan, isa, threads, raw=raw))

    def check_feeds(self, feeds: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the feeds as arrays, after every check that does not need the graph's shapes; see `run`."""
        return check_feeds(self.graph, feeds)

    def plan(self, arrays: Mapping[str, NDArray[Any]], names: Sequence[str] | None = None) -> Plan:
        """Return the plan for feeds of such shapes, made when it is first needed.

        Parameters
        ----------
        arrays
            What `check_feeds` returned.
        names
            Tensors that the plan is to compute; None, or none, for the model's outputs.

        Raises
        ------
        OptionError
            If the model has no tensor of a name.
        """
        wanted = self._wanted(names)
        network, overrides = self._fed(arrays)
        inputs = {value.name: self._input(value.name, arrays[value.name]) for value in self.graph.inputs}
        key = (
            wanted,
            overrides,
            tuple((tensor.shape, None if tensor.value is None else digest(tensor.value)) for tensor in inputs.values()),
        )

        def make() -> Plan:
            fixed = Fixed(network.table, self._arithmetic, self._options.strict) if network.table else None
            plan = make_plan(network.computing(wanted), inputs, fixed, self._options.max_elements)
            return replace(plan, outputs={**plan.outputs, **network.encoded(wanted)})

        return self._plans.get(key, make)

    def _input(self, name: str, array: Any) -> Tensor:
        """Return an input as the plan is to know it: with its elements, where they decide shapes."""
        if not isinstance(array, np.ndarray):
            raise NeedsRun(f"input '{name}' is no tensor")
        if name in self._network.value_inputs and decides(array):
            return Tensor(name, array.dtype, array.shape, array.copy())
        return Tensor(name, array.dtype, array.shape)

    def _fed(self, arrays: Mapping[str, Any]) -> tuple[Network, tuple[Any, ...]]:
        """Return the network with other values of initializers, on which every pass is done again; and a key of it."""
        # Copies, as they are kept and the caller may reuse the arrays.
        overrides = {v.name: arrays[v.name].copy() for v in self.graph.overridable if v.name in arrays}
        key = tuple((name, digest(array)) for name, array in overrides.items())
        if not overrides:
            return self._network, key
        source = self._network.source
        model = replace(source, constants={**source.constants, **overrides})
        return self._overridden.get(key, lambda: self._network.like(model)), key

    def limited(self) -> AbstractContextManager[None]:
        """Limit linear algebra to the threads that the session was given, while the context lasts."""
        return BLAS.limited(self._options.threads)


def _watched(watch: Watch, plan: Plan, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a plan on the reference, and tell of every tensor."""
    found = {}
    for tensor, array in plan.trace(feeds):
        watch(tensor, array)
        if tensor.name in plan.outputs:
            found[tensor.name] = array
    return found


def _answered(held: Held, raw: bool) -> Any:
    """Return a value as a caller gets it: their own, and real numbers unless it is to be codes."""
    if not isinstance(held.value, np.ndarray):
        return held.value
    assert held.dtype is not None
    tensor = Tensor("", held.dtype, held.value.shape, None, held.format)
    return np.array(answer(tensor, held.value, raw), order="C")
