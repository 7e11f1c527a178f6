"""Graphs inside of nodes: planned once for the shapes of their inputs, and then entered without planning.

The body of a Loop may run thousands of times, each a few microseconds long. To find its plan by all that a plan depends
on would take a hundred times as long. So an `InnerGraph` remembers how it ran for inputs of some shapes, types and
formats, and with some elements where these decide shapes. If it was a single section, the next call with such inputs
runs the plan of that section at once (`_Straight`). All other calls go through a `SectionedPlan`.

A body that is a straight run of native kernels is repeated by machine code, see `native_loop`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import ModelError, QEngineError
from qengine.lru_cache import LruCache
from qengine.model.graph import Node, Value
from qengine.runtime.control_flow import BODY, Iterations, Repeated, Repetition, left_out
from qengine.runtime.environment import Environment, real_numbers
from qengine.runtime.native.native_loop import Body, NativeLoop, NotRepeatable, Role, Source
from qengine.runtime.standalone_nodes import is_island
from qengine.runtime.values import RuntimeValue

if TYPE_CHECKING:
    from qengine.runtime.sections import SectionedPlan, StraightRun

_CACHED_SHAPES = 256
_SMALL_BYTES = 1024
_NUMBER = RuntimeValue(np.array(0, np.int64))
_CONDITION = RuntimeValue(np.array(True))

Signature = tuple[Any, ...]


@dataclass
class _Straight:
    """A call that is a single section.

    Attributes
    ----------
    run : the section, and where its inputs and outputs are.
    elements : place and array of each input with many elements, on which the plan depends.
    iterations : the run that these arrays belong to; another run may have changed them.
    loop : the native loop of the graph; None where there is none, or none yet.
    may_loop : whether there may be one.
    """

    run: StraightRun
    elements: tuple[tuple[int, NDArray[Any]], ...]
    iterations: Iterations
    loop: NativeLoop | None = None
    may_loop: bool = True

    def serves(self, values: Sequence[RuntimeValue], iterations: Iterations) -> bool:
        """Whether elements that the plan depends on are still the same."""
        if not self.elements:
            return True
        return iterations is self.iterations and all(values[i].value is array for i, array in self.elements)


class InnerGraph:
    """A graph in an attribute of a node of a sectioned plan.

    Parameters
    ----------
    owner
        The plan.
    node, attribute
        The node, and the name of the attribute.
    """

    def __init__(self, owner: SectionedPlan, node: Node, attribute: str) -> None:
        self.owner, self.node, self.attribute = owner, node, attribute
        self.graph = graph = node.graphs[attribute]
        self._own = {value.name: value for value in graph.inputs}
        reads = {name for inner in graph.nodes for name in inner.reads} | {value.name for value in graph.outputs}
        constants = owner.graph.constants
        self._captured = tuple(name for name in node.captures if name in reads and name not in constants)
        self._names = (*(value.name for value in graph.inputs), *self._captured)
        self._plans: dict[Any, SectionedPlan] = {}
        self._straight: LruCache[_Straight] = LruCache(_CACHED_SHAPES)
        self._decisive: dict[Signature, tuple[int, ...]] = {}  # places of inputs whose elements a plan depends on

    def run(self, args: Sequence[RuntimeValue], env: Environment) -> list[RuntimeValue]:
        """Return the outputs of the graph, given its inputs and the values around the node."""
        if len(args) != len(self._own):
            raise ModelError(f"'{self.attribute}' takes {len(self._own)} inputs, {len(args)} given")
        if self.attribute == BODY:
            env.iterations.add()
        values = [*args, *self._captures(env)]
        signature = _signature(values)
        straight = self._find(signature, values, env)
        if straight is not None:
            return straight.run.outputs(values)
        feeds = dict(zip(self._names, values, strict=True))
        plan = self._plan(feeds)
        outputs = plan.run(feeds, env.iterations)
        if signature is not None:
            made = plan.straight_run(feeds, self._names, tuple(value.name for value in self.graph.outputs))
            if made is not None:
                if len(self._decisive) >= _CACHED_SHAPES:
                    self._decisive.clear()
                self._decisive[signature] = made.decisive
                elements = tuple((i, values[i].value) for i in made.decisive if not _is_small(values[i].value))
                key = _key(signature, values, made.decisive)
                self._straight.put(key, _Straight(made, elements, env.iterations))
        return [outputs[value.name] for value in self.graph.outputs]

    def repeat(self, repetition: Repetition, env: Environment) -> Repeated | None:
        """Return the results of iterations that machine code ran; None where it cannot. See `Graphs.repeat`."""
        counts = [] if repetition.rows else [_NUMBER, _CONDITION]
        rows = [replace(value, value=value.array[0, ...]) for value in repetition.rows]
        args = [*counts, *repetition.states, *rows]
        if len(args) != len(self._own):
            return None
        values = [*args, *self._captures(env)]
        signature = _signature(values)
        straight = self._find(signature, values, env)
        if straight is None or not straight.may_loop or any(i < len(args) for i in straight.run.decisive):
            return None
        if straight.loop is None:
            roles = [Role.NUMBER, Role.CONDITION][: len(counts)] + [Role.STATE] * len(repetition.states)
            roles += [Role.ROW] * len(rows) + [Role.FIXED] * len(self._captured)
            straight.loop = self._loop(straight.run, values, roles, len(repetition.states))
            straight.may_loop = straight.loop is not None
        if straight.loop is None:
            return None
        memory.require(straight.run.bytes, straight.run.plan.heaviest)
        arrays = [value.value for value in values]
        start = len(counts) + len(repetition.states)
        arrays[start : start + len(rows)] = [value.value for value in repetition.rows]
        progress = straight.loop.run(arrays, repetition.first, repetition.limit, env.iterations.add, str(self.node))
        likes = straight.run.likes[len(counts) // 2 :]
        found = [replace(like, value=array) for like, array in zip(likes, progress.states + progress.rows, strict=True)]
        count = len(progress.states)
        return Repeated(progress.count, progress.continues, found[:count], found[count:])

    def _find(self, signature: Signature | None, values: Sequence[RuntimeValue], env: Environment) -> _Straight | None:
        """Return how a call with such inputs goes; None where that is not known."""
        decisive = None if signature is None else self._decisive.get(signature)
        if signature is None or decisive is None:
            return None
        straight = self._straight.find(_key(signature, values, decisive))
        return straight if straight is not None and straight.serves(values, env.iterations) else None

    def _loop(
        self, run: StraightRun, values: Sequence[RuntimeValue], roles: Sequence[Role], states: int
    ) -> NativeLoop | None:
        executor = self.owner.settings.executor(run.plan) if self.owner.settings.executor else None
        if executor is None:
            return None
        counts = 1 if Role.CONDITION in roles else 0
        first = next((i for i, role in enumerate(roles) if role is Role.STATE), 0)
        for before, after in zip(values[first : first + states], run.likes[counts : counts + states], strict=True):
            is_same = before.format == after.format and before.dtype == after.dtype
            if not is_same or before.value.shape != after.value.shape:
                return None
        sources = tuple(
            Source(
                executor.outputs[part].key if isinstance(part, str) else None,
                part if isinstance(part, int) else None,
                part.value if isinstance(part, RuntimeValue) else None,
                like.value.shape,
                like.value.dtype,
            )
            for part, like in zip(run.parts, run.likes, strict=True)
        )
        try:
            return NativeLoop(Body(executor, tuple(roles), self._names, sources))
        except NotRepeatable:
            return None

    def _captures(self, env: Environment) -> list[RuntimeValue]:
        """Return the values around the node that the graph reads."""
        values = [env.lookup(name) for name in self._captured]
        return [RuntimeValue(real_numbers(value)) for value in values] if is_island(self.node) else values

    def _plan(self, feeds: Mapping[str, RuntimeValue]) -> SectionedPlan:
        """Return the plan of the graph, whose captured tensors become inputs and constants."""
        owner, node, own, graph = self.owner, self.node, self._own, self.graph
        known = frozenset(name for name, value in feeds.items() if name not in own and value.is_known)
        key = (known, tuple((name, value.format, value.dtype) for name, value in feeds.items()))
        if key not in self._plans:
            inputs = [Value(name, fed.dtype, own[name].shape if name in own else None) for name, fed in feeds.items()]
            constants = owner.graph.constants
            captured = {name: constants[name] for name in node.captures if name in constants}
            formats = {n: fed.format for n, fed in feeds.items() if n not in own and fed.format is not None}
            network = owner.network.of_inner_graph(graph, inputs, captured, formats, known)
            if is_island(node):
                network = network.with_request(None, as_float32=True)
            outputs = tuple(dict.fromkeys(value.name for value in graph.outputs))
            self._plans[key] = type(owner)(network, outputs, owner.settings)
        return self._plans[key]


def _signature(values: Sequence[RuntimeValue]) -> Signature | None:
    """Return everything except elements that a straight run depends on; None where a value is not a tensor."""
    found = []
    for value in values:
        array = value.value
        if type(array) is not np.ndarray:
            return None
        found.append((value.is_known, value.format, array.dtype, array.shape))
    return tuple(found)


def _is_small(array: NDArray[Any]) -> bool:
    return array.nbytes <= _SMALL_BYTES and array.dtype != object


def _key(signature: Signature, values: Sequence[RuntimeValue], decisive: tuple[int, ...]) -> tuple[Any, ...]:
    """Return a signature with those elements that a plan depends on, where they are few."""
    elements = [values[i].value for i in decisive]
    return (signature, *(array.tobytes() for array in elements if _is_small(array)))


class GraphsOfNode:
    """The graphs of a node, in a run: see `control_flow.Graphs`.

    Parameters
    ----------
    graphs
        The graphs by attribute.
    env
        The values around the node.
    """

    def __init__(self, graphs: Mapping[str, InnerGraph], env: Environment) -> None:
        self._graphs, self._env = graphs, env

    def __call__(self, attribute: str, inputs: Sequence[RuntimeValue]) -> list[RuntimeValue]:
        """Return the outputs of a graph."""
        return self._graphs[attribute].run(inputs, self._env)

    def run_left_out(self, node: Node, inputs: Sequence[RuntimeValue]) -> None:
        """Run the graphs that the inputs of the node leave out, as far as the values around it let them."""
        for attribute, args in left_out(node, inputs):
            try:
                self(attribute, args)
            except QEngineError:  # its branch is for other shapes
                continue

    def repeat(self, repetition: Repetition) -> Repeated | None:
        """Return the results of many iterations of the body."""
        return self._graphs[BODY].repeat(repetition, self._env)
