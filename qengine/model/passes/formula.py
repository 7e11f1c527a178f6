"""Formulas of one variable, such as x * Sigmoid(1.7 * x): written in Python, read from a graph, and compared.

Exporters write one function in many ways: x * (0.5 * (1 + Erf(x / 1.41))) or (x * 0.5) * (Erf(0.707 * x) + 1). To
compare operator by operator would need a rule for each. Instead a formula is a `Term`, a small expression tree, and
each term is normalized when it is constructed:

- sums and products are flat, with all their numbers combined into one;
- a difference is a sum, a division by a number is a product, a power of 2 to 4 is a product of equal factors;
- Relu, and Min or Max with a number, are clips.

`match` compares two normalized terms. The order of addends and factors does not matter, and numbers may differ by the
error of a written constant. In the formula, `VARIABLE` matches any tensor, the same one everywhere, and a text such as
"k" in the place of a number matches any number. `FormulaReader` reads the term of a node from a graph: it follows
producers through tensors that have no other reader, and stops at the rest, which are candidates for the variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import permutations
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.model.ops.functions import LARGEST

_MAX_DEPTH = 10
"""Number of operators to follow from the result; no formula has more between the result and the variable."""

_MAX_POWER = 4

_FUNCTIONS = {"Sigmoid", "Tanh", "Erf", "Exp", "Log", "Abs", "Softplus", "Reciprocal"}


@dataclass(frozen=True)
class Term:
    """A formula or a part of one: a node of an expression tree.

    Attributes
    ----------
    kind : "variable", "sum", "product", "clip", "largest", or the name of an operator with one input.
    numbers : the number added or multiplied, the bounds of a clip, or attributes; a text is a placeholder.
    parts : addends, factors, the terms compared, or the argument.
    tensor : name of the tensor of the graph that holds the value; "" in a formula that is not read from a graph.
    """

    kind: str
    numbers: tuple[float | str, ...] = ()
    parts: tuple[Term, ...] = ()
    tensor: str = field(default="", compare=False)

    def __add__(self, other: Term | float) -> Term:
        return _combined("sum", self, other)

    def __mul__(self, other: Term | float) -> Term:
        return _combined("product", self, other)

    def __truediv__(self, other: Term | float) -> Term:
        return self * (reciprocal(other) if isinstance(other, Term) else 1.0 / other)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other: Term | float) -> Term:
        return self + (-1.0) * other

    def __neg__(self) -> Term:
        return -1.0 * self


VARIABLE = Term("variable")


def call(function: str, x: Term, *numbers: float | str) -> Term:
    """Return ONNX's operator `function` applied to x; `numbers` are its attributes."""
    return Term(function, numbers, (x,))


def reciprocal(x: Term) -> Term:
    """Return 1 / x."""
    return call("Reciprocal", x)


def clip(x: Term, low: float, high: float) -> Term:
    """Return x limited to low <= x <= high."""
    if x.kind == "clip":
        inner = [float(bound) for bound in x.numbers]
        return Term("clip", tuple(min(max(bound, low), high) for bound in inner), x.parts)
    return Term("clip", (low, high), (x,))


def largest(a: Term, b: Term) -> Term:
    """Return the maximum of a and b."""
    return Term("largest", (), (a, b))


def scaled(x: Term, factor: str) -> Term:
    """Return x times the placeholder `factor`."""
    return Term("product", (factor,), (x,))


def _combined(kind: str, a: Term | float, b: Term | float) -> Term:
    """Return the flat sum or product of a and b, with one number."""
    neutral = 0.0 if kind == "sum" else 1.0
    number, parts = neutral, list[Term]()
    for operand in (a, b):
        term = operand if isinstance(operand, Term) else Term(kind, (operand,))
        if term.kind == kind and not any(isinstance(n, str) for n in term.numbers):
            (own,) = term.numbers
            number = number + float(own) if kind == "sum" else number * float(own)
            parts += term.parts
        else:
            parts.append(term)
    return parts[0] if number == neutral and len(parts) == 1 else Term(kind, (number,), tuple(parts))


def match(formula: Term, term: Term, tolerance: float) -> dict[str, Any] | None:
    """Return the tensor of the variable (under the key "") and the number of each placeholder; None if terms differ.

    Parameters
    ----------
    formula
        Term with `VARIABLE` and placeholders.
    term
        Term that is read from a graph.
    tolerance
        Largest difference of a number, relative to the number in the formula.
    """
    return _match(formula, term, tolerance, {})


