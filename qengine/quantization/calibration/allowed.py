"""Formats that a target has for the operand or the result of an operator, where it has only some.

A sigmoid of a device may be one table from Q3.4 to Q0.7: then the tensors around it have these formats for any data.
Of several the one with the least squared error is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from qengine.model.graph import Graph
from qengine.model.ops.operator import find
from qengine.qformat import QFormat
from qengine.quantization.calibration.choose import Method
from qengine.quantization.calibration.error import squared_error
from qengine.quantization.calibration.histogram import Histogram
from qengine.quantization.calibration.joined import graphs_of
from qengine.targets import Constraints


def allowed_formats(
    optimized: Graph, constraints: Constraints, place: Mapping[str, int]
) -> dict[int, tuple[QFormat, ...]]:
    """Return the formats that a target has for groups of tensors, for those groups for which it has only some.

    Parameters
    ----------
    optimized
        The graph after the passes.
    constraints
        Constraints of the target.
    place
        Number of the group of each activation.
    """
    found: dict[int, tuple[QFormat, ...]] = {}
    if not constraints.input_formats and not constraints.output_formats:
        return found
    others = set[int]()  # groups with a tensor whose operator has no formats of its own
    for graph in graphs_of(optimized):
        others |= {place[value.name] for value in graph.inputs if value.name in place}
        for node in graph.nodes:
            results = constraints.output_formats.get(node.operator)
            if results is None and not find(node).preserves_format(node):
                others |= {place[name] for name in node.outputs if name in place}
            for formats, name in (
                (constraints.input_formats.get(node.operator), node.inputs[:1]),
                (results, node.outputs[:1]),
            ):
                if formats is not None and name and name[0] in place:
                    known = found.get(place[name[0]], formats)
                    found[place[name[0]]] = tuple(fmt for fmt in known if fmt in formats)
    for one in others & found.keys():
        found[one] = tuple(fmt for fmt in found[one] if constraints.allows_format(fmt, "activation"))
    return found


def nearest(chosen: QFormat, allowed: tuple[QFormat, ...], histogram: Histogram, method: Method) -> QFormat:
    """Return the best of some formats for values, given the format that a method would choose among all."""
    if method is Method.MSE:
        return min(allowed, key=lambda fmt: (squared_error(histogram.cells(), fmt), -fmt.fraction_bits))
    holding = [fmt for fmt in allowed if fmt.integer_bits >= chosen.integer_bits]
    return max(holding or allowed, key=lambda fmt: fmt.fraction_bits if holding else -fmt.fraction_bits)
