"""Nodes that run alone, between two sections: control flow, exact custom operators and delegated operators.

- A node with graphs in its attributes (If, Loop, Scan, SequenceMap) decides while it runs which graph runs how often.
- A custom operator with a fixed-point rule of its own computes codes from codes.
- Any other node without a handler is computed by a registered function or by an evaluator on real numbers. In fixed
  point it is a float32 island.
"""

from __future__ import annotations

from collections.abc import Sequence

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.isa import Isa
from qengine.model.custom import Custom
from qengine.model.eager.single_node import compute
from qengine.model.graph import Node
from qengine.model.ops.operator import find
from qengine.runtime import control_flow, custom_nodes
from qengine.runtime.environment import Environment, real_numbers
from qengine.runtime.native.single_kernels import compute_alone
from qengine.runtime.values import RuntimeValue


def is_island(node: Node) -> bool:
    """Whether a node with graphs in its attributes, and these graphs, compute real numbers in fixed point too."""
    return bool(node.graphs and node.domain)


def compute_standalone(
    node: Node, inputs: Sequence[RuntimeValue], env: Environment, graphs: control_flow.Graphs, isa: Isa | None = None
) -> list[RuntimeValue]:
    """Return the outputs of a node.

    Parameters
    ----------
    node
        The node.
    inputs
        Value for each name in `node.inputs`, codes in fixed point.
    env
        The run, with its arithmetic and its tallies.
    graphs
        The graphs in the attributes of the node.
    isa
        Instruction set of native kernels; None for the reference.

    Raises
    ------
    QEngineError
        If the node cannot be computed from such inputs, or is a float32 island in a strict run.
    """
    fixed = env.fixed
    reads_codes = any(value.format is not None for value in inputs)
    if is_island(node):
        if fixed is not None and fixed.strict and reads_codes:
            raise UnsupportedError(f"{node}: strict: no fixed-point rule; it would run as a float32 island")
        inputs = [RuntimeValue(real_numbers(value)) for value in inputs]
    if node.graphs:
        with node.errors_named():
            outputs = control_flow.perform(node, inputs, graphs)
        if any(node.outputs[len(outputs) :]):
            raise ModelError(f"{node}: gives {len(outputs)} outputs, {len(node.outputs)} are needed")
        return outputs
    if fixed is not None and isinstance(op := find(node), Custom) and op.is_exact:
        with node.errors_named():
            return custom_nodes.perform(node, op, inputs, env.graph.values, fixed.formats, fixed.rules, env.tallies)
    if fixed is not None and fixed.strict and reads_codes:
        raise UnsupportedError(f"{node}: strict: no fixed-point rule; it would run as a float32 island")
    reals = [real_numbers(value) for value in inputs]
    computed = None if isa is None or isinstance(find(node), Custom) else compute_alone(node, reals, isa)
    return [RuntimeValue(value) for value in computed or compute(node, reals, env.graph.values)]