def _match(formula: Term, term: Term, tolerance: float, bound: Mapping[str, Any]) -> dict[str, Any] | None:
    if formula.kind == "variable":
        same = term.tensor and bound.get("", term.tensor) == term.tensor
        return {**bound, "": term.tensor} if same else None
    if formula.kind != term.kind or len(formula.parts) != len(term.parts):
        return None
    known = dict(bound)
    for wanted, number in zip(formula.numbers, term.numbers, strict=True):
        if isinstance(wanted, str):
            known.setdefault(wanted, number)
            wanted = known[wanted]
        near = np.isfinite(wanted) and abs(float(number) - wanted) <= tolerance * abs(wanted)
        if number != wanted and not near:
            return None
    for parts in permutations(term.parts):
        result: dict[str, Any] | None = known
        for one, other in zip(formula.parts, parts, strict=True):
            result = None if result is None else _match(one, other, tolerance, result)
        if result is not None:
            return result
    return None


class FormulaReader:
    """Reader of formulas from a graph, through tensors that have no other reader.

    Attributes
    ----------
    producers : the node that computes each tensor; the caller updates it when it replaces a node.
    """

    def __init__(self, graph: Graph) -> None:
        self._constants, self._values = graph.constants, graph.values
        self._read_once = graph.tensors_read_once()
        self.producers = graph.producers()

    def read(self, node: Node) -> Term:
        """Return the term of a node's only output."""
        return self._node_term(node, _MAX_DEPTH)

    def _node_term(self, node: Node, depth: int) -> Term:
        (output,) = node.outputs
        term = None if node.domain not in ("", "qengine") else self._formula(node, depth)
        return Term("variable", tensor=output) if term is None else replace(term, tensor=output)

    def _term(self, tensor: str, depth: int) -> Term:
        node = self.producers.get(tensor)
        if node is None or not depth or tensor not in self._read_once or len(node.outputs) != 1:
            return Term("variable", tensor=tensor)
        return self._node_term(node, depth - 1)

    def _formula(self, node: Node, depth: int) -> Term | None:
        """Return the term of a node by its operator; None for an operator that no formula has."""
        operator, inputs = node.operator, node.inputs
        if not inputs or not inputs[0]:
            return None
        if operator in _FUNCTIONS or operator in ("Neg", "Relu"):
            x = self._term(inputs[0], depth)
            return {"Neg": -x, "Relu": clip(x, 0.0, np.inf)}.get(operator, call(operator, x))
        if operator == "HardSigmoid":
            numbers = node.number("alpha", 0.2), node.number("beta", 0.5)
            return call(operator, self._term(inputs[0], depth), *numbers)
        if operator == "Logistic":
            return call(operator, self._term(inputs[0], depth), node.number("alpha", 1.0))
        if operator == "Clip":
            bounds = self._bounds(node)
            return clip(self._term(inputs[0], depth), *bounds) if bounds else None
        return self._binary(operator, inputs, depth) if len(inputs) == 2 else None

    def _binary(self, operator: str, inputs: Sequence[str], depth: int) -> Term | None:
        first, second = inputs
        kinds = "fiu" if operator == "Pow" else "f"
        a, b = self._operand(first, second, depth), self._operand(second, first, depth, kinds)
        match a, b:
            case Term(), float() | Term():
                return _arithmetic(operator, a, b)
            case float(), Term() if operator in ("Sub", "Div"):
                return a + -b if operator == "Sub" else a * reciprocal(b)
            case float(), Term() if operator != "Pow":
                return _arithmetic(operator, b, a)
        return None

    def _operand(self, name: str, other: str, depth: int, kinds: str = "f") -> Term | float:
        """Return the term of an input, or a number for a constant of one element that broadcasts to the other input."""
        constant = self._constants.get(name)
        if constant is not None and constant.size == 1 and constant.dtype.kind in kinds:
            value = self._values.get(other)
            if constant.ndim <= (len(value.shape) if value and value.shape is not None else 0):
                return float(constant.item())
        return self._term(name, depth)

    def _bounds(self, node: Node) -> tuple[float, float] | None:
        if node.version < 11:
            return node.number("min", -LARGEST), node.number("max", LARGEST)
        bounds = [-np.inf, np.inf]
        for i, name in enumerate(node.inputs[1:3]):
            constant: NDArray[Any] | None = self._constants.get(name)
            if name and (constant is None or constant.size != 1 or constant.dtype.kind != "f"):
                return None
            bounds[i] = bounds[i] if constant is None else float(constant.item())
        return bounds[0], bounds[1]


def _arithmetic(operator: str, a: Term, b: Term | float) -> Term | None:
    match operator, b:
        case "Add", _:
            return a + b
        case "Sub", _:
            return a - b
        case "Mul", _:
            return a * b
        case "Div", _ if b != 0.0:
            return a / b
        case "Min", float():
            return clip(a, -np.inf, b)
        case "Max", float():
            return clip(a, b, np.inf)
        case "Max", Term():
            return largest(a, b)
        case "Pow", float() if b in range(2, _MAX_POWER + 1):
            return reduce(mul, [a] * int(b))
    return None
