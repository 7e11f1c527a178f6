"""Inspection of a model without a run: its nodes, tensors, shapes and costs, and the problems that a run would have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import NDArray

from qengine.analysis.inspection.counts import multiply_accumulates, parameters
from qengine.analysis.inspection.kinds import Kind, bodies, computations, reads, runnable, supported
from qengine.analysis.inspection.result import Inspection, NodeInfo, OperatorInfo, TensorInfo
from qengine.analysis.inspection.shapes import Shapes, feeds_of, shapes_of
from qengine.analysis.losses import losses
from qengine.analysis.lost_parts import lost_by_format
from qengine.analysis.target_check import target_notes
from qengine.errors import QEngineError, UnsupportedError
from qengine.keywords import check_keywords, options_with
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.model.loader import load
from qengine.model.ops.operator import NeedsRun, Role, find
from qengine.model.ops.support_check import check_supported
from qengine.model.static_values import known_tensors
from qengine.model.steps import Tensor
from qengine.qformat import Format
from qengine.runtime.options import SessionKeywords, SessionOptions
from qengine.runtime.plan.network import is_runnable
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

_MAX_LISTED = 5


def inspect_model(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    options: SessionOptions | None = None,
    **keywords: Unpack[SessionKeywords],
) -> Inspection:
    """Return the nodes, tensors and costs of a model without running it.

    Parameters
    ----------
    model
        Path of an .onnx file, its bytes, an onnx.ModelProto, or the graph of a session.
    inputs
        Arrays by input name. Elements are needed where they decide shapes; otherwise only the shape is read.
    shapes
        Shapes by input name, for inputs with open lengths.
    options, keywords
        Options of a session that would run the model; see `SessionOptions`.

    Returns
    -------
    Inspection
        The nodes, the tensors, and warnings.

    Raises
    ------
    QEngineError
        If the model cannot be read, or an input, a shape or a format does not fit it. An error that only a run would
        raise, such as an operator that is not supported, becomes a warning.

    Examples
    --------
    >>> import qengine
    >>> found = qengine.inspect_model(qengine.zoo.path_of("digits"), shapes={"image": (1, 1, 28, 28)})
    >>> found.parameters, found.macs
    (7802, 418512)
    >>> [(one.operator, one.count) for one in found.operators][:2]
    [('BatchNormalization', 7), ('Clip', 7)]
    """
    graph = model if isinstance(model, Graph) else load(model)
    check_keywords("inspect_model", keywords, SessionKeywords)
    options = replace(options_with(SessionOptions, options, keywords), isa="reference")
    graph = replace(graph, fuses=options.rules_of_run().fuses_functions)
    planned = _plan(graph, options, dict(inputs or {}), dict(shapes or {}))
    tensors, known = planned.tensors, planned.shapes
    nodes = tuple(_nodes(graph, tensors, planned.counted, float32_tensors=planned.float32_tensors))
    kind_of = {name: node.kind for node in nodes for name in node.outputs}
    constants = list(parameters(graph, kind_of))
    described = _tensors(graph, tensors, known, planned.session.formats)
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
        parameters=sum(array.size for array in constants),
        parameter_bytes=sum(array.nbytes for array in constants),
        macs=_total(counted),
        in_fixed_point=planned.session.in_fixed_point,
        warnings=(*planned.warnings, *_warnings(graph, nodes), *planned.losses),
    )


@dataclass(frozen=True)
class _PlanFacts:
    """Facts that follow from plans of a model.

    Attributes
    ----------
    session : session of the graph without the nodes that cannot run.
    tensors : tensors of a plan in float32, by name; empty where no plan can be made.
    shapes : shapes of all tensors, by name, as far as they are known.
    counted : shapes for which work is counted: open batches have one sample in them.
    float32_tensors : tensors that a run in fixed point computes in float32.
    warnings : reasons for missing shapes, and errors that a run would raise.
    losses : notes about formats.
    """

    session: InferenceSession
    tensors: Mapping[str, Tensor]
    shapes: Shapes
    counted: Shapes
    float32_tensors: frozenset[str]
    warnings: tuple[str, ...]
    losses: tuple[str, ...]


def _plan(
    graph: Graph, options: SessionOptions, inputs: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]]
) -> _PlanFacts:
    """Plan a model, or the part of it that can be planned, for these inputs and shapes."""
    plain = runnable(graph)
    session = InferenceSession(supported(graph), options)
    is_whole = plain is graph  # then one session does for both arithmetics
    float32 = (session if is_whole else InferenceSession(plain, options.in_float32())).in_float32()
    feeds, missing, batches = feeds_of(graph, float32, inputs, shapes, options.max_elements)
    warnings, notes = [*_unsupported(graph)], [*session.notes, *target_notes(session)]
    tensors: dict[str, Tensor] = {}
    float32_tensors: set[str] = set()
    if not missing:
        try:
            tensors = dict(float32.plan(feeds, sorted(plain.tensors())).outputs)
            if session.in_fixed_point:
                fixed = session
                if not is_whole:
                    fixed = InferenceSession(plain, replace(options, formats=_formats_within(plain, session.formats)))
                plan = fixed.plan(feeds)
                notes += [*losses(plan.constants, plan.steps, {}), *lost_by_format(plan.steps)]
                float32_tensors = {bound_step.output.name for bound_step in plan.steps if bound_step.is_island}
        except NeedsRun as reason:
            warnings.append(f"shapes after a node are known in a run only: {reason}")
        except QEngineError as error:
            warnings.append(f"a run would fail: {error}")
    known = counted = shapes_of(graph, feeds, tensors, missing)
    warnings += missing.values()
    if batches:
        declared = shapes_of(graph, feeds, {}, {*missing, *batches})
        known = {**counted, **{name: shape for name, shape in declared.items() if shape is not None}}
        warnings += batches.values()
    return _PlanFacts(session, tensors, known, counted, frozenset(float32_tensors), tuple(warnings), tuple(notes))


def _formats_within(plain: Graph, formats: Mapping[str, Format]) -> FormatsByName:
    """Return the formats of the tensors that are in fixed point in a graph from which nodes were removed."""
    known = known_tensors(plain)
    quantized = (plain.tensors() - known) | {
        name
        for node in plain.nodes
        for name, role in find(node).roles(node)
        if name in plain.constants and role in (Role.DATA, Role.WEIGHTS, Role.BIAS)
    }
    return {name: fmt for name, fmt in formats.items() if name in quantized}


def _nodes(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    shapes: Shapes,
    within: str = "",
    float32_tensors: frozenset[str] = frozenset(),
) -> Iterator[NodeInfo]:
    found = computations(graph, tensors, rewritten=not within, float32_tensors=float32_tensors)
    for node, (kind, operator) in zip(graph.nodes, found, strict=True):
        name = node.name or next((name for name in node.outputs if name), "")
        macs = multiply_accumulates(node, shapes)
        yield NodeInfo(name, operator, node.domain, kind, tuple(filter(None, node.outputs)), macs, within)
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
    infos = [OperatorInfo(*key, len(all_), _total([node.macs for node in all_])) for key, all_ in groups.items()]
    return tuple(sorted(infos, key=lambda one: (-one.count, one.operator, one.kind)))


def _total(each: list[int | None]) -> int | None:
    known = [n for n in each if n is not None]
    return sum(known) if len(known) == len(each) else None


def _opsets(graph: Graph) -> dict[str, int]:
    versions = {node.domain: node.version for node in graph.nodes}
    for node in graph.nodes:
        for _, body in bodies(node):
            versions |= _opsets(body)
    return dict(sorted(versions.items()))


def _unsupported(graph: Graph) -> Iterator[str]:
    try:
        check_supported(graph, is_runnable)
    except UnsupportedError as error:
        yield str(error)


def _warnings(graph: Graph, nodes: tuple[NodeInfo, ...]) -> Iterator[str]:
    islands = [node for node in nodes if node.kind == "island"]
    if islands:
        yield f"a run in fixed point computes these in float32, and --strict refuses them: {_listed(islands)}"
    if any(node.within for node in nodes):
        yield "multiply-accumulates in bodies of control flow are not counted: how often they run depends on the data"
    if unused := [node for node in nodes if node.kind == "unused"]:
        yield f"not needed for any output: {_listed(unused)}"
    if idle := [f"'{name}'" for name in graph.constants if name not in reads(graph)]:
        yield f"constants that no node reads: {_listed(idle)}"


def _listed(items: list[Any]) -> str:
    more = f" and {len(items) - _MAX_LISTED} more" if items[_MAX_LISTED:] else ""
    return ", ".join(map(str, items[:_MAX_LISTED])) + more
