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
from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.requantize import Tally
from qengine.lru_cache import LruCache, digest
from qengine.model.graph import Node, Value
from qengine.model.static_values import value_inputs
from qengine.model.steps import Arithmetic, Tensor
from qengine.runtime.control_flow import BODY, Iterations
from qengine.runtime.environment import Environment, decides, real_numbers, shape_elements
from qengine.runtime.event import Event
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import Arrays, FixedPointSettings, Plan
from qengine.runtime.plan.planner import Section, plan_section
from qengine.runtime.standalone_nodes import compute_standalone, is_island
from qengine.runtime.values import RuntimeValue

_CACHED_SECTIONS = 64

RunPlan = Callable[[Plan, Arrays], Arrays]
"""(plan, feeds) -> outputs of the plan by name, codes in fixed point."""

InnerTensorCallback = Callable[[Tensor, NDArray[Any]], None]
"""(tensor, array) -> None; called with every tensor that a graph inside of a node computes, codes in fixed point."""


@dataclass(frozen=True)
class SectionSettings:
    """Options of a sectioned plan, the same for the graphs inside of its nodes.

    Attributes
    ----------
    arithmetic, strict, max_elements, max_iterations : see `SessionOptions`.
    run_plan : function that runs the plan of a section.
    on_inner_tensor : function that is called with the tensors that graphs inside of nodes compute, which then run on
        the reference; None for no calls.
    """

    arithmetic: Arithmetic
    strict: bool
    max_elements: int
    max_iterations: int
    run_plan: RunPlan
    on_inner_tensor: InnerTensorCallback | None = None


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
            self._fixed = FixedPointSettings(network.table, settings.arithmetic, settings.strict)
        self._sections: LruCache[Section] = LruCache(_CACHED_SECTIONS)
        self._inner: dict[Any, SectionedPlan] = {}  # of graphs inside of nodes

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

    def _read_from(self, start: int) -> set[str]:
        """Return the names that the nodes from `start` on read, and the outputs."""
        return {name for node in self.graph.nodes[start:] for name in node.reads} | set(self.outputs)

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
        rest = replace(
            self.graph, nodes=self.graph.nodes[start:], inputs=tuple(Value(name) for name in env if name in read)
        )
        valued = (value_inputs(rest) & {name for name in env if decides(env[name].value)}) | needs
        is_all_fixed = self._fixed is not None and not self._fixed.formats.is_partial
        constants: dict[str, NDArray[Any]] = dict(self.graph.constants)
        inputs: dict[str, Tensor] = {}
        encoded: set[str] = set()
        key: list[Any] = [start]
        for name in sorted(set(env) & read):
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
                    constants[name] = elements
                else:
                    inputs[name] = Tensor(name, elements.dtype, elements.shape, elements)
                continue
            assert value.dtype is not None
            inputs[name] = Tensor(name, value.dtype, value.value.shape)
            key.append((name, value.dtype, value.value.shape, value.format))
            if value.format is not None:
                encoded.add(name)
        graph = replace(rest, constants=constants, inputs=tuple(Value(name, t.dtype) for name, t in inputs.items()))

        def make() -> Section:
            return plan_section(graph, inputs, self._fixed, self.settings.max_elements, frozenset(encoded))

        return self._sections.get(tuple(key), make)

    def _run_alone(self, node: Node, env: Environment, alone: list[Event] | None) -> None:
        """Run one node, store its outputs, and report them as events or to `on_inner_tensor`."""
        inputs = [env.lookup(name) if name else RuntimeValue(None) for name in node.inputs]
        reads_codes = not node.graphs and any(value.format is not None for value in inputs)
        outputs = compute_standalone(
            node, inputs, env, lambda node, attribute, args: self._call(node, attribute, args, env)
        )
        for name, value in zip(node.outputs, outputs, strict=False):
            if not name:
                continue
            with node.errors_named():
                env.store_output(name, value, node)
            if not isinstance(env[name].value, np.ndarray):
                continue
            event = replace(_event(name, env[name], node), reads_codes=reads_codes)
            if alone is not None:
                alone.append(event)
            elif self.settings.on_inner_tensor is not None:
                self.settings.on_inner_tensor(event.tensor, event.array)

    def _call(self, node: Node, attribute: str, args: Sequence[RuntimeValue], env: Environment) -> list[RuntimeValue]:
        """Run the graph in an attribute of a node, on its inputs and on what it captures from around it."""
        graph = node.graphs[attribute]
        if len(args) != len(graph.inputs):
            raise ModelError(f"'{attribute}' takes {len(graph.inputs)} inputs, {len(args)} given")
        feeds = {value.name: arg for value, arg in zip(graph.inputs, args, strict=True)}
        reads = {name for inner in graph.nodes for name in inner.reads} | {value.name for value in graph.outputs}
        for name in node.captures:
            if name in reads and name not in self.graph.constants:
                value = env.lookup(name)
                feeds[name] = RuntimeValue(real_numbers(value)) if is_island(node) else value
        if attribute == BODY:
            env.iterations.add()
        outputs = self._inner_plan(node, attribute, feeds).run(feeds, env.iterations)
        return [outputs[value.name] for value in graph.outputs]

    def _inner_plan(self, node: Node, attribute: str, feeds: Mapping[str, RuntimeValue]) -> SectionedPlan:
        """Return the plan of the graph in an attribute, whose captured tensors become inputs and constants."""
        own = {value.name: value for value in node.graphs[attribute].inputs}
        known = frozenset(name for name, value in feeds.items() if name not in own and value.is_known)
        key = (id(node), attribute, known, tuple((name, value.format, value.dtype) for name, value in feeds.items()))
        if key not in self._inner:
            graph = node.graphs[attribute]
            inputs = []
            for name, fed in feeds.items():
                inputs.append(Value(name, fed.dtype, own[name].shape if name in own else None))
            captured = {name: self.graph.constants[name] for name in node.captures if name in self.graph.constants}
            formats = {n: fed.format for n, fed in feeds.items() if n not in own and fed.format is not None}
            network = self.network.of_inner_graph(graph, inputs, captured, formats, known)
            if is_island(node):
                network = network.with_request(None, as_float32=True)
            outputs = tuple(dict.fromkeys(value.name for value in graph.outputs))
            self._inner[key] = SectionedPlan(network, outputs, self.settings)
        return self._inner[key]


def _event(name: str, value: RuntimeValue, node: Node | None) -> Event:
    assert value.dtype is not None
    return Event(Tensor(name, value.dtype, value.value.shape, None, value.format), value.value, node)
