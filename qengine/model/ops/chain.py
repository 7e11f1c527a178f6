"""A chain: operators of the model that a pass makes one function of one variable.

The function is composed of the steps that the handlers of the operators return, so a chain knows no operator by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

import numpy as np

from qengine.errors import UnsupportedError
from qengine.model.graph import CHAIN_DOMAIN, Chain, Node
from qengine.model.ops.binding import make_steps
from qengine.model.ops.facts import Constants
from qengine.model.ops.operator import Sign, Since, operator
from qengine.model.ops.signs import gives_no_negatives
from qengine.model.steps import Combine, Join, Move, Step, Table, Tensor
from qengine.model.steps.composition import Composition, Operand, Stage
from qengine.model.steps.forms import Bounded, Reshaped
from qengine.model.steps.pairs import Extreme

_OPERATIONS = ("add", "subtract", "multiply", "divide")


def _sign(node: Node, _: Constants) -> Sign | None:
    """Return the sign that the operators of a chain give, one after the other."""
    chain = node.attributes["chain"]
    assert isinstance(chain, Chain)
    positive = {name for name, array in chain.constants.items() if np.all(array >= 0)}
    for sign, start in ((Sign.NOT_NEGATIVE, set[str]()), (Sign.KEPT, {chain.variable})):
        names = positive | start
        for inner in chain.nodes:
            if gives_no_negatives(inner, names, chain.constants):
                names.update(inner.outputs)
        if names.issuperset(chain.nodes[-1].outputs):
            return sign
    return None


@operator("Chain", domain=CHAIN_DOMAIN, sign=_sign)
def chain(x: Tensor, *, chain: Annotated[Chain, Since(1)]) -> Table:
    """The operators of the chain one after the other."""
    return Table(x, composed(chain, x))


def composed(chain: Chain, x: Tensor) -> Composition:
    """Return the function of a chain.

    Parameters
    ----------
    chain
        The chain.
    x
        The variable, which gives the element type and the shape.
    """
    stages: list[Stage] = []
    places: dict[str, int] = {chain.variable: 0}

    def tensor(name: str) -> Tensor:
        array = chain.constants.get(name)
        return Tensor(name, x.dtype, x.shape) if array is None else Tensor(name, array.dtype, array.shape, array)

    def operand(t: Tensor) -> Operand:
        return places[t.name] if t.value is None else float(t.value.item())

    for node in chain.nodes:
        (step,) = make_steps(node, tensor)
        places[node.outputs[0]] = add_stages(step, operand, stages)
    return Composition(tuple(stages))


def is_elementwise(step: Step) -> bool:
    """Whether a step is a part of a chain, if its operands are tensors of one shape and single numbers."""
    match step:
        case Table():
            return True
        case Combine(operation=operation):
            return operation in _OPERATIONS
        case Join(function=Extreme(), lead=()):
            return True
        case Move(function=Bounded()):
            return True
    return False


def add_stages(step: Step, operand: Callable[[Tensor], Operand], stages: list[Stage]) -> int:
    """Add the stages of a step, and return the place of its result.

    Parameters
    ----------
    step
        Step for which `is_elementwise` holds.
    operand
        Function that returns an operand by tensor.
    stages
        The stages before it.

    Raises
    ------
    UnsupportedError
        If a chain cannot contain the step.
    """

    def add(operation: str, *operands: Operand) -> int:
        stages.append(Stage(operation, operands))  # type: ignore[arg-type]
        return len(stages)

    def bounded(place: Operand, low: float | None, high: float | None) -> Operand:
        place = place if low is None else add("maximum", place, float(low))
        return place if high is None else add("minimum", place, float(high))

    match step:
        case Table(x=x, function=function):
            stages.append(Stage("function", (operand(x),), function))
            result: Operand = len(stages)
        case Combine(operation=operation, terms=terms) if operation in _OPERATIONS:
            result = _folded(add, operation, [operand(t) for t in terms])
            activation = step.activation
            result = result if activation is None else bounded(result, activation.low, activation.high)
        case Join(joined=joined, function=Extreme(largest=largest)):
            result = _folded(add, "maximum" if largest else "minimum", [operand(t) for t in joined])
        case Move(x=x, function=Bounded(), constants=(low, high)):
            result = bounded(operand(x), low, high)
        case Move(x=x, function=Reshaped()):
            result = operand(x)
        case _:
            raise UnsupportedError(f"a step of the kind {step.kind} is not a function of one variable")
    return cast("int", result)


def _folded(add: Callable[..., int], operation: str, operands: list[Operand]) -> Operand:
    """Add an operation on two or more operands, two at a time."""
    result = operands[0]
    for one in operands[1:]:
        result = add(operation, result, one)
    return result
