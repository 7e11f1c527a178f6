"""Formulas of one variable: how they are written down, read from a graph, and compared.

A term is brought to one form as it is made. Sums and products are flat, with all their numbers in one; a
difference is a sum, a division by a number a product, a small whole power a product of equals, Relu, Min and Max
with a number are clips. Two graphs that differ in the order of their operators alone are then one formula.
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

_DEEPEST = 10
"""Operators from the result to the variable: more than any formula has."""

_MOST_POWER = 4

_FUNCTIONS = {"Sigmoid", "Tanh", "Erf", "Exp", "Log", "Abs", "Softplus", "Reciprocal"}


@dataclass(frozen=True)
class Term:
    """A formula, or a part of one.

    Attributes
    ----------
    kind : "variable", "sum", "product", "clip", "largest", or the name of an operator with one input.
    numbers : what is added or multiplied, bounds, or attributes; text is a number to be found, and names it.
    parts : what is added, multiplied or compared, or the argument.
    tensor : the tensor of the graph that it is.
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
    """Return an operator with one input, as ONNX calls it, and its attributes."""
    return Term(function, numbers, (x,))


def reciprocal(x: Term) -> Term:
    """Return 1 / x."""
    return call("Reciprocal", x)


def clip(x: Term, low: float, high: float) -> Term:
    """Return x, not below `low` and not above `high`."""
    if x.kind == "clip":
        inner = [float(bound) for bound in x.numbers]
        return Term("clip", tuple(min(max(bound, low), high) for bound in inner), x.parts)
    return Term("clip", (low, high), (x,))


def largest(a: Term, b: Term) -> Term:
    """Return the larger of two."""
    return Term("largest", (), (a, b))


def scaled(x: Term, factor: str) -> Term:
    """Return x times a number that is to be found."""
    return Term("product", (factor,), (x,))


def _combined(kind: str, a: Term | float, b: Term | float) -> Term:
    """Return a flat sum or product with one number."""
    neutral = 0.0 if kind == "sum" else 1.0
    number, parts = neutral, list[Term]()
    for one in (a, b):
        given = one if isinstance(one, Term) else Term(kind, (one,))
        if given.kind == kind and not any(isinstance(n, str) for n in given.numbers):
            (own,) = given.numbers
            number = number + float(own) if kind == "sum" else number * float(own)
            parts += given.parts
        else:
            parts.append(given)
    return parts[0] if number == neutral and len(parts) == 1 else Term(kind, (number,), tuple(parts))


def match(formula: Term, term: Term, tolerance: float) -> dict[str, Any] | None:
    """Return what the formula's variable (as "") and the numbers to be found are in the term; None if it is another.

    Parameters
    ----------
    formula
        With `VARIABLE` in it.
    term
        Read from a graph.
    tolerance
        By how much numbers may differ, relative to those of the formula.
    """
    return _match(formula, term, tolerance, {})


def _match(formula: Term, term: Term, tolerance: float, found: Mapping[str, Any]) -> dict[str, Any] | None:
    if formula.kind == "variable":
        same = term.tensor and found.get("", term.tensor) == term.tensor
        return {**found, "": term.tensor} if same else None
    if formula.kind != term.kind or len(formula.parts) != len(term.parts):
        return None
    known = dict(found)
    for wanted, number in zip(formula.numbers, term.numbers, strict=True):
        if isinstance(wanted, str):
            known.setdefault(wanted, number)
            wanted = known[wanted]
        near = np.isfinite(wanted) and abs(float(number) - wanted) <= tolerance * abs(wanted)
        if number != wanted and not near:
            return None
    for parts in permutations(term.parts):
        answer: dict[str, Any] | None = known
        for one, other in zip(formula.parts, parts, strict=True):
            answer = None if answer is None else _match(one, other, tolerance, answer)
        if answer is not None:
            return answer
    return None


class Reader:
    """Reads formulas from a graph, through tensors that only the next operator reads.

    Parameters
    ----------
    graph
        Where they are read from.
    """

    def __init__(self, graph: Graph) -> None:
        self._constants, self._values = graph.constants, graph.values
        self._read_once = graph.read_once()
        self.producers = graph.producers()

    def read(self, node: Node) -> Term:
        """Return the formula of a node's only output."""
        return self._of_node(node, _DEEPEST)

    def _of_node(self, node: Node, depth: int) -> Term:
        (output,) = node.outputs
        found = None if node.domain not in ("", "qengine") else self._formula(node, depth)
        return Term("variable", tensor=output) if found is None else replace(found, tensor=output)

    def _term(self, tensor: str, depth: int) -> Term:
        node = self.producers.get(tensor)
        if node is None or not depth or tensor not in self._read_once or len(node.outputs) != 1:
            return Term("variable", tensor=tensor)
        return self._of_node(node, depth - 1)

    def _formula(self, node: Node, depth: int) -> Term | None:
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
        return self._of_two(operator, inputs, depth) if len(inputs) == 2 else None

    def _of_two(self, operator: str, inputs: Sequence[str], depth: int) -> Term | None:
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
        """Return a formula, or the number that a constant is where it does not give the result more axes."""
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
        case "Pow", float() if b in range(2, _MOST_POWER + 1):
            return reduce(mul, [a] * int(b))
    return None
