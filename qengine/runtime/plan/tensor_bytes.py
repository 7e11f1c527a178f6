"""Memory that the tensors of a plan take."""

from collections.abc import Sequence
from math import prod

from qengine.model.steps import Tensor
from qengine.runtime.plan.plan import BoundStep


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
