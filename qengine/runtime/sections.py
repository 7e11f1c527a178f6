"""A graph of which the data decides how it goes on: planned and run section by section.

A section is as much as can be planned from what is known by then. Between sections stand nodes that are run alone:
those with graphs in their attributes, and those that onnx.reference computes. What lies between sections are codes in
fixed point, as within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.elementwise import bounded
from qengine.kernels.reference.requantize import Tally, new_tally, quantize
from qengine.lru_cache import Recent, digest
from qengine.model.custom import Custom
from qengine.model.eager.single_node import compute
from qengine.model.graph import Node, Value
from qengine.model.ops.operator import find
from qengine.model.static_values import value_inputs
from qengine.model.steps import Arithmetic, Tensor, codes_of
from qengine.qformat import Format, QFormat, fraction_bits_of
from qengine.runtime import control_flow, custom_nodes
from qengine.runtime.control_flow import Held
from qengine.runtime.plan.network import Network
from qengine.runtime.plan.plan import BoundStep, Fixed, Plan, answer, enter
from qengine.runtime.plan.planner import Section, plan_section

MAX_SHAPE_ELEMENTS = 4096
"""Of a tensor that decides shapes."""

_SECTIONS = 64

Arrays = Mapping[str, NDArray[Any]]

Execute = Callable[[Plan, Arrays], Arrays]
"""(plan, feeds) -> its outputs, codes in fixed point."""

Watch = Callable[[Tensor, NDArray[Any]], None]
"""Is told a tensor that was computed; codes in fixed point."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all sections, and for the graphs inside of nodes.

    Attributes
    ----------
    arithmetic, strict, max_elements : as of a session.
    execute : runs a plan.
    watch : where given, it is told what nodes that run alone inside of other nodes give.
    """

    arithmetic: Arithmetic
    strict: bool
    max_elements: int
    execute: Execute
    watch: Watch | None = None


@dataclass(frozen=True)
class Event:
    """A tensor that a run made.

    Attributes
    ----------
    tensor, array : it, codes in fixed point.
    bound : the step that computed it; None of an input and of a node that ran alone.
    node : the node; None of an input.
    reads_codes : whether a node that ran alone was given tensors in fixed point.
    """

    tensor: Tensor
    array: NDArray[Any]
    node: Node | None = None
    bound: BoundStep | None = None
    reads_codes: bool = False

    @property
    def kind(self) -> str:
        """The kind of step; "quantize" of an input; "graph", "custom", "island" or "delegated" of what ran alone."""
        if self.bound is not None:
            return self.bound.step.kind
        if self.node is None:
            return "quantize"
        if self.node.graphs:
            return "graph"
        op = find(self.node)
        if isinstance(op, Custom):
            return "custom" if op.is_exact else "island"
        return "delegated"

    @property
    def is_island(self) -> bool:
        """Whether it left fixed point to be computed in float32."""
        if self.bound is not None:
            return self.bound.is_island
        in_fixed = self.tensor.format is not None or self.reads_codes
        return in_fixed and self.kind in ("island", "delegated")


class Flow:
    """A network that answers with certain tensors, run section by section."""

    def __init__(self, network: Network, wanted: tuple[str, ...], settings: Settings) -> None:
        self.network, self.wanted, self.settings = network, wanted, settings
        self.graph = network.computing(wanted)
        self.fixed = None
        if network.table is not None:
            self.fixed = Fixed(network.table, settings.arithmetic, settings.strict)
        self._sections: Recent[Section] = Recent(_SECTIONS)
        self._inner: dict[Any, Flow] = {}

    def run(self, feeds: Mapping[str, Held]) -> dict[str, Held]:
        """Return the wanted tensors.

        Parameters
        ----------
        feeds
            A value for every input of the graph; real numbers or codes.
        """
        env = self._entered(feeds, None)
        for section, inputs in self._advance(env, None):
            self._take(section.plan, self.settings.execute(section.plan, inputs), env)
        return {name: self._found(name, env) for name in self.wanted}

    def trace(self, feeds: Mapping[str, Held], tallies: dict[str, Tally] | None = None) -> Iterator[Event]:
        """Run on the reference, and give what is computed as it comes; see `Plan.trace`."""
        env = self._entered(feeds, tallies)
        yield from (self._event(name, held, None) for name, held in env.items() if not held.is_known)
        alone: list[Event] = []
        for section, inputs in self._advance(env, tallies, alone):
            yield from alone
            alone.clear()
            plan = section.plan
            steps = {bound.output.name: bound for bound in plan.steps}
            made = {}
            for tensor, array in plan.trace(inputs, tallies):
                if tensor.name in steps:
                    bound = steps[tensor.name]
                    yield Event(tensor, array, bound.node, bound)
                if tensor.name in plan.outputs:
                    made[tensor.name] = array
            known = {name: t for name, t in plan.outputs.items() if t.value is not None and name not in env}
            yield from (Event(t, t.elements) for name, t in known.items() if name in self.wanted)
            self._take(plan, made, env)
        yield from alone

    def _found(self, name: str, env: Mapping[str, Held]) -> Held:
        if name in env:
            return env[name]
        return Held(self.graph.constants[name])

    def _entered(self, feeds: Mapping[str, Held], tallies: dict[str, Tally] | None) -> dict[str, Held]:
        """Return what is fed as a run has it: codes, where the input is in fixed point and decides no shapes."""
        found = {}
        for value in self.graph.inputs:
            held = feeds[value.name]
            if value.name in self.network.value_inputs and decides(held.value):
                found[value.name] = replace(held, is_known=True) if held.format is None else held
                continue
            form = self._format(value.name, held)
            if form is not None and held.format is None and isinstance(held.value, np.ndarray):
                tensor = Tensor(value.name, held.value.dtype, held.value.shape, None, form)
                held = Held(enter(tensor, held.value, self.fixed, tallies), form, real=held.value.dtype)
            found[value.name] = self._conformed(held, form)
        return found

    def _format(self, name: str, held: Held) -> QFormat | None:
        """Return the format that a value is kept in; FormatError where it should have one and has none."""
        if self.fixed is None or held.is_known or held.dtype is None or held.dtype.kind != "f":
            return None
        return self.fixed.formats.activation(name)

    def _conformed(self, held: Held, form: Format | None) -> Held:
        """Return a value in another format."""
        if held.format == form or not isinstance(held.value, np.ndarray) or (form is None and held.format is None):
            return held
        if held.format is None and held.value.dtype.kind != "f":
            return held
        real = self._real(held)
        return Held(real) if form is None else Held(self._quantized(real, form), form, real=real.dtype)

    def _quantized(self, real: NDArray[Any], form: Format) -> NDArray[Any]:
        word = form.word(self.settings.arithmetic.rounding, self.settings.arithmetic.overflow)
        return quantize(real, fraction_bits_of(form, real.ndim), word)

    @staticmethod
    def _real(held: Held) -> Any:
        """Return a value as real numbers."""
        if held.format is None:
            return held.value
        return answer(Tensor("", held.real, held.array.shape, None, held.format), held.array, raw=False)

    # Sections

    def _advance(
        self, env: dict[str, Held], tallies: dict[str, Tally] | None, alone: list[Event] | None = None
    ) -> Iterator[tuple[Section, Arrays]]:
        """Give the sections one after the other, to be run before the next is asked for, and what they are fed."""
        start, needs = 0, frozenset[str]()
        nodes = self.graph.nodes
        while start < len(nodes):
            section = self._section(start, env, needs)
            inputs = {t.name: env[t.name].value for t in section.plan.inputs}
            if section.count:
                yield section, inputs
            start += section.count
            if start == len(nodes):
                break
            node = nodes[start]
            if section.needs is None:
                self._perform(node, env, tallies, alone)
                start += 1
            elif section.count == 0 and needs.issuperset(section.needs):
                raise UnsupportedError(f"{node}: {', '.join(section.needs)} decides shapes, and is not known in time")
            needs = frozenset(section.needs or ())
            if needs - env.keys():
                raise UnsupportedError(f"{node}: the elements of '{min(needs - env.keys())}' are not known in time")
            self._forget(start, env)

    def _section(self, start: int, env: Mapping[str, Held], needs: frozenset[str]) -> Section:
        """Return the section that begins at a node, planned when it is first needed.

        Parameters
        ----------
        needs
            Tensors whose elements the plan must have.
        """
        nodes = self.graph.nodes[start:]
        read = {name for node in nodes for name in node.reads} | set(self.wanted)
        constants, inputs, encoded = dict(self.graph.constants), {}, set()
        wanted = replace(self.graph, nodes=nodes, inputs=tuple(Value(name) for name in env if name in read))
        valued = (value_inputs(wanted) & {name for name in env if decides(env[name].value)}) | needs
        key: list[Any] = [start]
        for name in sorted(env.keys() & read):
            held = env[name]
            if not isinstance(held.value, np.ndarray):
                continue  # only nodes that run alone read it
            if name in needs and held.value.size > MAX_SHAPE_ELEMENTS:
                raise UnsupportedError(
                    f"the elements of '{name}' decide shapes or options, and it has {held.value.size:,} of them: "
                    f"at most {MAX_SHAPE_ELEMENTS:,} are supported"
                )
            real = self._real(held) if name in valued else held.value
            fixed = self.fixed is not None and not self.fixed.formats.is_partial
            without_format = held.format is None and held.value.dtype.kind == "f" and fixed
            if held.is_known or name in valued or (without_format and self._format(name, held) is None):
                key.append((name, digest(real)))
                if held.is_known and start:
                    constants[name] = real
                else:
                    inputs[name] = Tensor(name, real.dtype, real.shape, real)
                continue
            assert held.dtype is not None
            inputs[name] = Tensor(name, held.dtype, held.value.shape)
            key.append((name, held.dtype, held.value.shape, held.format))
            if held.format is not None:
                encoded.add(name)
        graph = replace(wanted, constants=constants, inputs=tuple(Value(name, t.dtype) for name, t in inputs.items()))
        make = lambda: plan_section(  # noqa: E731
            graph, inputs, self.fixed, self.settings.max_elements, frozenset(encoded)
        )
        return self._sections.get(tuple(key), make)

    def _take(self, plan: Plan, made: Arrays, env: dict[str, Held]) -> None:
        """Keep what a section made."""
        for name, tensor in plan.outputs.items():
            if tensor.value is not None:
                if name not in env:
                    env[name] = Held(tensor.value, None, is_known=True)
            elif name in made and name not in env:
                env[name] = Held(made[name], tensor.format, real=tensor.dtype)

    def _forget(self, start: int, env: dict[str, Held]) -> None:
        read = {name for node in self.graph.nodes[start:] for name in node.reads} | set(self.wanted)
        for name in env.keys() - read:
            del env[name]

    # Nodes that run alone

    def _perform(
        self, node: Node, env: dict[str, Held], tallies: dict[str, Tally] | None, alone: list[Event] | None
    ) -> None:
        inputs = [self._lookup(name, env) if name else Held(None) for name in node.inputs]
        leaves = not node.graphs and any(held.format is not None for held in inputs)
        if node.graphs:
            with node.errors_named():
                found = control_flow.perform(
                    node, inputs, lambda attribute, args: self._call(node, attribute, args, env)
                )
            if len(found) < len([name for name in node.outputs if name]):
                raise ModelError(f"{node}: gives {len(found)} outputs, {len(node.outputs)} are asked for")
        elif self.fixed is not None and isinstance(op := find(node), Custom) and op.is_exact:
            with node.errors_named():
                values, arithmetic = self.graph.values, self.settings.arithmetic
                found = custom_nodes.perform(node, op, inputs, values, self.fixed.formats, arithmetic, tallies)
        else:
            if leaves and self.settings.strict:
                raise UnsupportedError(f"{node}: strict: no fixed-point rule; it would run as a float32 island")
            reals = [self._real(held) for held in inputs]
            found = [Held(value) for value in compute(node, reals, self.graph.values)]
        for name, held in zip(node.outputs, found, strict=False):
            if not name:
                continue
            with node.errors_named():
                env[name] = self._stored(name, held, node, tallies)
            if not isinstance(env[name].value, np.ndarray):
                continue
            event = replace(self._event(name, env[name], node), reads_codes=leaves)
            if alone is not None:
                alone.append(event)
            elif self.settings.watch is not None:
                self.settings.watch(event.tensor, event.array)

    def _lookup(self, name: str, env: Mapping[str, Held]) -> Held:
        if name in env:
            return env[name]
        if name in self.graph.constants:
            return Held(self.graph.constants[name], None, is_known=True)
        raise ModelError(f"tensor '{name}' does not exist when it is read")

    def _stored(self, name: str, held: Held, node: Node, tallies: dict[str, Tally] | None) -> Held:
        """Return an output as a run keeps it: codes, where the tensor is in fixed point."""
        form = self._format(name, held)
        if node.activation is not None and held.format is None:
            held = Held(bounded(held.array, node.activation.low, node.activation.high))
        if form is None or not isinstance(held.value, np.ndarray):
            return held
        if held.format == form:
            return held
        real = self._real(held)
        if real.dtype.kind != "f":
            return held
        if not node.graphs and self.settings.strict:
            raise UnsupportedError("strict: no fixed-point rule; it would run as a float32 island")
        tally = None if tallies is None else tallies.setdefault(name, new_tally())
        return Held(codes_of(real, name, form, self.settings.arithmetic, tally), form, real=real.dtype)

    def _event(self, name: str, held: Held, node: Node | None) -> Event:
        assert held.dtype is not None
        return Event(Tensor(name, held.dtype, held.value.shape, None, held.format), held.value, node)

    def _call(self, node: Node, attribute: str, args: Sequence[Held], env: Mapping[str, Held]) -> list[Held]:
        """Run the graph in an attribute."""
        graph = node.graphs[attribute]
        if len(args) != len(graph.inputs):
            raise ModelError(f"'{attribute}' takes {len(graph.inputs)} inputs, {len(args)} given")
        feeds = {value.name: held for value, held in zip(graph.inputs, args, strict=True)}
        reads = {name for inner in graph.nodes for name in inner.reads} | {value.name for value in graph.outputs}
        for name in node.captures:
            if name in reads and name not in self.graph.constants:
                feeds[name] = self._lookup(name, env)
        flow = self._flow_of(node, attribute, feeds)
        found = flow.run(feeds)
        return [found[value.name] for value in graph.outputs]

    def _flow_of(self, node: Node, attribute: str, feeds: Mapping[str, Held]) -> Flow:
        """Return the flow of the graph in an attribute, closed: what it captures are inputs and constants."""
        kinds = tuple((name, held.format, held.dtype) for name, held in feeds.items())
        key = (id(node), attribute, kinds)
        if key not in self._inner:
            graph = node.graphs[attribute]
            own = {value.name: value for value in graph.inputs}
            inputs = []
            for name, held in feeds.items():
                inputs.append(Value(name, held.dtype, own[name].shape if name in own else None))
            captured = {name: self.graph.constants[name] for name in node.captures if name in self.graph.constants}
            formats = {n: h.format for n, h in feeds.items() if n not in own and h.format is not None}
            network = self.network.inside(graph, inputs, captured, formats)
            outputs = tuple(dict.fromkeys(value.name for value in graph.outputs))
            self._inner[key] = Flow(network, outputs, self.settings)
        return self._inner[key]


def decides(value: Any) -> bool:
    """Whether a plan may depend on the elements of an input: those of a number, or of a vector that is not long."""
    return isinstance(value, np.ndarray) and value.ndim <= 1 and value.size <= MAX_SHAPE_ELEMENTS
