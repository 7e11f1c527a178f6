"""Lifetimes of the tensors of a plan, and the most memory that they take at a time."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from qengine.model.steps import Tensor
from qengine.runtime.plan.plan import BoundStep


def with_lifetimes(bound_steps: Sequence[BoundStep]) -> tuple[BoundStep, ...]:
    """Return the steps, each with the tensors that no later step reads: its operands, and its output if unread."""
    read_later: set[str] = set()
    steps = []
    for bound_step in reversed(bound_steps):
        names = {*bound_step.reads, bound_step.output.name}
        steps.append(replace(bound_step, release=tuple(sorted(names - read_later))))
        read_later |= names
    return tuple(reversed(steps))


def most_bytes(inputs: Sequence[Tensor], steps: Sequence[BoundStep]) -> tuple[int, str]:
    """Return the largest number of bytes that tensors take at the same time on the reference, and the node where.

    An output in fixed point is computed as integers of 64 bits first.
    """
    sizes = {t.name: _bytes(t) for t in inputs}
    alive = most = sum(sizes.values())
    heaviest = "the inputs of a run"
    for bound_step in steps:
        output, step = bound_step.output, bound_step.step
        computed = max(prod(output.shape), prod(step.scratch)) * (output.dtype.itemsize if output.format is None else 8)
        sizes[output.name] = _bytes(output)
        alive += sizes[output.name]
        if alive + computed > most:
            most, heaviest = alive + computed, str(bound_step.node)
        alive -= sum(sizes.pop(name, 0) for name in bound_step.release)
    return most, heaviest


def _bytes(t: Tensor) -> int:
    return prod(t.shape) * (t.dtype.itemsize if t.format is None else t.format.dtype.itemsize)
