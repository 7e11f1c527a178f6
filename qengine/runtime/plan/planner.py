"""Planner: binds every node of a graph to kernels, for inputs of known shapes.

The planner visits the nodes in order and knows a `Tensor` for every name: dtype, shape, format in fixed point, and its
elements if they are known. For each node the operator's handler returns steps. There are four cases:

- All operands of a step are *known* (constants, shapes, inputs that decide shapes): the planner computes the step at
  once, and the result is known too.
- Otherwise the step is *bound*: its output gets a format, and the step a kernel of its arithmetic. Constants that a
  bound step reads are encoded in their formats.
- The node is an If whose condition is known, in float32: the nodes of its branch are planned in its place.
- The node cannot be planned: a handler needs elements that only a run computes (`NeedsElements`), or the node must run
  by itself (`NeedsRun`). Then `make_plan` fails, and `plan_section` ends the section before the node.

Last, the planner computes lifetimes: after which step each tensor is no longer read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qengine import memory
from qengine.model.graph import Graph
from qengine.model.ops.operator import NeedsElements, NeedsRun
from qengine.model.steps import Tensor
from qengine.runtime.plan.builder import Branches, PlanBuilder
from qengine.runtime.plan.plan import FixedPointSettings, Plan


def make_plan(
    graph: Graph,
    inputs: Mapping[str, Tensor],
    fixed: FixedPointSettings | None = None,
    max_elements: int = memory.MAX_ELEMENTS,
    branches: Branches | None = None,
) -> Plan:
    """Bind every node of a graph to kernels.

    Parameters
    ----------
    graph
        Graph after the passes.
    inputs
        Every input with its shape, and with its value where that decides shapes.
    fixed
        Fixed-point arithmetic; None for float32.
    max_elements
        Limit on the number of elements of a tensor. A larger one is refused before anything is computed.
    branches
        Function that returns the branches of If; None where every If runs by itself.

    Raises
    ------
    NeedsRun
        If a node cannot be planned before others have run; see `plan_section`.
    QEngineError
        If the inputs of a node do not fit it, a tensor is too large, or a node is an island in a strict run.
    """
    builder = PlanBuilder(graph, fixed, max_elements, branches)
    for name, tensor in inputs.items():
        builder.declare_input(name, tensor)
    for node in graph.nodes:
        builder.add(node)
    builder.check_quantized_input({value.name: builder.tensors[value.name] for value in graph.outputs})
    return builder.finish({value.name for value in graph.outputs})


@dataclass(frozen=True)
class Section:
    """The first nodes of a graph, as many as can be planned at once.

    Attributes
    ----------
    plan : plan whose outputs are the tensors that the rest of the graph reads, and the outputs of the graph.
    count : number of nodes in the section.
    needs : names of the tensors whose elements the next node needs before it can be planned; None if it must run
        alone.
    """

    plan: Plan
    count: int
    needs: tuple[str, ...] | None = None


def plan_section(
    graph: Graph,
    inputs: Mapping[str, Tensor],
    fixed: FixedPointSettings | None = None,
    max_elements: int = memory.MAX_ELEMENTS,
    encoded: frozenset[str] = frozenset(),
    branches: Branches | None = None,
) -> Section:
    """Bind the nodes of a graph to kernels, up to the first node that cannot be planned.

    Parameters
    ----------
    graph, inputs, fixed, max_elements, branches
        See `make_plan`.
    encoded
        Names of the inputs that are fed as codes.
    """
    builder = PlanBuilder(graph, fixed, max_elements, branches)
    for name, tensor in inputs.items():
        builder.declare_input(name, tensor)
    count, needs = 0, None
    for node in graph.nodes:
        try:
            builder.add(node)
        except NeedsElements as error:
            needs = error.names
            break
        except NeedsRun:
            break
        count += 1
    later = {name for node in graph.nodes[count:] for name in node.reads}
    later |= {value.name for value in graph.outputs}
    computed = {name for node in graph.nodes[:count] for name in node.outputs}
    plan = builder.finish(later & (computed | set(inputs)))
    return Section(replace(plan, encoded=encoded), count, needs)
