"""Chains: all operators between two tensors that compute one from the other, element by element, as one function.

Exporters and networks write functions in many operators: an activation, then times a number, then plus a number; x
times a function of x. In fixed point each of them would round. Whatever they are, together they are a function of one
variable, which is one table with one rounding. `recognise_functions` gives well-known functions their names before;
this pass needs no formulas, and takes what is left.

The search begins at the result of each operator, from the last to the first, and walks back. The *open* tensors are
those that the operators found so far read and do not compute. The open tensor that is computed last is replaced by
those that its operator reads, as long as that operator works element by element and nothing else reads the tensor.
Whenever one tensor alone is open, the operators found so far are a function of it. The longest such part is taken: it
has all paths from the variable to the result, so x * f(x) is as good as f(g(x)).

The pass comes after those that fold operators into linear ones and fuse bounds: nothing is lost to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from qengine.errors import QEngineError
from qengine.model.graph import CHAIN_DOMAIN, Chain, Graph, Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.chain import is_elementwise
from qengine.model.ops.operator import find
from qengine.model.steps import Combine, Join, Move, Step, Table, Tensor

_KINDS = {Table, Combine, Join, Move}
_ROUNDING = (Table, Combine, Join)
_REALS = (np.dtype(np.float32), np.dtype(np.float64))
_MAX_OPERATORS = 64
"""Largest number of operators in a chain: a kernel for more would take long to compile."""

_LENGTH = 2
"""Length of the axes of the tensors on which operators are tried."""


def fuse_chains(graph: Graph) -> Graph:
    """Make one operator of each longest chain of operators of which two or more would round."""
    candidates = _Candidates.of(graph)
    taken: set[int] = set()
    made: dict[int, Node] = {}  # by position of the last operator of the chain
    for place in reversed(range(len(graph.nodes))):
        if place not in taken and (found := candidates.chain_before(place)):
            made[place] = _chain_node(graph, found)
            taken.update(found.places)
    nodes = (made.get(i, node) for i, node in enumerate(graph.nodes) if i in made or i not in taken)
    return replace(graph, nodes=tuple(nodes))


def inner_tensors(node: Node) -> tuple[str, ...]:
    """Return the tensors that a chain computes on the way, which nothing rounds; none for other nodes."""
    chain = node.attributes.get("chain") if node.domain == CHAIN_DOMAIN else None
    return tuple(one.outputs[0] for one in chain.nodes[:-1]) if isinstance(chain, Chain) else ()


@dataclass(frozen=True)
class _Found:
    """A chain in a graph.

    Attributes
    ----------
    variable : tensor that it is a function of.
    places : positions of its operators.
    """

    variable: str
    places: frozenset[int]


@dataclass(frozen=True)
class _Candidates:
    """The operators of a graph that work element by element.

    Attributes
    ----------
    steps : step of each on tensors of a small shape, by position.
    reads : tensors that each reads, without constants, by position.
    place : position of the node that computes a tensor.
    readers : positions of the nodes that read a tensor.
    kept : tensors that no chain may remove: outputs, and those that a quantized model rounds.
    """

    steps: dict[int, Step]
    reads: dict[int, set[str]]
    place: dict[str, int]
    readers: dict[str, set[int]]
    kept: set[str]

    @classmethod
    def of(cls, graph: Graph) -> _Candidates:
        """Return the candidates of a graph."""
        steps: dict[int, Step] = {}
        reads: dict[int, set[str]] = {}
        place: dict[str, int] = {}
        readers: dict[str, set[int]] = {}
        for i, node in enumerate(graph.nodes):
            place.update((name, i) for name in node.outputs if name)
            for name in node.reads:
                readers.setdefault(name, set()).add(i)
            step = _elementwise_step(node, graph)
            if step is not None:
                steps[i] = step
                reads[i] = {name for name in node.inputs if name and name not in graph.constants}
        kept = {value.name for value in graph.outputs} | (graph.formats or {}).keys()
        return cls(steps, reads, place, readers, kept)

    def chain_before(self, last: int) -> _Found | None:
        """Return the longest chain that ends with an operator; None if there is none of which two would round."""
        longest = None
        for variable, places in self._cuts(last):
            if sum(isinstance(self.steps[i], _ROUNDING) for i in places) > 1:
                longest = _Found(variable, places)
        return longest

    def _cuts(self, last: int) -> Iterator[tuple[str, frozenset[int]]]:
        """Yield the positions of operators that are functions of one variable, and the variable, from short to long."""
        if last not in self.steps:
            return
        places, opened = {last}, set(self.reads[last])
        while opened and len(places) <= _MAX_OPERATORS:
            if len(opened) == 1:
                yield next(iter(opened)), frozenset(places)
            latest = max(opened, key=lambda name: self.place.get(name, -1))
            at = self.place.get(latest)
            if at not in self.steps or latest in self.kept or not self.readers[latest] <= places:
                return
            places.add(at)
            opened = opened - {latest} | self.reads[at]


def _elementwise_step(node: Node, graph: Graph) -> Step | None:
    """Return the step of an operator on small tensors, if it is real arithmetic element by element; else None."""
    kinds = set(find(node).kinds)
    if len(node.outputs) != 1 or not kinds & _KINDS or (Move in kinds and find(node).name not in _MOVES):
        return None
    value = graph.values.get(node.outputs[0])
    if value is None or value.dtype is None or value.dtype not in _REALS:
        return None
    constants = {name: graph.constants[name] for name in node.inputs if name in graph.constants}
    tensors = [name for name in node.inputs if name and name not in constants]
    shapes = [of.shape for name in tensors if (of := graph.values.get(name)) is not None and of.shape is not None]
    least = min((len(shape) for shape in shapes), default=0) if len(shapes) == len(tensors) else 0
    if not tensors or any(array.size != 1 or array.ndim > least for array in constants.values()):
        return None
    if any(array.dtype.kind == "f" and np.isnan(array).any() for array in constants.values()):
        return None
    shape, dtype = (_LENGTH,) * max(least, 1), value.dtype

    def tensor(name: str) -> Tensor:
        array = constants.get(name)
        return Tensor(name, dtype, shape) if array is None else Tensor(name, array.dtype, array.shape, array)

    try:
        steps = make_steps(node, tensor)
    except QEngineError:  # the operator takes no such inputs
        return None
    step = steps[0]
    fits = len(steps) == 1 and step.shape == shape and (is_elementwise(step) or node.operator == "Identity")
    return step if fits else None


_MOVES = ("Relu", "Clip", "Identity")


def _chain_node(graph: Graph, found: _Found) -> Node:
    nodes = tuple(graph.nodes[i] for i in sorted(found.places))
    read = {name for node in nodes for name in node.inputs}
    constants = {name: graph.constants[name] for name in sorted(read & graph.constants.keys())}
    chain = Chain(found.variable, nodes, constants)
    names = [label for node in nodes for label in _labels(node)]
    last = nodes[-1]
    return Node("·".join(names), (found.variable,), last.outputs, {"chain": chain}, last.name, CHAIN_DOMAIN)


def _labels(node: Node) -> list[str]:
    """Return the name of an operator, and that of the bounds that are fused into it."""
    if node.activation is None:
        return [node.operator]
    return [node.operator, "Relu" if node.activation.low == 0.0 and node.activation.high is None else "Clip"]
