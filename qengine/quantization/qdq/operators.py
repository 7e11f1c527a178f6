"""The nodes of a graph as nodes of ONNX at one opset, before pairs are added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Graph, Node, Value
from qengine.model.loader.shapes import with_inferred
from qengine.model.ops.operator import find
from qengine.model.opset_conversion import at_opset
from qengine.model.passes.affine_terms import shape_of
from qengine.model.protos import graph_proto
from qengine.model.schemas import output_types
from qengine.model.steps import Table
from qengine.quantization.correction import fold_graph


def version_of(graph: Graph, default: int) -> int:
    """Return the opset of ONNX's own domain that the nodes of a graph are written in; `default` if it has none."""
    return max((node.version for node in graph.nodes if not node.domain), default=default)


def written_operators(graph: Graph, version: int, fresh: Callable[[str], str], values: Mapping[str, Value]) -> Graph:
    """Return a graph in which all is folded that fixed point folds, with nodes of ONNX at an opset.

    A MatMul with a bias stays one: the writer knows what its constants are. So does a Requantize, which is a pair.

    Parameters
    ----------
    graph
        The model, or a graph inside of a node.
    version
        The opset.
    fresh
        Function that returns free names for new tensors.
    values
        Types and shapes of tensors, which the folding does not see: the graph has those that a run knows.

    Raises
    ------
    UnsupportedError
        If a node is none of ONNX, or the opset has no equal of it.
    """
    folded = fold_graph(graph)
    folded = replace(folded, values={**folded.values, **values})
    constants = dict(folded.constants)
    nodes: list[Node] = []
    for node in folded.nodes:
        if node.domain == "qengine" and node.operator in _AS_CONV:
            written = _AS_CONV[node.operator](node, folded, constants, fresh)
            nodes += [replace(one, version=version) for one in written]
        elif node.domain == "qengine" and node.operator not in _WRITTEN_BY_WRITER:
            raise UnsupportedError(f"{node} cannot be written as an operator of ONNX")
        else:
            nodes.append(node)
    return at_opset(replace(folded, nodes=tuple(nodes), constants=constants), version, fresh)


def _as_conv(node: Node, graph: Graph, constants: dict[str, Any], fresh: Callable[[str], str]) -> list[Node]:
    """Return a linear operator of each channel, for any number of axes, as a Conv with one weight for each channel."""
    (x, scale, shift), (out,), x_shape = node.inputs, node.outputs, shape_of(node.inputs[0], graph)
    array = constants[scale]
    constants[scale] = array.reshape(array.size, 1, 1)
    rows, lengths, given, result = (fresh(f"{out}_{what}") for what in ("rows", "row_lengths", "shape", "scaled"))
    constants[lengths] = np.array([0, array.size, -1])
    shape = [Node("Shape", (x,), (given,), {}, given)]
    if x_shape is not None and len(x_shape) == 2:  # then the number of axes of the result is known too
        constants[given], shape = np.array([0, array.size]), []
    return [
        Node("Reshape", (x, lengths), (rows,), {}, rows),
        Node("Conv", (rows, scale, shift), (result,), {"group": array.size}, node.name),
        *shape,
        Node("Reshape", (result, given), (out,), {}, out),
    ]


def _turned_conv(node: Node, graph: Graph, constants: dict[str, Any], fresh: Callable[[str], str]) -> list[Node]:
    """Return a linear operator of each place of the last axis as a Conv between two Transposes."""
    (x, scale, shift), (out,), shape = node.inputs, node.outputs, shape_of(node.inputs[0], graph)
    assert shape is not None  # the pass that makes the operator knows it
    array, spatial = constants[scale], range(1, len(shape) - 1)
    constants[scale] = array.reshape(array.size, *(1,) * (len(shape) - 1))
    turned, result = fresh(f"{out}_turned"), fresh(f"{out}_scaled")
    return [
        Node("Transpose", (x,), (turned,), {"perm": (0, len(shape) - 1, *spatial)}, turned),
        Node("Conv", (turned, scale, shift), (result,), {"group": array.size}, node.name),
        Node("Transpose", (result,), (out,), {"perm": (0, *(a + 1 for a in spatial), 1)}, out),
    ]


_WRITTEN_BY_WRITER = ("MatMul", "Requantize")
_AS_CONV = {"ScaleShift": _as_conv, "RowScaleShift": _turned_conv}


def typed(graph: Graph, version: int) -> Graph:
    """Return a graph inside of a node with the types of its tensors that onnx or its definitions of operators give.

    Parameters
    ----------
    graph
        The graph, whose inputs have types.
    version
        Opset of its nodes, if it has none of ONNX itself.
    """
    known = {value.name: value for value in graph.outputs} | dict(graph.values)
    known |= {value.name: value for value in graph.inputs if value.dtype is not None}
    opsets = {"": version_of(graph, version)} | {node.domain: node.version for node in graph.nodes if node.domain}
    try:
        graph = with_inferred(replace(graph, values=known), graph_proto(graph), opsets)
    except ModelError:  # onnx needs types that it could not infer itself
        graph = replace(graph, values=known)
    return replace(graph, values=values_with_types(graph))


def values_with_types(graph: Graph) -> dict[str, Value]:
    """Return the types and shapes of tensors, with the element types that the definitions of operators give."""
    values = dict(graph.values)
    types = {name: value.dtype for name, value in values.items()}
    types |= {value.name: value.dtype for value in graph.inputs}
    types |= {name: array.dtype for name, array in graph.constants.items()}
    for node in graph.nodes:
        found = output_types(node, [types.get(name) for name in node.inputs])
        for name, dtype in zip(node.outputs, found, strict=True):
            if name and types.get(name) is None and dtype is not None:
                types[name] = dtype
                values[name] = replace(values.get(name, Value(name)), dtype=dtype)
    return values


def may_be_real(value: Value) -> bool:
    """Whether a value may be a tensor of real numbers: no sequence, and no integers."""
    return value.container is None and (value.dtype is None or value.dtype.kind == "f")


def computed_by_tables(optimized: Graph, written: Graph) -> set[str]:
    """Return the tensors of a written graph that tables compute: their results, and those inside of functions."""
    producers = written.producers()
    found = set[str]()
    for node in optimized.nodes:
        if find(node).kinds == (Table,):
            waiting = [name for name in node.outputs if name in producers]
            while waiting:
                name = waiting.pop()
                found.add(name)
                inner = [n for n in producers[name].inputs if n in producers and n not in node.inputs]
                waiting += [n for n in inner if n not in found]
    return found


def reads_around(graph: Graph) -> set[str]:
    """Return the names that a graph reads from around it."""
    read = {name for node in graph.nodes for name in node.reads} | {value.name for value in graph.outputs}
    return read - graph.tensors()
