"""Network: a model, the graph after the passes, and the formats of both.

The passes (`model/passes`) rewrite the loaded graph in stages: one resolves the quantization that the model has, later
ones fold, fuse and remove nodes. A network keeps the graph of every stage, because a caller may request any tensor of
the model, also for one that a pass removed. Such a tensor is computed from the last stage that has it, in addition to
the optimized graph, and no other tensor changes. Formats are assigned once, for the optimized graph.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from qengine.errors import OptionError, did_you_mean
from qengine.model.eager import single_node
from qengine.model.formats.assign import FormatRequest, assign_formats
from qengine.model.formats.files import parse_format
from qengine.model.formats.formattable import Formattable
from qengine.model.formats.parts import whole_tensors
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops.support_check import check_supported
from qengine.model.passes import (
    AS_WRITTEN,
    Copies,
    activations_of,
    optimize,
    remove_dead,
    split_activations,
    with_hidden_outputs,
)
from qengine.model.rules import Modes, Rules
from qengine.model.static_values import known_tensors, real_inner_data, value_inputs
from qengine.model.steps import Tensor
from qengine.qformat import Format, QFormat
from qengine.runtime.control_flow import CONTROL
from qengine.runtime.plan.rule_notes import moves_of_codes, notes_on_recurrent_operators


def is_runnable(node: Node) -> bool:
    """Whether a node without a handler can run: it is control flow, or a function computes it."""
    return bool(node.graphs and node.operator in CONTROL and not node.domain) or single_node.is_computable(node)


class Network:
    """A model, the graph after the passes, and the formats of both.

    Parameters
    ----------
    model
        The graph as it was loaded.
    request
        Formats that the user requests; None for those that a quantized model has, and for float32.
    as_float32
        Whether to ignore the formats that a quantized model has.
    around
        Inputs of a graph inside of a node that are known tensors of the graph around it.
    data
        Inputs that are data, even where their elements decide shapes.
    gives_hidden, gives_sums
        Whether runs also compute the tensors inside of nodes, and the sums that fused activations bound.

    Attributes
    ----------
    model : graph as it was loaded, with names inside of nodes, joins taken apart, and conversions of formats.
    optimized : graph after the passes.
    as_float32 : whether the formats that a quantized model has are ignored.
    request : formats that were requested, or an empty request for a quantized model; None in float32.
    value_inputs : inputs whose elements decide shapes.
    known : tensors whose elements are known before a run; see `known_tensors`.
    table : format of every tensor; None in float32.

    Raises
    ------
    QEngineError
        If an operator is not supported, or the formats do not fit the model.
    """

    def __init__(
        self,
        model: Graph,
        request: FormatRequest | None,
        *,
        as_float32: bool = False,
        around: frozenset[str] = frozenset(),
        data: frozenset[str] = frozenset(),
        gives_hidden: bool = False,
        gives_sums: bool = False,
    ) -> None:
        self._branches: dict[tuple[int, str], tuple[Node, Graph]] = {}  # with the node, so that its id stays its own
        check_supported(model, is_runnable)
        self._gives_hidden, self._gives_sums = gives_hidden, gives_sums
        fuses = model.fuses if request is None else request.fuses
        model = replace(model, whole=_whole(model, request), given=_given(request), fuses=fuses)
        self._by_fusing: dict[bool, Network] = {fuses: self}
        self._stages = optimize(model, gives_hidden=gives_hidden)
        self._copies = Copies(self._stages[AS_WRITTEN])
        self.model, self.optimized = self._stages[AS_WRITTEN + 1], self._stages[-1]
        if gives_sums:
            self.optimized = split_activations(self.model, self.optimized)
        self.value_inputs = value_inputs(self.model) - data
        self.known = known_tensors(self.model, self.value_inputs | around)
        self._formattable = Formattable(self.model, self.optimized, self.known)
        self._assign(request, as_float32)

    def _assign(self, request: FormatRequest | None, as_float32: bool) -> None:
        self.as_float32, self._requested = as_float32, request
        if request is None and self.model.formats is not None and not as_float32:
            request = FormatRequest(fuses=self.source.fuses)
        self.request = request
        self.table = None if request is None else assign_formats(self._formattable, request)

    def with_request(self, request: FormatRequest | None, *, as_float32: bool = False) -> "Network":
        """Return the same network with another request; the passes run again only if it changes what they do."""
        fuses = self.source.fuses if as_float32 else request is None or request.fuses
        if fuses != self.source.fuses:
            return self.fusing(fuses).with_request(request, as_float32=as_float32)
        if request is not None and not self._suits(request):
            return Network(self.source, request, as_float32=as_float32, gives_hidden=self._gives_hidden)
        other = copy.copy(self)
        other._branches = {}
        other._assign(request, as_float32)
        return other

    def fusing(self, fuses: bool) -> "Network":
        """Return a network of the same model in float32, whose passes compute functions as one operator, or do not."""
        if fuses not in self._by_fusing:
            source = replace(self.source, fuses=fuses)
            self._by_fusing[fuses] = Network(source, None, as_float32=True, gives_hidden=self._gives_hidden)
            self._by_fusing[fuses]._by_fusing = self._by_fusing
        return self._by_fusing[fuses].with_request(None, as_float32=True)

    def _suits(self, request: FormatRequest) -> bool:
        """Whether the passes give the same graphs with another request."""
        converted = (self._copies.converted(given) for given in (self.source.given, _given(request)))
        return _whole(self.source, request) == self.source.whole and len(set(converted)) == 1

    def with_model(self, model: Graph) -> "Network":
        """Return the network of another graph with the same request."""
        return Network(model, self._requested, as_float32=self.as_float32, gives_hidden=self._gives_hidden)

    def giving_hidden(self) -> "Network":
        """Return the same network, whose runs compute the tensors inside of nodes too."""
        if self._gives_hidden or not _has_hidden(self.model):
            return self
        return Network(self.source, self._requested, as_float32=self.as_float32, gives_hidden=True)

    def giving_sums(self) -> "Network":
        """Return the same network, whose runs compute what fused activations bound too, in the graphs of nodes too."""
        return Network(
            self.source,
            self._requested,
            as_float32=self.as_float32,
            gives_hidden=self._gives_hidden,
            gives_sums=True,
        )

    def of_inner_graph(
        self,
        graph: Graph,
        inputs: Sequence[Value],
        constants: Mapping[str, NDArray[Any]],
        captured: Mapping[str, Format],
        known: frozenset[str],
    ) -> "Network":
        """Return the network of a graph inside of a node, with the part of the request that names its tensors.

        Parameters
        ----------
        graph
            The graph in an attribute of the node.
        inputs
            Inputs of the graph, and tensors around it that it reads.
        constants
            Constants around the graph that it reads.
        captured
            Formats of the tensors around the graph that it reads.
        known
            Tensors around the graph that it reads and whose elements are known before a run.
        """
        inputs = [self._with_shape(value) for value in inputs]
        closed = replace(
            graph,
            inputs=tuple(inputs),
            constants={**constants, **graph.constants},
            values={**graph.values, **{value.name: value for value in inputs}},  # captured tensors are inputs too
            fuses=self.source.fuses,
        )
        request = self.request
        if request is not None:
            assert self.table is not None
            # The inputs also hold what another graph of the same node captures; nothing reads it here.
            names = {name for node in closed.nodes for name in (*node.reads, *node.outputs)}
            names |= {value.name for value in inputs} | closed.inner_tensors()
            formats = {name: fmt for name, fmt in request.formats.items() if name in names}
            formats |= captured
            own = {value.name for value in graph.inputs}
            around = frozenset(constants) | {value.name for value in inputs if value.name not in own}
            request = replace(request, formats=formats, is_partial=self.table.is_partial, around=around, is_inner=True)
        data = real_inner_data(graph, inputs)
        return Network(
            closed,
            request,
            as_float32=self.as_float32,
            around=known,
            data=data,
            gives_hidden=self._gives_hidden,
            gives_sums=self._gives_sums,
        )

    def _with_shape(self, value: Value) -> Value:
        """Return the value of a tensor with the shape that this graph declares, where it has none."""
        around = self._declared.get(value.name)
        return value if value.shape is not None or around is None else replace(value, shape=around.shape)

    @cached_property
    def _declared(self) -> Mapping[str, Value]:
        return {value.name: value for value in self.model.inputs} | dict(self.model.values)

    def branch(
        self, node: Node, attribute: str, captured: Mapping[str, Tensor], constants: Mapping[str, NDArray[Any]]
    ) -> Graph:
        """Return a branch of an If after the passes; see `planner.Branches`."""
        key = id(node), attribute
        if key not in self._branches:
            inputs = [Value(name, t.dtype) for name, t in captured.items() if name not in constants]
            graph = node.graphs[attribute]
            network = self.of_inner_graph(graph, inputs, constants, {}, frozenset())
            outputs = tuple(dict.fromkeys(value.name for value in graph.outputs))
            closed = replace(network.graph_with_outputs(outputs), outputs=graph.outputs)
            self._branches[key] = node, closed
        return self._branches[key][1]

    def with_rules(self, rules: Rules, given: Modes) -> Rules:
        """Return rules with those that a quantized model has for its tensors, unless other formats replace its own.

        Parameters
        ----------
        rules
            The rules of a run.
        given
            Rounding and overflow that the user gives all tensors, which replace the model's.

        Raises
        ------
        OptionError
            If the rules name a tensor that the model does not have.
        """
        existing: set[str] = set()
        if rules.tensors:
            existing = self._stages[0].tensors() | self.model.tensors() | self.model.inner_tensors()
        for name in rules.tensors:
            if name not in existing:
                raise OptionError(
                    f"rules name '{name}', and the model has no such tensor{did_you_mean(name, existing)}"
                )
        renamed = {self.model.aliases.get(n, n): modes for n, modes in rules.tensors.items()}
        own = {name: given.over(modes) for name, modes in self._own_rules.items()} if given != Modes() else {}
        return self.with_own_rules(replace(rules, tensors=_over(renamed, own)))

    @property
    def _own_rules(self) -> Mapping[str, Modes]:
        """The rules that a quantized model has for its tensors; none where other formats replace its own."""
        return self.model.rules if self.request is not None and self.request.qformat is None else {}

    def with_own_rules(self, rules: Rules) -> Rules:
        """Return rules with those of a quantized graph, as `with_rules`; a graph inside of a node has some too.

        A result and that of the Relu or Clip which is fused into its operator are rounded once, so they share modes.
        """
        tensors = _over(rules.tensors, self._own_rules)
        for before, after in self._fused.items() if tensors else ():
            if before in tensors or after in tensors:
                both = tensors.get(before, Modes()).over(tensors.get(after, Modes()))
                tensors |= {before: both, after: both}
        return replace(rules, tensors=tensors) if tensors else rules

    @cached_property
    def _fused(self) -> Mapping[str, str]:
        """The result of each fused Relu or Clip, by the tensor that it bounds."""
        return {node.inputs[0]: name for name, node in activations_of(self.model, self.optimized).items()}

    def notes_on_rules(self, rules: Rules) -> tuple[str, ...]:
        """Return a note on each tensor that rules name and that a run does not round, and on recurrent operators."""
        rounded = self.optimized.tensors() | self.optimized.inner_tensors() | self.model.constants.keys()
        rounded |= self._fused.keys() | self.source.constants.keys()
        assert self.table is not None
        without_format, reasons = self._constants_without_format(), {}
        moved = moves_of_codes(self.optimized, self.table) if rules.tensors else {}
        for name in rules.tensors:
            own = self.model.aliases.get(name, name)
            if own not in rounded:
                reasons[name] = "as the run does not compute it"
            elif own in without_format:
                reasons[name] = "as the constant has no format of its own; biases have bias.rounding"
            elif own in moved:
                node = moved[own]
                reasons[name] = f"as {node.operator} moves codes of '{node.inputs[0]}' and rounds none"
        notes = tuple(f"a rule for '{name}' has no effect, {reason}" for name, reason in reasons.items())
        return (*notes, *notes_on_recurrent_operators(rules)) if _has_hidden(self.optimized) else notes

    def _constants_without_format(self) -> set[str]:
        """Return the constants that a run reads without a format: biases, bounds, what passes folded into others."""
        assert self.table is not None
        held = {self.optimized.derived.get(name, name) for name in self.table.constants}
        return self.model.constants.keys() - held - self.table.shape_constants.keys() - self.model.inner_tensors()

    @property
    def source(self) -> Graph:
        """The graph as it was loaded."""
        return self._stages[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: how the model was read, and which requests have no effect."""
        return (*self.model.notes, *(self.table.notes if self.table else ()))

    def encoded_constants(self, names: tuple[str, ...], rules: Rules) -> dict[str, Tensor]:
        """Return those of the names that are constants in fixed point, with the values and formats of the run.

        A constant that the passes replaced by several different ones is left out, as none of them equals it.

        Parameters
        ----------
        names
            Names of tensors.
        rules
            Rules of the run, which say how constants are rounded.
        """
        tensors: dict[str, Tensor] = {}
        if self.table is None:
            return tensors
        for name in names:
            derived = [n for n in self.table.constants if self.optimized.derived.get(n, n) == name]
            if name in self.model.constants and len(derived) == 1:
                array = self.optimized.constants[derived[0]]
                fmt, encoding = self.table.constants[derived[0]], rules.modes("constants", name)
                tensors[name] = Tensor(name, array.dtype, array.shape, array, fmt, encoding=encoding)
        return tensors

    def graph_with_outputs(self, names: tuple[str, ...]) -> Graph:
        """Return the optimized graph with other outputs.

        A tensor that a pass removed is computed by the nodes that computed it just before that pass. They are added
        to the optimized graph, and no other tensor changes.

        Raises
        ------
        OptionError
            If the model has no tensor of a name.
        """
        existing = self._stages[0].tensors() | self.model.tensors()
        for name in names:
            if name not in existing:
                raise OptionError(f"the model has no tensor '{name}'{did_you_mean(str(name), existing)}")
        optimized = with_hidden_outputs(self.optimized, names)
        nodes, constants = list(optimized.nodes), dict(optimized.constants)
        available = optimized.tensors()
        merged = {name: self.model.aliases[name] for name in names if name in self.model.aliases}
        wanted = (set(names) - merged.keys()) | set(merged.values())
        for stage in reversed(self._stages[:-1]):
            needed = (wanted - available) & stage.tensors()
            removed: list[Node] = []
            for node in reversed(stage.nodes):
                if needed.intersection(node.outputs):
                    removed.append(replace(node, outputs=tuple("" if n in available else n for n in node.outputs)))
                    needed.update(n for n in node.reads if n not in available)
            nodes += reversed(removed)
            constants |= {name: stage.constants[name] for name in needed if name in stage.constants}
            available |= needed
        nodes += [Node("Identity", (real,), (name,)) for name, real in merged.items()]
        outputs = tuple(self.model.values.get(name, Value(name)) for name in names)
        graph = remove_dead(replace(self.optimized, nodes=tuple(nodes), outputs=outputs, constants=constants))
        return with_hidden_outputs(graph) if self._gives_hidden else graph


def _over(modes: Mapping[str, Modes], general: Mapping[str, Modes]) -> dict[str, Modes]:
    """Return modes of tensors, with those of more general ones where they are None."""
    return {**general, **{name: one.over(general.get(name, Modes())) for name, one in modes.items()}}


def _whole(model: Graph, request: FormatRequest | None) -> frozenset[str]:
    """Return the tensors that a request gives one format, as far as joins are concerned."""
    if request is None:
        return frozenset()
    return whole_tensors(model, request.formats, has_rest=request.qformat is not None)


def _given(request: FormatRequest | None) -> dict[str, Format]:
    """Return the formats that a request gives single tensors."""
    single = {} if request is None else {n: fmt for n, fmt in request.formats.items() if isinstance(fmt, str | QFormat)}
    parsed = {name: parse_format(name, fmt) for name, fmt in single.items()}
    return {name: fmt for name, fmt in parsed.items() if isinstance(fmt, QFormat)}


def _has_hidden(graph: Graph) -> bool:
    """Whether a node of a graph, at any depth, has tensors inside of it that have names."""
    return any(node.hidden or any(map(_has_hidden, node.graphs.values())) for node in graph.nodes)
