"""Points at which a run in fixed point rounds: its inputs, its constants, and the outputs of its operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qengine.analysis.report import operator_label
from qengine.errors import UnsupportedError
from qengine.model.ops.operator import find
from qengine.model.steps import Tensor
from qengine.qformat import Format, PartFormats
from qengine.runtime.plan.plan import BoundStep, Plan

INPUT, ACTIVATION, CONSTANT = "input", "activation", "constant"

Use = tuple[int, int, Tensor]
"""Use of a constant: the index of a step in the plan, the index of an operand, and the constant there."""


@dataclass(frozen=True)
class Point:
    """A tensor of a run in fixed point that has a format.

    Attributes
    ----------
    name : name of the tensor in the model.
    kind : "input", "activation" or "constant".
    operator : operator that computes it; for a constant, the first operator that reads it.
    format : format of the tensor.
    rounds : whether the run rounds it; codes that are only moved or selected were rounded before.
    uses : operands in which a constant is read; empty for other kinds.
    """

    name: str
    kind: str
    operator: str
    format: Format
    rounds: bool = True
    uses: tuple[Use, ...] = ()


def points_of(fixed: Plan, float32: Plan) -> dict[str, Point]:
    """Return the tensors of a plan that have formats, by name, in the order of the run.

    Parameters
    ----------
    fixed, float32
        Plans of one model for the same shapes, in the two arithmetics.

    Raises
    ------
    UnsupportedError
        If a step of one plan has no counterpart in the other.
    """
    points: dict[str, Point] = {}
    for tensor in fixed.inputs:
        if tensor.format is not None:
            points[tensor.name] = Point(tensor.name, INPUT, operator_label(None), tensor.format)
    for i, bound_step in enumerate(fixed.steps):
        _check_counterpart(bound_step, float32.steps[i])
        for use in _uses(i, bound_step):
            name, fmt = use[2].name, use[2].format
            assert fmt is not None
            first = points.get(name, Point(name, CONSTANT, operator_label(bound_step.node), fmt))
            points[name] = Point(name, CONSTANT, first.operator, fmt, uses=(*first.uses, use))
        out = bound_step.output
        if out.format is not None:
            rounds = not _moves(bound_step)
            points[out.name] = Point(out.name, ACTIVATION, operator_label(bound_step.node), out.format, rounds)
    return points


def _uses(i: int, bound_step: BoundStep) -> Iterator[Use]:
    """Yield the constants with formats that step `i` reads."""
    for k, operand in enumerate(bound_step.step.operands):
        if operand.value is not None and operand.format is not None:
            yield i, k, operand


def _moves(bound_step: BoundStep) -> bool:
    """Whether a step only moves or selects codes and keeps their format, or joins codes in formats of their own."""
    if isinstance(bound_step.output.format, PartFormats):
        return True
    first = bound_step.step.operands[0] if bound_step.step.operands else None
    return (
        first is not None
        and first.format == bound_step.output.format
        and find(bound_step.node).preserves_format(bound_step.node)
    )


def _check_counterpart(bound_step: BoundStep, counterpart: BoundStep) -> None:
    """Raise UnsupportedError unless two steps compute the same tensor from as many operands."""
    if bound_step.output.name != counterpart.output.name or len(bound_step.reads) != len(counterpart.reads):
        raise UnsupportedError(f"{bound_step.node} has other steps in float32, and its tensors cannot be compared")
