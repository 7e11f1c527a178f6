"""Where a run in fixed point rounds: at inputs, at what operators compute, and at constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qengine.analysis.report import operator_label
from qengine.errors import UnsupportedError
from qengine.model.ops.operator import find
from qengine.model.steps import Tensor
from qengine.qformat import Format
from qengine.runtime.plan.plan import BoundStep, Plan

INPUT, ACTIVATION, WEIGHTS = "input", "activation", "weights"


@dataclass(frozen=True)
class Point:
    """A tensor of a run in fixed point.

    Attributes
    ----------
    name : the model's own.
    kind : "input", "activation", or "weights", which any constant is that is quantized.
    operator : what computes it or, of a constant, what reads it first.
    format : its format.
    rounds : whether it is rounded; codes that are only moved or picked have been rounded before.
    places : of a constant, where it is read: which step of the plan, which operand, and the constant there.
    """

    name: str
    kind: str
    operator: str
    format: Format
    rounds: bool = True
    places: tuple[tuple[int, int, Tensor], ...] = ()


def points_of(fixed: Plan, float32: Plan) -> dict[str, Point]:
    """Return the tensors of a plan that have formats, in the order in which a run comes to them.

    Parameters
    ----------
    fixed, float32
        Plans of one model and one set of shapes.
    """
    found: dict[str, Point] = {}
    for tensor in fixed.inputs:
        if tensor.format is not None:
            found[tensor.name] = Point(tensor.name, INPUT, operator_label(None), tensor.format)
    constants: dict[str, Point] = {}
    for i, bound in enumerate(fixed.steps):
        _check_twin(bound, float32.steps[i])
        for name, place in _constants(i, bound):
            known = constants.get(name)
            reader = known.operator if known else operator_label(bound.node)
            form = place[2].format
            assert form is not None
            point = Point(name, WEIGHTS, reader, form, places=(*(known.places if known else ()), place))
            constants[name] = found[name] = point
        out = bound.output
        if out.format is not None:
            rounds = not _moves(bound)
            found[out.name] = Point(out.name, ACTIVATION, operator_label(bound.node), out.format, rounds)
    return found


def _constants(i: int, bound: BoundStep) -> Iterator[tuple[str, tuple[int, int, Tensor]]]:
    for k, operand in enumerate(bound.step.operands):
        if operand.value is not None and operand.format is not None:
            yield operand.name, (i, k, operand)


def _moves(bound: BoundStep) -> bool:
    """Whether a step only moves or picks codes of the format that it gives."""
    first = bound.step.operands[0] if bound.step.operands else None
    return first is not None and first.format == bound.output.format and find(bound.node).preserves_format(bound.node)


def _check_twin(bound: BoundStep, twin: BoundStep) -> None:
    if bound.output.name != twin.output.name or len(bound.sources) != len(twin.sources):
        raise UnsupportedError(f"{bound.node} is computed otherwise in float32, so that nothing can be told of it")
