"""What depends on constants alone is computed once, in float arithmetic."""

from dataclasses import replace
from math import prod

from qengine.graph import Graph
from qengine.ops.operator import make_steps
from qengine.steps import Tensor

# A constant that is cheap to keep as a rule and large once written out (ConstantOfShape) stays a rule.
_LARGEST = 1 << 22


def fold_constants(graph: Graph) -> Graph:
    """Replace nodes whose inputs are all constant by their results, which keep the nodes' names."""
    constants = dict(graph.constants)

    def known(name: str) -> Tensor:
        value = constants[name]
        return Tensor(name, value.dtype, value.shape, value)

    kept = []
    for node in graph.nodes:
        steps = make_steps(node, known) if all(name in constants for name in node.inputs if name) else None
        if steps is None or any(prod(step.shape) > _LARGEST for step in steps):
            kept.append(node)
            continue
        for name, step in zip(node.outputs, steps, strict=False):
            if name:
                with node.blamed():
                    constants[name] = step.known()
    return replace(graph, nodes=tuple(kept), constants=constants)
