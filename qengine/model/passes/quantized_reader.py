"""Reading of a model that is quantized already: by pairs of ONNX (`qdq_reader`), or by QONNX (`qonnx_reader`)."""

from dataclasses import replace

from qengine.errors import UnsupportedError
from qengine.model.graph import Graph
from qengine.model.passes.exact_formats import with_exact_formats
from qengine.model.passes.number_codes import check_numbers, numbers_without_codes
from qengine.model.passes.qdq_reader import has_pairs, read_pairs
from qengine.model.passes.qonnx_reader import has_roundings, read_roundings
from qengine.model.passes.requantize import merge_requantize, roots
from qengine.model.passes.scales import NotFixedPointError
from qengine.model.qlinear import expand_qlinear
from qengine.model.rules import Modes


def read_quantized(graph: Graph) -> Graph:
    """Return a quantized graph as a fixed-point graph; any other graph unchanged, with a note if it is quantized."""
    if graph.formats is not None:
        return graph
    if has_roundings(graph):
        return _merged_by_rules(read_roundings(graph))
    expanded = expand_qlinear(graph)
    if not has_pairs(expanded):
        # A graph in a node is read when it runs, in fixed point if the graph around it is.
        return replace(graph, formats={}) if _is_quantized_inside(expanded) else graph
    try:
        fixed = read_pairs(expanded)
        check_numbers(fixed)
        merged = merge_requantize(fixed)
        return with_exact_formats(merged) if merged.unrounded_biases else merged
    except NotFixedPointError as why:
        note = f"the model is quantized, but not in fixed point: {why}; it runs as ONNX defines it"
        return replace(graph, notes=(*graph.notes, note))


def _is_quantized_inside(graph: Graph) -> bool:
    """Whether graphs in the nodes of a graph, at any depth, are quantized."""
    inner = [one for node in graph.nodes for one in node.graphs.values()]
    return any(has_pairs(one) or has_roundings(one) or _is_quantized_inside(one) for one in inner)


def _merged_by_rules(graph: Graph) -> Graph:
    """Return a graph of QONNX with each Requantize merged where that changes no bit.

    Bounds of a Clip before a rounding commute with the rounding, if they are rounded like everything else. Constants
    are rounded half to even; by other rules, what is bounded is computed on real numbers and rounded after it.
    """
    try:
        check_numbers(graph)
    except NotFixedPointError as why:
        raise UnsupportedError(f"{why}: train with a number that is a multiple of the step") from None
    merged = merge_requantize(graph)
    assert merged.formats is not None
    root = roots(merged)
    of_roots = {root[name]: fmt for name, fmt in merged.formats.items() if name in root}
    found = {root[node.inputs[0]] for node, _ in numbers_without_codes(replace(merged, formats=of_roots))}
    apart = {name for name in found if merged.rules.get(name, Modes()).rounding is not None}
    return with_exact_formats(merge_requantize(graph, apart) if apart else merged)
