"""A model looked at without a run: `inspect_model`, and what it finds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from qengine.analysis.inspection.counts import multiply_accumulates, parameters
from qengine.analysis.inspection.kinds import Kind, bodies, kinds, reads, runnable, supported
from qengine.analysis.inspection.shapes import Shapes, feeds_of, shapes_of
from qengine.analysis.report import losses
from qengine.errors import QEngineError, UnsupportedError
from qengine.model.formats.assign import Given
from qengine.model.graph import Dim, Graph, Node
from qengine.model.loader import load
from qengine.model.ops import operator
from qengine.model.ops.operator import Role, find
from qengine.model.static_values import known_tensors
from qengine.model.steps import Tensor
from qengine.qformat import Format, QFormat
from qengine.runtime.plan.network import is_runnable
from qengine.runtime.plan.plan import MAX_ELEMENTS
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

_LISTED = 5


@dataclass(frozen=True)
class NodeInfo:
    """One node of the model as it was written.

    Attributes
    ----------
    name : the model's name of it, or its first output.
    operator, domain : what it computes; the domain of ONNX itself is "".
    kind : see `qengine.analysis.inspection.MEANINGS`.
    outputs : tensors.
    macs : multiply-accumulates of one run; None where shapes are missing.
    within : the node whose graph holds it; "" in the model's own.
    """

    name: str
    operator: str
    domain: str
    kind: Kind
    outputs: tuple[str, ...]
    macs: int | None
    within: str

    def __str__(self) -> str:
        return str(Node(self.operator, (), self.outputs, name=self.name, domain=self.domain))


@dataclass(frozen=True)
class OperatorInfo:
    """All nodes of one operator and one kind: how many, and their multiply-accumulates."""

    operator: str
    domain: str
    kind: Kind
    count: int
    macs: int | None


@dataclass(frozen=True)
class TensorInfo:
    """One tensor.

    Attributes
    ----------
    name : the model's own.
    computed_by : an operator, "input" or "constant".
    dtype : None where the model leaves it open.
    shape : lengths; a name or None where a length is open. None where even the rank is open.
    format : in fixed point; None for what is never quantized, and in float32.
    """

    name: str
    computed_by: str
    dtype: str | None
    shape: tuple[Dim, ...] | None
    format: Format | None


@dataclass(frozen=True)
class Inspection:
    """What `inspect_model` found.

    Attributes
    ----------
    name : the model's own name of its graph.
    opsets : version by domain, of the domains that nodes are of.
    inputs, outputs : of the model.
    operators : by count, the most frequent first.
    nodes : in the order in which they run, those of graphs in nodes behind the node.
    tensors : inputs, constants, and what nodes compute.
    parameters, parameter_bytes : numbers in constants that operators compute with, as the file holds them.
    macs : multiply-accumulates of one run; None where shapes are missing, and bodies of control flow are not counted.
    in_fixed_point : whether formats were given, or the model is a quantized one that has its own.
    warnings : what there is to know before a run, one line each.
    """

    name: str
    opsets: Mapping[str, int]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    nodes: tuple[NodeInfo, ...]
    tensors: tuple[TensorInfo, ...]
    parameters: int
    parameter_bytes: int
    macs: int | None
    in_fixed_point: bool
    warnings: tuple[str, ...]

    def of_kind(self, kind: Kind) -> tuple[NodeInfo, ...]:
        """Return the nodes of a kind."""
        return tuple(node for node in self.nodes if node.kind == kind)


def inspect_model(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    qformat: QFormat | str | None = None,
    weight_qformat: QFormat | str | None = None,
    formats: Given | str | os.PathLike[str] | None = None,
    per_channel: bool = False,
    max_elements: int = MAX_ELEMENTS,
) -> Inspection:
    """Look at a model without running it.

    Parameters
    ----------
    model
        As for `InferenceSession`.
    inputs
        Arrays by input name: needed where elements decide shapes, and otherwise only looked at for their shape.
    shapes
        Shapes by input name; what the model says is enough where it has no open lengths.
    qformat, weight_qformat, formats, per_channel, max_elements
        As for `InferenceSession`.

    Raises
    ------
    QEngineError
        If the model cannot be read, or an input, a shape or a format does not fit it. What only a run would
        refuse, such as an operator that is not supported, is a warning.
    """
    graph = model if isinstance(model, Graph) else load(model)
    plain = runnable(graph)
    request: dict[str, Any] = {
        "qformat": qformat,
        "weight_qformat": weight_qformat,
        "formats": formats,
        "per_channel": per_channel,
    }
    common: dict[str, Any] = {"isa": "reference", "max_elements": max_elements}
    fixed = InferenceSession(supported(graph), **request, **common)
    is_whole = plain is graph  # and then one session serves for all
    float32 = (fixed if is_whole else InferenceSession(plain, **common)).in_float32()
    feeds, missing = feeds_of(graph, float32, dict(inputs or {}), dict(shapes or {}), max_elements)
    warnings = [*_unsupported(graph)]
    tensors: dict[str, Tensor] = {}
    lost: list[str] = [*fixed.notes]
    real: set[str] = set()  # what a model that is quantized in part computes in float32
    if not missing:
        try:
            tensors = dict(float32.plan(feeds, sorted(plain.tensors())).outputs)
            if fixed.in_fixed_point:
                within = fixed
                if not is_whole:
                    request["formats"] = _formats_within(plain, fixed.formats)
                    within = InferenceSession(plain, **request, **common)
                planned = within.plan(feeds)
                lost += losses(planned.constants, planned.steps, {})
                real = {bound.output.name for bound in planned.steps if bound.is_island}
        except operator.NeedsRun as reason:
            warnings.append(f"shapes behind a node are known in a run only: {reason}")
        except QEngineError as error:
            warnings.append(f"a run would fail: {error}")
    known = shapes_of(graph, feeds, tensors, missing)
    nodes = tuple(_nodes(graph, tensors, known, real=frozenset(real)))
    held = list(parameters(graph, {name: node.kind for node in nodes for name in node.outputs}))
    described = _tensors(graph, tensors, known, fixed.formats)
    by_name = {one.name: one for one in described}
    counted = [node.macs for node in nodes if not node.within and node.kind not in ("unused", "shape")]
    return Inspection(
        name=graph.name,
        opsets=_opsets(graph),
        inputs=tuple(by_name[value.name] for value in graph.inputs),
        outputs=tuple(by_name[value.name] for value in graph.outputs if value.name in by_name),
        operators=_operators(nodes),
        nodes=nodes,
        tensors=described,
        parameters=sum(array.size for array in held),
        parameter_bytes=sum(array.nbytes for array in held),
        macs=_total(counted),
        in_fixed_point=fixed.in_fixed_point,
        warnings=(*warnings, *missing.values(), *_warnings(graph, nodes), *lost),
    )


def _formats_within(plain: Graph, formats: Mapping[str, Format]) -> Given:
    """Return the formats of the tensors that are in fixed point in a graph from which nodes were cut."""
    known = known_tensors(plain)
    quantized = (plain.tensors() - known) | {
        name
        for node in plain.nodes
        for name, role in find(node).roles(node)
        if name in plain.constants and role in (Role.DATA, Role.WEIGHTS)
    }
    return {name: form for name, form in formats.items() if name in quantized}


def _nodes(
    graph: Graph, tensors: Mapping[str, Tensor], shapes: Shapes, within: str = "", real: frozenset[str] = frozenset()
) -> Iterator[NodeInfo]:
    for node, kind in zip(graph.nodes, kinds(graph, tensors, rewritten=not within, real=real), strict=True):
        name = node.name or next((name for name in node.outputs if name), "")
        macs = multiply_accumulates(node, shapes)
        yield NodeInfo(name, node.operator, node.domain, kind, tuple(filter(None, node.outputs)), macs, within)
        for _, body in bodies(node):
            inner = {name: array.shape for name, array in body.constants.items()}
            inner_values = {name: value.shape for name, value in body.values.items()}
            yield from _nodes(body, {}, {**shapes, **inner_values, **inner}, name or node.operator)


def _tensors(
    graph: Graph, tensors: Mapping[str, Tensor], shapes: Shapes, formats: Mapping[str, Format]
) -> tuple[TensorInfo, ...]:
    computed_by = dict.fromkeys((value.name for value in graph.inputs), "input")
    computed_by |= dict.fromkeys(graph.constants, "constant")
    computed_by |= {name: node.operator for node in graph.nodes for name in node.outputs if name}

    def dtype(name: str) -> str | None:
        if name in tensors:
            return str(tensors[name].dtype)
        if name in graph.constants:
            return str(graph.constants[name].dtype)
        value = graph.values.get(name)
        return None if value is None or value.dtype is None else str(value.dtype)

    return tuple(
        TensorInfo(name, by, dtype(name), shapes.get(name), formats.get(name)) for name, by in computed_by.items()
    )


def _operators(nodes: tuple[NodeInfo, ...]) -> tuple[OperatorInfo, ...]:
    groups: dict[tuple[str, str, Kind], list[NodeInfo]] = {}
    for node in nodes:
        groups.setdefault((node.operator, node.domain, node.kind), []).append(node)
    found = [OperatorInfo(*key, len(all_), _total([node.macs for node in all_])) for key, all_ in groups.items()]
    return tuple(sorted(found, key=lambda one: (-one.count, one.operator, one.kind)))


def _total(each: list[int | None]) -> int | None:
    known = [n for n in each if n is not None]
    return sum(known) if len(known) == len(each) else None


def _opsets(graph: Graph) -> dict[str, int]:
    found = {node.domain: node.version for node in graph.nodes}
    for node in graph.nodes:
        for _, body in bodies(node):
            found |= _opsets(body)
    return dict(sorted(found.items()))


def _unsupported(graph: Graph) -> Iterator[str]:
    try:
        operator.check(graph, is_runnable)
    except UnsupportedError as error:
        yield str(error)


def _warnings(graph: Graph, nodes: tuple[NodeInfo, ...]) -> Iterator[str]:
    islands = [node for node in nodes if node.kind == "island"]
    if islands:
        yield f"in fixed point these compute in float32, and --strict refuses them: {_listed(islands)}"
    if any(node.within for node in nodes):
        yield "what graphs inside of nodes multiply is not counted: how often they run depends on the data"
    if unused := [node for node in nodes if node.kind == "unused"]:
        yield f"no output needs {_listed(unused)}"
    if idle := [f"'{name}'" for name in graph.constants if name not in reads(graph)]:
        yield f"nothing reads the constants {_listed(idle)}"


def _listed(items: list[Any]) -> str:
    more = f" and {len(items) - _LISTED} more" if items[_LISTED:] else ""
    return ", ".join(map(str, items[:_LISTED])) + more
