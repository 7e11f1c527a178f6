"""Planning and running a graph section by section, where the data decides how the run continues.

A plan needs the shape of every tensor before the run. Some graphs do not allow that: NonZero gives as many columns as
its input has nonzero elements, a Loop repeats until a condition is false, and the shape input of a Reshape may be the
result of a convolution. Such a graph is cut into *sections*. A section is the longest sequence of nodes, in graph
order, that can be planned from what is known when it begins: the shapes of all values computed so far, and the elements
of the few that decide shapes. It is an ordinary `Plan`. A section ends for one of two reasons:

- The next node must run alone (`standalone_nodes`): only its run shows the shapes of its outputs.
- The next node needs the *elements* of a tensor that this section computes. The section runs first; then the next one
  is planned with these elements as known values.

So a run alternates: plan a section (or take it from the cache, by its start and by the shapes, formats and known
elements of what it reads), run it, run the node that ended it. An `Environment` holds the values in between; tensors in
fixed point stay codes. A graph inside of a node is run in the same way, by a `SectionedPlan` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import UnsupportedError
from qengine.kernels.isa import Isa
from qengine.kernels.reference.requantize import Tally
from qengine.lru_cache import LruCache, digest
from qengine.model.graph import Graph, Node, Value
from qengine.model.rules import Rules
from qengine.model.static_values import value_inputs
from qengine.model.steps import Tensor
from qengine.runtime.control_flow import Iterations
from qengine.runtime.environment import Environment, decides, real_numbers, shape_elements
from qengine.runtime.event import Event
from qengine.runtime.inner_graphs import GraphsOfNode, InnerGraph
from qengine.runtime.native.executor import Executor
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import Arrays, FixedPointSettings, Plan
from qengine.runtime.plan.planner import Section, plan_section
from qengine.runtime.standalone_nodes import compute_standalone
from qengine.runtime.values import RuntimeValue

_CACHED_SECTIONS = 64
_KEPT_BYTES = 1 << 21
"""Most bytes of memory that the native kernels of a graph inside of a node may keep for each shape of its inputs."""

RunPlan = Callable[[Plan, Arrays], Arrays]
"""(plan, feeds) -> outputs of the plan by name, codes in fixed point."""

ChangeOutput = Callable[[str, NDArray[Any]], NDArray[Any]]
"""(name, array) -> array in its place; called with every tensor that a node computes between two sections."""

InnerTensorCallback = Callable[[Tensor, NDArray[Any]], None]
"""(tensor, array) -> None; called with every tensor that a graph inside of a node computes, codes in fixed point."""


@dataclass(frozen=True)
class SectionSettings:
    """Options of a sectioned plan, the same for the graphs inside of its nodes.

    Attributes
    ----------
    rules, strict, max_elements, max_iterations : see `Rules` and `SessionOptions`.
    run_plan : function that runs the plan of a section.
    isa : instruction set of native kernels; None where the reference runs.
    executor : function that returns a plan on native kernels; None where the reference runs.
    on_inner_tensor : function that is called with the tensors that graphs inside of nodes compute, which then run on
        the reference; None for no calls.
    has_all_graphs : whether graphs that the data leaves out run too, for the sake of `on_inner_tensor`: the other
        branch of an If, and the body of a loop without iterations.
    change_output : function that changes what nodes between sections compute; None for no change.
    """

    rules: Rules
    strict: bool
    max_elements: int
    max_iterations: int
    run_plan: RunPlan
    isa: Isa | None = None
    executor: Callable[[Plan], Executor] | None = None
    on_inner_tensor: InnerTensorCallback | None = None
    has_all_graphs: bool = False
    change_output: ChangeOutput | None = None


class SectionedPlan:
    """Plan of a network whose data decides how a run continues: planned and run section by section.

    Attributes
    ----------
    network : the model, its passes and its formats.
    outputs : names of the tensors to compute.
    graph : the graph that computes them.
    """

    def __init__(self, network: Network, outputs: tuple[str, ...], settings: SectionSettings) -> None:
        self.network, self.outputs, self.settings = network, outputs, settings
        self.graph = network.graph_with_outputs(outputs)
        self._fixed = None
        if network.table is not None:
            self._fixed = FixedPointSettings(network.table, network.with_own_rules(settings.rules), settings.strict)
        self._sections: LruCache[Section] = LruCache(_CACHED_SECTIONS)
        self._reads: dict[int, frozenset[str]] = {}
        self._rests: dict[tuple[int, tuple[str, ...]], tuple[Graph, frozenset[str]]] = {}
        self._inner: dict[int, dict[str, InnerGraph]] = {}  # graphs inside of nodes, by the id of the node

    def run(self, feeds: Mapping[str, RuntimeValue], iterations: Iterations | None = None) -> dict[str, RuntimeValue]:
        """Return the outputs by name.

        Parameters
        ----------
        feeds
            A value for every input of the graph: real numbers or codes.
        iterations
            Count of the iterations of the run that this is a part of; None for a run of its own.
        """
        env = self._environment(feeds, None, iterations)
        unreported = {name: env[name] for name in feeds if name in env}
        for section, inputs in self._advance(env, None):
            env.store_section(section.plan, self._run_section(section.plan, inputs))
            unreported = {name: value for name, value in unreported.items() if name not in inputs}
        if self.settings.on_inner_tensor is not None:  # a section reports what it reads
            for name, value in unreported.items():
                if isinstance(value.value, np.ndarray) and not value.is_known:
                    event = _event(name, value, None)
                    self.settings.on_inner_tensor(event.tensor, event.array)
        return {name: env.output(name) for name in self.outputs}

    def trace(self, feeds: Mapping[str, RuntimeValue], tallies: dict[str, Tally] | None = None) -> Iterator[Event]:
        """Run on the reference kernels, and yield every tensor as it is computed; see `Plan.trace`.

        There is no event for a sequence, an optional, or an input that the plan knows.
        """
        env = self._environment(feeds, tallies)
        for name in list(env):
            if isinstance(env[name].value, np.ndarray) and not env[name].is_known:
                yield _event(name, env[name], None)
        alone: list[Event] = []  # events of nodes that ran alone since the last section
        for section, inputs in self._advance(env, alone):
            yield from alone
            alone.clear()
            plan = section.plan
            steps = {bound_step.output.name: bound_step for bound_step in plan.steps}
            arrays = {}
            for tensor, array in plan.trace(inputs, tallies):
                if tensor.name in steps:
                    bound_step = steps[tensor.name]
                    yield Event(tensor, array, bound_step.node, bound_step)
                if tensor.name in plan.outputs:
                    arrays[tensor.name] = array
            known = {name: t for name, t in plan.outputs.items() if t.value is not None and name not in env}
            yield from (Event(t, t.elements) for name, t in known.items() if name in self.outputs)
            env.store_section(plan, arrays)
        yield from alone

    def _run_section(self, plan: Plan, inputs: Arrays) -> Arrays:
        on_inner_tensor = self.settings.on_inner_tensor
        if on_inner_tensor is None:
            return self.settings.run_plan(plan, inputs)
        outputs = {}
        for tensor, array in plan.trace(inputs):
            on_inner_tensor(tensor, array)
            if tensor.name in plan.outputs:
                outputs[tensor.name] = array
        return outputs

    def _environment(
        self,
        feeds: Mapping[str, RuntimeValue],
        tallies: dict[str, Tally] | None,
        iterations: Iterations | None = None,
    ) -> Environment:
        iterations = Iterations(self.settings.max_iterations) if iterations is None else iterations
        env = Environment(self.graph, self._fixed, tallies, iterations, self.network.known)
        env.feed(feeds, self.network.value_inputs)
        return env

    def _advance(self, env: Environment, alone: list[Event] | None) -> Iterator[tuple[Section, Arrays]]:
        """Yield each section with its inputs, and run the nodes between them.

        The caller runs a section and stores its outputs before it takes the next one.
        """
        start, needs = 0, frozenset[str]()
        nodes = self.graph.nodes
        while start < len(nodes):
            section = self._section(start, env, needs)
            inputs = {t.name: env[t.name].value for t in section.plan.inputs}
            memory.require(env.bytes() + section.plan.bytes, section.plan.heaviest)
            if section.count:
                yield section, inputs
            start += section.count
            if start == len(nodes):
                break
            node = nodes[start]
            if section.needs is None:
                with memory.holding(env.bytes()):
                    self._run_alone(node, env, alone)
                start += 1
            elif section.count == 0 and needs.issuperset(section.needs):
                raise UnsupportedError(f"{node}: {', '.join(section.needs)} decides shapes, and is not known in time")
            # A node that needs several tensors says so one by one. Each section begins later, or knows more.
            needs = frozenset(section.needs or ()) | (needs if section.needs and not section.count else frozenset())
            if missing := needs - set(env):
                raise UnsupportedError(f"{node}: the elements of '{min(missing)}' are not known in time")
            env.keep_only(self._read_from(start))

    def _read_from(self, start: int) -> frozenset[str]:
        """Return the names that the nodes from `start` on read, and the outputs."""
        if start not in self._reads:
            names = {name for node in self.graph.nodes[start:] for name in node.reads}
            self._reads[start] = frozenset(names).union(self.outputs)
        return self._reads[start]

    def _rest(self, start: int, names: tuple[str, ...]) -> tuple[Graph, frozenset[str]]:
        """Return the graph from a node on, whose inputs are the values that are there, and those that decide shapes."""
        key = (start, names)
        if key not in self._rests:
            rest = replace(self.graph, nodes=self.graph.nodes[start:], inputs=tuple(Value(name) for name in names))
            self._rests[key] = rest, value_inputs(rest)
        return self._rests[key]

    def _section(self, start: int, env: Environment, needs: frozenset[str]) -> Section:
        """Return the section that begins at a node, planned on first use.

        Parameters
        ----------
        start
            Index of the node.
        env
            The values that are there.
        needs
            Names of tensors whose elements the plan must know.
        """
        read = self._read_from(start)
        names = tuple(sorted(name for name in env if name in read))
        rest, deciding = self._rest(start, names)
        valued = {name for name in deciding if decides(env[name].value)} | needs
        is_all_fixed = self._fixed is not None and not self._fixed.formats.is_partial
        known: dict[str, NDArray[Any]] = {}
        inputs: dict[str, Tensor] = {}
        encoded: set[str] = set()
        key: list[Any] = [start]
        for name in names:
            value = env[name]
            if not isinstance(value.value, np.ndarray):
                continue  # only nodes that run alone read sequences and optionals
            if name in needs:
                elements = shape_elements(name, value)
            else:
                elements = real_numbers(value) if name in valued else value.value
            is_unformatted = is_all_fixed and value.format is None and value.value.dtype.kind == "f"
            if value.is_known or name in valued or (is_unformatted and env.format_of(name, value) is None):
                key.append((name, digest(elements)))
                if value.is_known and start:
                    known[name] = elements
                else:
                    inputs[name] = Tensor(name, elements.dtype, elements.shape, elements)
                continue
            assert value.dtype is not None
            inputs[name] = Tensor(name, value.dtype, value.value.shape)
            key.append((name, value.dtype, value.value.shape, value.format))
            if value.format is not None:
                encoded.add(name)

        branches = None if self.settings.has_all_graphs else self.network.branch  # in a plan only one branch runs

        def make() -> Section:
            constants = {**self.graph.constants, **known}
            graph = replace(rest, constants=constants, inputs=tuple(Value(name, t.dtype) for name, t in inputs.items()))
            return plan_section(graph, inputs, self._fixed, self.settings.max_elements, frozenset(encoded), branches)

        return self._sections.get(tuple(key), make)

    def _run_alone(self, node: Node, env: Environment, alone: list[Event] | None) -> None:
        """Run one node, store its outputs, and report them as events or to `on_inner_tensor`."""
        inputs = [env.lookup(name) if name else RuntimeValue(None) for name in node.inputs]
        reads_codes = not node.graphs and any(value.format is not None for value in inputs)
        isa = self.settings.isa if alone is None and self.settings.on_inner_tensor is None else None
        outputs = compute_standalone(node, inputs, env, self._graphs_of(node, env), isa)
        named = [(name, value) for name, value in zip(node.outputs, outputs, strict=False) if name]
        change = self.settings.change_output
        if change is not None:
            arrays = [(name, value) for name, value in named if isinstance(value.value, np.ndarray)]
            changed = {name: replace(value, value=change(name, value.value)) for name, value in arrays}
            named = [(name, changed.get(name, value)) for name, value in named]
        with node.errors_named():
            for name, value in named:
                env.store_output(name, value, node)
        if self.settings.has_all_graphs:
            self._graphs_of(node, env).run_left_out(node, inputs)
        for name, _ in named:
            if not isinstance(env[name].value, np.ndarray):
                continue
            if alone is not None:
                alone.append(replace(_event(name, env[name], node), reads_codes=reads_codes))
            elif self.settings.on_inner_tensor is not None:
                event = _event(name, env[name], node)
                self.settings.on_inner_tensor(event.tensor, event.array)

    def straight_run(
        self, feeds: Mapping[str, RuntimeValue], names: Sequence[str], outputs: Sequence[str]
    ) -> StraightRun | None:
        """Return how a run with such feeds goes if it is a single section that changes no feed; None if it is not.

        Parameters
        ----------
        feeds
            Feeds of a run that has ended.
        names, outputs
            Names of the feeds and of the outputs, in the order of the values of later calls; names may be repeated.
        """
        if self.settings.on_inner_tensor is not None or set(names) != set(feeds):
            return None
        env = self._environment(feeds, None, None)
        if any(env[name].value is not feeds[name].value for name in env):
            return None
        section = self._section(0, env, frozenset()) if self.graph.nodes else None
        if section is None or section.count < len(self.graph.nodes) or section.needs is not None:
            return None
        plan, place = section.plan, {name: i for i, name in enumerate(names)}
        inputs = {t.name for t in plan.inputs}
        decisive = [place[name] for name in env if name in self._read_from(0) and name not in inputs]
        size = env.bytes() + plan.bytes
        env.store_section(plan, {})
        parts: list[str | int | RuntimeValue] = []
        likes = []
        for name in outputs:
            t = plan.outputs.get(name)
            if name in place:
                parts.append(place[name])
                likes.append(env.output(name))
            elif name in env or t is None or t.value is not None:
                parts.append(env.output(name))
                likes.append(env.output(name))
            else:
                parts.append(name)
                like = np.broadcast_to(
                    np.zeros((), t.dtype if t.format is None else t.one_format.word().dtype), t.shape
                )
                likes.append(RuntimeValue(like, t.format, real_dtype=t.dtype))
        run = tuple((t.name, place[t.name]) for t in plan.inputs)
        executor = self.settings.executor(plan) if self.settings.executor is not None and plan.steps else None
        if executor is not None and (not executor.is_native or executor.memory > _KEPT_BYTES):
            executor = None
        return StraightRun(
            self.settings.run_plan, executor, plan, run, tuple(parts), tuple(likes), tuple(decisive), size
        )

    def _graphs_of(self, node: Node, env: Environment) -> GraphsOfNode:
        """Return the graphs in the attributes of a node."""
        if id(node) not in self._inner:
            self._inner[id(node)] = {name: InnerGraph(self, node, name) for name in node.graphs}
        return GraphsOfNode(self._inner[id(node)], env)


@dataclass(frozen=True)
class StraightRun:
    """A run that is a single section.

    Attributes
    ----------
    run_plan, executor : function that runs a plan, and the native kernels of the section, where they are small.
    plan : plan of the section.
    inputs : name of each input of the plan, and its place among the values of a call.
    parts : each output: a name of the plan, the place of an input, or a value that it always is.
    likes : a value with the type, the shape and the format of each output.
    decisive : places of the values whose elements the plan depends on.
    bytes : memory of a run.
    """

    run_plan: RunPlan
    executor: Executor | None
    plan: Plan
    inputs: tuple[tuple[str, int], ...]
    parts: tuple[str | int | RuntimeValue, ...]
    likes: tuple[RuntimeValue, ...]
    decisive: tuple[int, ...]
    bytes: int

    def outputs(self, values: Sequence[RuntimeValue]) -> list[RuntimeValue]:
        """Return the outputs for other values with the same types, shapes and formats."""
        memory.require(self.bytes, self.plan.heaviest)
        inputs = {name: values[i].value for name, i in self.inputs}
        arrays = self.run_plan(self.plan, inputs) if self.executor is None else self.executor.run(inputs)
        found = []
        for part, like in zip(self.parts, self.likes, strict=True):
            if isinstance(part, str):
                found.append(RuntimeValue(arrays[part], like.format, real_dtype=like.real_dtype))
            else:
                found.append(replace(like, value=values[part].value) if isinstance(part, int) else part)
        return found


def _event(name: str, value: RuntimeValue, node: Node | None) -> Event:
    assert value.dtype is not None
    return Event(Tensor(name, value.dtype, value.value.shape, None, value.format), value.value, node)
