"""Recognition of functions of one variable that a model writes as several operators.

The operators, such as x * Sigmoid(x), are replaced by one (Swish), which is one table. On real numbers the function is
the same. In fixed point it is rounded once instead of once per operator, and the tensors in between need no format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import pi, sqrt
from typing import Any

import numpy as np

from qengine.model.graph import Attribute, Graph, Node
from qengine.model.passes.dead import remove_dead
from qengine.model.passes.formula import VARIABLE, FormulaReader, Term, call, clip, largest, match, reciprocal, scaled


@dataclass(frozen=True)
class _Rule:
    """A formula and the single operator that replaces it.

    Attributes
    ----------
    formula : formula as models write it.
    operator, domain, version : the operator, its domain, and the opset that has it.
    attributes : function from the numbers that matched placeholders to the operator's attributes; None if the
        operator does not cover these numbers.
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


def _rules(operator: str, version: int, *formulas: Term, **attributes: Attribute) -> tuple[_Rule, ...]:
    return tuple(_Rule(formula, operator, version, lambda _: attributes) for formula in formulas)


_ABOVE_0, _BELOW_0 = clip(x, 0.0, np.inf), clip(x, -np.inf, 0.0)

# Rules are tried in this order, node by node: a formula may contain operators that were recognised before.
_RULES = (
    *_rules("HardSigmoid", 6, _BELOW_6 / 6.0, clip(x / 6.0 + 0.5, 0.0, 1.0), clip((x + 3.0) / 6.0, 0.0, 1.0), **_SIXTH),
    *_rules("HardSigmoid", 6, clip(0.2 * x + 0.5, 0.0, 1.0), **_KERAS),
    *_rules("HardSwish", 14, x * _BELOW_6 / 6.0, x * call("HardSigmoid", x, *_SIXTH.values())),
    *_rules("Sigmoid", 13, reciprocal(1.0 + call("Exp", -x)), 0.5 + 0.5 * call("Tanh", 0.5 * x)),
    _Rule(reciprocal(1.0 + call("Exp", scaled(x, "k"))), "Logistic", 1, lambda n: {"alpha": -n["k"]}, domain="qengine"),
    *_rules("Swish", 24, x * call("Sigmoid", x), x * reciprocal(1.0 + call("Exp", -x)), alpha=1.0),
    _Rule(x * call("Sigmoid", scaled(x, "k")), "Swish", 24, lambda n: {"alpha": n["k"]}),
    _Rule(x * reciprocal(1.0 + call("Exp", scaled(x, "k"))), "Swish", 24, lambda n: {"alpha": -n["k"]}),
    _Rule(x * call("Logistic", x, "k"), "Swish", 24, lambda n: {"alpha": n["k"]}),
    *_rules("Softplus", 1, call("Log", 1.0 + call("Exp", x))),
    *_rules("Softplus", 1, clip(x, 0.0, np.inf) + call("Softplus", -call("Abs", x))),
    *_rules("Mish", 18, x * call("Tanh", call("Softplus", x))),
    *_rules("Gelu", 20, 0.5 * x * _PHI, approximate="none"),
    *_rules("Gelu", 20, *(0.5 * x * phi for phi in _PHI_BY_TANH), approximate="tanh"),
    _Rule(largest(x, scaled(x, "k")), "LeakyRelu", 6, lambda n: {"alpha": n["k"]} if n["k"] < 1.0 else None),
    _Rule(_ABOVE_0 + scaled(_BELOW_0, "k"), "LeakyRelu", 6, lambda n: {"alpha": n["k"]}),
    _Rule(_ABOVE_0 + scaled(clip(-x, 0.0, np.inf), "k"), "LeakyRelu", 6, lambda n: {"alpha": -n["k"]}),
    _Rule(_ABOVE_0 + scaled(x - call("Abs", x), "k"), "LeakyRelu", 6, lambda n: {"alpha": 2.0 * n["k"]}),
)
_LAST_OPERATORS = {"Mul", "Div", "Add", "Sub", "Clip", "Min", "Max", "Relu", "Reciprocal", "Log"}


def recognise_functions(graph: Graph) -> Graph:
    """Replace the last operator of each recognised formula by a single operator, and remove the others.

    A formula is not replaced if an intermediate tensor has another reader or is an output of the graph.
    """
    reader = FormulaReader(graph)
    nodes = []
    for node in graph.nodes:
        replacement = _recognised(node, reader, graph) if node.operator in _LAST_OPERATORS and not node.domain else None
        nodes.append(replacement or node)
        if replacement:
            reader.producers[replacement.outputs[0]] = replacement
    return remove_dead(replace(graph, nodes=tuple(nodes)))


def _recognised(node: Node, reader: FormulaReader, graph: Graph) -> Node | None:
    """Return one operator that computes the node's output from the variable of its formula; None if none does."""
    if len(node.outputs) != 1 or not node.outputs[0]:
        return None
    term = reader.read(node)
    if term.kind == "variable":
        return None
    tolerance = _tolerance(node, graph)
    for rule in _RULES:
        numbers: dict[str, Any] | None = match(rule.formula, term, tolerance)
        if numbers is None:
            continue
        variable = numbers.pop("")
        attributes = rule.attributes(numbers)
        if attributes is not None:
            return Node(rule.operator, (variable,), node.outputs, attributes, node.name, rule.domain, rule.version)
    return None


def _tolerance(node: Node, graph: Graph) -> float:
    """Return the relative error allowed for a written constant such as sqrt(2): two units in the last place."""
    value = graph.values.get(node.outputs[0])
    half = value is not None and value.dtype == np.float16
    return 2.0 * float(np.finfo(np.float16 if half else np.float32).eps)
