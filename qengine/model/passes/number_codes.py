"""Numbers of operators, such as the bounds of a Clip, that must be codes of the format of a tensor."""

from collections.abc import Iterator

import numpy as np

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import NumberKind, find
from qengine.model.passes.activation import fuse_activations
from qengine.model.passes.chains import fuse_chains, inner_tensors
from qengine.model.passes.requantize import roots
from qengine.model.passes.scales import NotFixedPointError
from qengine.qformat import QFormat, holds


def check_numbers(graph: Graph) -> None:
    """Raise where a Clip or Pad has a number that is not a code of the format that it keeps.

    ONNX applies such a number to decoded integers unrounded. A run in fixed point would round it to a code first, but
    not where the operator is a part of a chain.
    """
    if found := list(numbers_without_codes(graph)):
        unrounded = {name for one in fuse_chains(fuse_activations(graph)).nodes for name in inner_tensors(one)}
        for node, text in found:
            if not unrounded.intersection(node.outputs):
                raise NotFixedPointError(text)


def numbers_without_codes(graph: Graph) -> Iterator[tuple[Node, str]]:
    """Yield nodes with a number that is not a code of the format that they keep, and words for it."""
    assert graph.formats is not None
    root = roots(graph)
    for node in graph.nodes:
        fmt = graph.formats.get(root.get(node.inputs[0], "")) if node.inputs else None
        op = find(node)
        if not isinstance(fmt, QFormat) or node.attributes.get("mode", "constant") != "constant":
            continue
        computed = [i for i in op.number_inputs if graph.formats.get("".join(node.inputs[i : i + 1])) == fmt]
        rounded = {op.parameters[i].name for i in computed}
        for name, number in op.numbers(node, graph.constants).items():
            if name in rounded:
                continue
            if number is None or not _is_code(number, fmt, is_bound=op.facts.numbers[name] is NumberKind.BOUND):
                yield node, f"{node} holds {number or 'a number'}, which is not a code of {fmt}"


def _is_code(number: float, fmt: QFormat, *, is_bound: bool) -> bool:
    """Whether a format holds a number; a bound may also lie outside of its range."""
    beyond = not fmt.min <= number <= fmt.max
    return is_bound if beyond else holds(fmt, np.asarray(number))
