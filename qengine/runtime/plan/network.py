"""A model after the passes, its formats, and what to compute for the tensors that a run asks for."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from qengine.errors import OptionError, did_you_mean
from qengine.model.eager import single_node
from qengine.model.formats.assign import FormatRequest, assign_formats
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops import operator
from qengine.model.passes import optimize, remove_dead
from qengine.model.static_values import value_inputs
from qengine.model.steps import Tensor
from qengine.qformat import Format
from qengine.runtime.control_flow import CONTROL


def is_run(node: Node) -> bool:
    """Whether a node without a handler is run nevertheless."""
    return bool(node.graphs and node.operator in CONTROL and not node.domain) or single_node.is_computable(node)


class Network:
    """A model, the same after the passes, and the formats of both.

    Attributes
    ----------
    model, optimized : the graph as it was loaded, but for what stands for quantization; and after the passes.
    as_float32 : whether formats that a quantized model has are left aside.
    value_inputs : the inputs whose elements decide shapes.
    table : the formats; None in float32.

    Raises
    ------
    QEngineError
        If an operator is not supported, or the formats do not fit the model.
    """

    def __init__(self, model: Graph, request: FormatRequest | None, *, as_float32: bool = False) -> None:
        operator.check(model, is_run)
        self._stages = optimize(model)
        self.model, self.optimized = self._stages[1], self._stages[-1]
        self.value_inputs = value_inputs(self.model)
        self._ask(request, as_float32)

    def _ask(self, request: FormatRequest | None, as_float32: bool) -> None:
        self.as_float32, self._asked = as_float32, request
        if request is None and self.model.formats and not as_float32:
            request = FormatRequest()
        self.request = request
        self.table = None if request is None else assign_formats(self.model, self.optimized, request)

    def asking(self, request: FormatRequest | None, *, as_float32: bool = False) -> "Network":
        """Return the same network, whose passes are done, with another request."""
        other = copy.copy(self)
        other._ask(request, as_float32)
        return other

    def like(self, model: Graph) -> "Network":
        """Return a network of another graph with the same request."""
        return Network(model, self._asked, as_float32=self.as_float32)

    def inside(
        self,
        graph: Graph,
        inputs: Sequence[Value],
        constants: Mapping[str, NDArray[Any]],
        captured: Mapping[str, Format],
    ) -> "Network":
        """Return the network of a graph inside of a node, with the same request as far as it is of that graph.

        Parameters
        ----------
        graph
            Of the node.
        inputs
            Its own, and the tensors around it that it reads.
        constants
            Those around it that it reads.
        captured
            The formats of what it reads from around it.
        """
        closed = replace(
            graph,
            inputs=tuple(inputs),
            constants={**constants, **graph.constants},
            values={**graph.values, **{value.name: value for value in inputs}},  # what is captured is fed too
        )
        request = self.request
        if request is not None:
            assert self.table is not None
            # What another graph of the same node captures is here too, and nobody reads it.
            names = {name for node in closed.nodes for name in (*node.reads, *node.outputs)}
            names |= {value.name for value in inputs} | closed.inner_tensors()
            formats = {name: form for name, form in request.formats.items() if name in names}
            decide = value_inputs(closed)
            formats |= {name: form for name, form in captured.items() if name not in decide}
            request = replace(request, formats=formats, is_partial=self.table.is_partial)
        return Network(closed, request, as_float32=self.as_float32)

    @property
    def source(self) -> Graph:
        """The graph as it was loaded."""
        return self._stages[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the model is read, and what was asked for and has no effect."""
        return (*self.model.notes, *(self.table.notes if self.table else ()))

    def encoded(self, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return those of the names that are constants in fixed point, as the run reads them.

        A constant that passes turned into several different ones is left out: none of them is it.
        """
        found: dict[str, Tensor] = {}
        if self.table is None:
            return found
        for name in names:
            stands = [n for n in self.table.constants if self.optimized.derived.get(n, n) == name]
            if name in self.model.constants and len(stands) == 1:
                array = self.optimized.constants[stands[0]]
                found[name] = Tensor(name, array.dtype, array.shape, array, self.table.constants[stands[0]])
        return found

    def computing(self, names: tuple[str, ...]) -> Graph:
        """Return the optimized graph with other outputs.

        A tensor that a pass removed is computed as it was just before that pass, beside what was there: asking
        for it changes no other tensor, and tells what the run goes through as nearly as there is such a thing.

        Raises
        ------
        OptionError
            If the model has no tensor of a name.
        """
        existing = self._stages[0].tensors() | self.model.tensors()
        for name in names:
            if name not in existing:
                raise OptionError(f"the model has no tensor '{name}'{did_you_mean(str(name), existing)}")
        nodes, constants = list(self.optimized.nodes), dict(self.optimized.constants)
        available = self.optimized.tensors()
        merged = {name: self.model.aliases[name] for name in names if name in self.model.aliases}
        wanted = (set(names) - merged.keys()) | set(merged.values())
        for stage in reversed(self._stages[:-1]):
            needed = (wanted - available) & stage.tensors()
            beside: list[Node] = []
            for node in reversed(stage.nodes):
                if needed.intersection(node.outputs):
                    beside.append(replace(node, outputs=tuple("" if n in available else n for n in node.outputs)))
                    needed.update(n for n in node.reads if n not in available)
            nodes += reversed(beside)
            constants |= {name: stage.constants[name] for name in needed if name in stage.constants}
            available |= needed
        nodes += [Node("Identity", (real,), (name,)) for name, real in merged.items()]
        outputs = tuple(self.model.values.get(name, Value(name)) for name in names)
        return remove_dead(replace(self.optimized, nodes=tuple(nodes), outputs=outputs, constants=constants))
