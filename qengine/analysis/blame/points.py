"""Points at which a run in fixed point rounds: its inputs, its constants, and the outputs of its operators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from qengine.analysis.report import operator_label
from qengine.model.ops.operator import find
from qengine.model.rules import EXACT_CONSTANTS, Modes
from qengine.model.steps import Tensor
from qengine.qformat import Format, PartFormats
from qengine.runtime.plan.plan import BoundStep, Plan

INPUT, ACTIVATION, CONSTANT = "input", "activation", "constant"

Use = tuple[str, int, Tensor]
"""Use of a constant: the tensor that a step computes, the index of an operand of the step, and the constant there."""


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
    modes : rounding and overflow with which the run rounds it.
    """

    name: str
    kind: str
    operator: str
    format: Format
    rounds: bool = True
    uses: tuple[Use, ...] = ()
    modes: Modes = EXACT_CONSTANTS


@dataclass(frozen=True)
class Points:
    """The points of a run.

    Attributes
    ----------
    by_name : the points by name, in the order of the run.
    unmatched : names of tensors with formats that the float32 run computes in another way, or not at all.
    """

    by_name: Mapping[str, Point]
    unmatched: tuple[str, ...]


def points_of(fixed: Iterable[Plan], float32: Iterable[Plan]) -> Points:
    """Return the points of a run that is planned whole, or in sections.

    Parameters
    ----------
    fixed, float32
        Plans of one model for the same feeds, in the two arithmetics.
    """
    counterparts = {bound_step.output.name: bound_step for plan in float32 for bound_step in plan.steps}
    points: dict[str, Point] = {}
    unmatched: dict[str, None] = {}
    for plan in fixed:
        assert plan.fixed is not None
        rules = plan.fixed.rules
        for tensor in plan.inputs:
            if tensor.format is not None and tensor.name not in plan.encoded:
                modes = rules.modes("inputs", tensor.name)
                point = Point(tensor.name, INPUT, operator_label(None), tensor.format, modes=modes)
                points.setdefault(tensor.name, point)
        for bound_step in plan.steps:
            out, counterpart = bound_step.output, counterparts.get(bound_step.output.name)
            for k, constant in _constants(bound_step):
                if counterpart is None or not _reads_at(counterpart, k, constant):
                    unmatched.setdefault(constant.name)
                    continue
                assert constant.format is not None
                label, use = operator_label(bound_step.node), (out.name, k, constant)
                known = points.get(
                    constant.name, Point(constant.name, CONSTANT, label, constant.format, modes=constant.encoding)
                )
                if known.kind == CONSTANT and not any(use[:2] == other[:2] for other in known.uses):
                    points[constant.name] = replace(known, uses=(*known.uses, use))
            if out.format is None:
                continue
            if counterpart is None or not out.is_float:
                unmatched.setdefault(out.name)
            elif out.name not in points:
                label, rounds = operator_label(bound_step.node), not _moves(bound_step)
                points[out.name] = Point(out.name, ACTIVATION, label, out.format, rounds, modes=_modes(bound_step))
    return Points(points, tuple(name for name in unmatched if name not in points))


def _constants(bound_step: BoundStep) -> Iterator[tuple[int, Tensor]]:
    """Yield the constants with formats that a step reads, and the index of each among the operands."""
    for k, operand in enumerate(bound_step.step.operands):
        if operand.value is not None and operand.format is not None:
            yield k, operand


def _reads_at(counterpart: BoundStep, k: int, constant: Tensor) -> bool:
    """Whether the step in float32 has a constant of the same name and shape as an operand."""
    operands = counterpart.step.operands
    if k >= len(operands) or operands[k].value is None:
        return False
    return operands[k].name == constant.name and operands[k].shape == constant.shape


def _modes(bound_step: BoundStep) -> Modes:
    """Return the rounding and overflow of the output of a step."""
    arithmetic = bound_step.arithmetic
    return EXACT_CONSTANTS if arithmetic is None else Modes(arithmetic.rounding, arithmetic.overflow)


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
