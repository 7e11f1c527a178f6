"""Accumulators: the bits that the sums of each linear operator need, proved from the weights.

No part of a sum of products, in any order, leaves the range that the positive and the negative weights of a filter
give with the extremes of the input's word, and the bias with it. The register that holds this range is the
accumulator that the filter needs for any input. Where the one of the device is smaller, data may come near its rails
or not: then sums wrap or saturate, as a run computes and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.runtime.plan.plan import BoundStep


@dataclass(frozen=True)
class AccumulatorNeed:
    """The accumulator that a linear operator needs.

    Attributes
    ----------
    tensor : name of the result.
    operator : type of the node.
    bits : bits of the smallest register, in two's complement, that holds every sum of every filter.
    channel : filter with the largest sum.
    channels : number of filters whose sums may leave the register of the target.
    available : bits of the target's register; None for an unbounded one.
    """

    tensor: str
    operator: str
    bits: int
    channel: int
    channels: int
    available: int | None

    @property
    def is_proved(self) -> bool:
        """Whether no sum can leave the register of the target."""
        return not self.channels


def accumulator_needs(steps: Iterable[BoundStep]) -> Iterator[AccumulatorNeed]:
    """Yield the accumulator that each linear step of a plan in fixed point needs."""
    for one in steps:
        if not isinstance(one.step, Linear) or one.arithmetic is None or one.output.format is None:
            continue
        sums = Accumulation(one.step, one.output, one.arithmetic)
        low, high = (np.asarray(part, object).ravel().tolist() for part in sums.limits)
        needs = [1 + max(int(b).bit_length(), max(-1 - int(a), 0).bit_length()) for a, b in zip(low, high, strict=True)]
        largest = max(range(len(needs)), key=needs.__getitem__)
        broken = int(np.count_nonzero(sums.may_overflow))
        own = one.arithmetic.accumulator
        yield AccumulatorNeed(one.output.name, one.node.operator, needs[largest], largest, broken, own.bits)
