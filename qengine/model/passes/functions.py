"""A function of one variable that a model spells in several operators becomes one, which is one table.

In real numbers it is the same function. In fixed point it is rounded once instead of once for each operator, and
what lies in between needs no format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import pi, sqrt
from typing import Any

import numpy as np

from qengine.model.graph import Attribute, Graph, Node
from qengine.model.passes.dead import remove_dead
from qengine.model.passes.formula import VARIABLE, Reader, Term, call, clip, largest, match, reciprocal, scaled


@dataclass(frozen=True)
class _Spelling:
    """A formula, and the operator that it is.

    Attributes
    ----------
    formula : as models spell it.
    operator, domain, version : of the one operator, the version being the opset that has it.
    attributes : from the numbers that were found in the formula; None where with those it is another function.
    """

    formula: Term
    operator: str
    version: int
    attributes: Callable[[Mapping[str, float]], dict[str, Attribute] | None] = lambda _: {}
    domain: str = ""


x = VARIABLE
_SIXTH = {"alpha": 1.0 / 6.0, "beta": 0.5}
_KERAS = {"alpha": 0.2, "beta": 0.5}
_BELOW_6 = clip(x + 3.0, 0.0, 6.0)
_PHI = call("Erf", x / sqrt(2.0)) + 1.0
_ROOT = sqrt(2.0 / pi)
_PHI_BY_TANH = (
    call("Tanh", _ROOT * (x + 0.044715 * x * x * x)) + 1.0,
    call("Tanh", _ROOT * (x * (1.0 + 0.044715 * x * x))) + 1.0,
    call("Tanh", _ROOT * x + _ROOT * 0.044715 * x * x * x) + 1.0,
)


def _one(operator: str, version: int, *formulas: Term, **attributes: Attribute) -> tuple[_Spelling, ...]:
    return tuple(_Spelling(formula, operator, version, lambda _: attributes) for formula in formulas)


_ABOVE_0, _BELOW_0 = clip(x, 0.0, np.inf), clip(x, -np.inf, 0.0)

# In this order, and node after node: a formula may be made of operators that were recognised before.
_SPELLINGS = (
    *_one("HardSigmoid", 6, _BELOW_6 / 6.0, clip(x / 6.0 + 0.5, 0.0, 1.0), clip((x + 3.0) / 6.0, 0.0, 1.0), **_SIXTH),
    *_one("HardSigmoid", 6, clip(0.2 * x + 0.5, 0.0, 1.0), **_KERAS),
    *_one("HardSwish", 14, x * _BELOW_6 / 6.0, x * call("HardSigmoid", x, *_SIXTH.values())),
    *_one("Sigmoid", 13, reciprocal(1.0 + call("Exp", -x)), 0.5 + 0.5 * call("Tanh", 0.5 * x)),
    _Spelling(
        reciprocal(1.0 + call("Exp", scaled(x, "k"))), "Logistic", 1, lambda n: {"alpha": -n["k"]}, domain="qengine"
    ),
    *_one("Swish", 24, x * call("Sigmoid", x), x * reciprocal(1.0 + call("Exp", -x)), alpha=1.0),
    _Spelling(x * call("Sigmoid", scaled(x, "k")), "Swish", 24, lambda n: {"alpha": n["k"]}),
    _Spelling(x * reciprocal(1.0 + call("Exp", scaled(x, "k"))), "Swish", 24, lambda n: {"alpha": -n["k"]}),
    _Spelling(x * call("Logistic", x, "k"), "Swish", 24, lambda n: {"alpha": n["k"]}),
    *_one("Softplus", 1, call("Log", 1.0 + call("Exp", x))),
    *_one("Softplus", 1, clip(x, 0.0, np.inf) + call("Softplus", -call("Abs", x))),
    *_one("Mish", 18, x * call("Tanh", call("Softplus", x))),
    *_one("Gelu", 20, 0.5 * x * _PHI, approximate="none"),
    *_one("Gelu", 20, *(0.5 * x * phi for phi in _PHI_BY_TANH), approximate="tanh"),
    _Spelling(largest(x, scaled(x, "k")), "LeakyRelu", 6, lambda n: {"alpha": n["k"]} if n["k"] < 1.0 else None),
    _Spelling(_ABOVE_0 + scaled(_BELOW_0, "k"), "LeakyRelu", 6, lambda n: {"alpha": n["k"]}),
    _Spelling(_ABOVE_0 + scaled(clip(-x, 0.0, np.inf), "k"), "LeakyRelu", 6, lambda n: {"alpha": -n["k"]}),
    _Spelling(_ABOVE_0 + scaled(x - call("Abs", x), "k"), "LeakyRelu", 6, lambda n: {"alpha": 2.0 * n["k"]}),
)
_ENDS = {"Mul", "Div", "Add", "Sub", "Clip", "Min", "Max", "Relu", "Reciprocal", "Log"}


def recognise_functions(graph: Graph) -> Graph:
    """Put one operator in the place of the last of those that spell it; the others go, unless something reads them.

    A tensor in between that something else reads too, or that is an output of the graph, keeps them all.
    """
    reader = Reader(graph)
    nodes = []
    for node in graph.nodes:
        found = _recognised(node, reader, graph) if node.operator in _ENDS and not node.domain else None
        nodes.append(found or node)
        if found:
            reader.producers[found.outputs[0]] = found
    return remove_dead(replace(graph, nodes=tuple(nodes)))


def _recognised(node: Node, reader: Reader, graph: Graph) -> Node | None:
    if len(node.outputs) != 1 or not node.outputs[0]:
        return None
    term = reader.read(node)
    if term.kind == "variable":
        return None
    tolerance = _tolerance(node, graph)
    for one in _SPELLINGS:
        found: dict[str, Any] | None = match(one.formula, term, tolerance)
        if found is None:
            continue
        variable = found.pop("")
        attributes = one.attributes(found)
        if attributes is not None:
            return Node(one.operator, (variable,), node.outputs, attributes, node.name, one.domain, one.version)
    return None


def _tolerance(node: Node, graph: Graph) -> float:
    """Return how near to it a number is that stands for an irrational one: two units in the last place."""
    value = graph.values.get(node.outputs[0])
    half = value is not None and value.dtype == np.float16
    return 2.0 * float(np.finfo(np.float16 if half else np.float32).eps)
