"""Limits of an operator over all inputs: the range of its sums, and what no input shows, as far as its constants tell.

Without a shift to the right there is no tie; sums that are all multiples of a power of two reach only some remainders;
the largest sum follows from the signs of the weights. Sums that are divided alike are one part, with a range of its
own. If the parts are short, all their sums are gone through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.coverage import BOUNDS, INEXACT, NEAR, RAILS, TIES, masks_of
from qengine.deploy.vectors.sums import Sums
from qengine.deploy.vectors.taps import Taps
from qengine.kernels.reference.word import Word
from qengine.model.steps import Combine, Linear, Mean
from qengine.model.steps.accumulator import Accumulation
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

MOST_SUMS = 1 << 21
"""The number of sums that are gone through for a proof."""


@dataclass(frozen=True)
class Part:
    """Sums that are divided alike.

    Attributes
    ----------
    fraction_bits, count : fraction bits of the sums, and their divisor.
    least, most : range of the sums.
    """

    fraction_bits: int
    count: int
    least: int
    most: int


@dataclass(frozen=True)
class Reach:
    """Limits of an operator over all inputs.

    Attributes
    ----------
    parts : ranges of its sums; none where they are unknown.
    impossible : reasons, by the name of the coverage that no input gives.
    goals : names of the coverage that vectors should give.
    """

    parts: tuple[Part, ...] = ()
    impossible: dict[str, str] = field(default_factory=dict)
    goals: tuple[str, ...] = ()

    @property
    def least(self) -> int | None:
        """The least sum; None where it is unknown."""
        return min((part.least for part in self.parts), default=None)

    @property
    def most(self) -> int | None:
        """The largest sum; None where it is unknown."""
        return max((part.most for part in self.parts), default=None)

    @property
    def bits(self) -> int | None:
        """The width of the narrowest accumulator in two's complement that holds every sum."""
        if self.least is None or self.most is None:
            return None
        return 1 + max(self.most.bit_length(), (-self.least - 1).bit_length() if self.least < 0 else 0)

    @property
    def is_short(self) -> bool:
        """Whether all sums can be gone through."""
        return 0 < sum(part.most - part.least + 1 for part in self.parts) <= MOST_SUMS

    def every(self, sums: Sums) -> Iterator[Sums]:
        """Yield all sums, part by part; `sums` are those of any input."""
        for part in self.parts:
            every = np.arange(part.least, part.most + 1, dtype=np.int64)
            yield replace(sums, accumulators=every, fraction_bits=part.fraction_bits, count=part.count)


def reach_of(bound_step: BoundStep, sums: Sums | None, taps: Taps | None) -> Reach:
    """Return the limits of an operator; `sums` are those of any input."""
    if sums is None:
        return Reach()
    impossible: dict[str, str] = {}
    if sums.low >= 0:
        reason = "a fused activation ends at 0" if sums.word.signed else "the output has no codes below 0"
        impossible |= dict.fromkeys((TIES[2], TIES[3], NEAR[1], INEXACT[1]), reason)
    if np.all(np.asarray(sums.shift) <= 0) and np.all(np.asarray(sums.count) == 1):
        impossible |= dict.fromkeys((*TIES, *NEAR, *INEXACT), "no bits are dropped")
    parts: tuple[Part, ...] = ()
    if taps is not None and isinstance(bound_step.step, Linear):
        parts = _of_taps(taps, bound_step.step.x.one_format.word(), sums)
        if not _may_tie(taps):
            impossible = dict.fromkeys(TIES, "no sum has the remainder of a tie") | impossible
        assert bound_step.arithmetic is not None
        kept = Accumulation(bound_step.step, bound_step.output, bound_step.arithmetic).kept_bits
        own = Reach(parts).bits
        if kept is not None and own is not None and own >= kept:  # sums wrap, or the rounding constant makes them
            parts = tuple(replace(part, least=-(1 << kept), most=1 << kept) for part in parts)
    else:
        parts = _of_words(bound_step, sums)
    if parts:
        impossible = _rails_out_of_reach(sums, parts) | impossible
        if Reach(parts).is_short:
            impossible = _shown_by_none(sums, Reach(parts)) | impossible
    goals = [*TIES, *RAILS]
    goals += [BOUNDS[0]] * (sums.high < sums.word.most) + [BOUNDS[1]] * (sums.low > sums.word.least)
    return Reach(parts, impossible, tuple(goal for goal in goals if goal not in impossible))


def _shown_by_none(sums: Sums, reach: Reach) -> dict[str, str]:
    """Return what none of all sums shows."""
    absent: set[str] | None = None
    for every in reach.every(sums):
        found = {name for name, mask in masks_of(every).items() if not mask.any()}
        absent = found if absent is None else absent & found
    return dict.fromkeys(sorted(absent or ()), f"none of all sums from {reach.least} to {reach.most} shows it")


def _rails_out_of_reach(sums: Sums, parts: tuple[Part, ...]) -> dict[str, str]:
    """Return the rails and bounds that the extreme sums do not reach."""
    lows, highs = [], []
    for part in parts:
        ends = np.array([part.least, part.most], object)
        rounded = replace(sums, accumulators=ends, fraction_bits=part.fraction_bits, count=part.count).rounded
        lows.append((int(rounded[0]), part.least))
        highs.append((int(rounded[1]), part.most))
    (low, least), (high, most) = min(lows), max(highs)
    below, above = f"the least sum, {least}, is the code {low}", f"the largest sum, {most}, is the code {high}"
    found = {}
    if high <= sums.word.most:
        found[RAILS[0]] = above
    if low >= sums.word.least:
        found[RAILS[1]] = below
    if sums.high < sums.word.most and high <= sums.high:
        found[BOUNDS[0]] = above
    if sums.low > sums.word.least and low >= sums.low:
        found[BOUNDS[1]] = below
    return found


def _of_taps(taps: Taps, word: Word, sums: Sums) -> tuple[Part, ...]:
    """Return the ranges of a linear operator: of all channels that drop as many bits."""
    positive, negative = np.maximum(taps.weights, 0).sum(axis=2), np.minimum(taps.weights, 0).sum(axis=2)
    highest = taps.bias + (positive * word.most + negative * word.least)[..., None]
    lowest = taps.bias + (positive * word.least + negative * word.most)[..., None]
    parts = []
    for shift in np.unique(taps.shift):
        own = taps.shift == shift
        fraction_bits = int(shift) + sums.fraction_bits_out
        parts.append(Part(fraction_bits, 1, int(lowest[own].min()), int(highest[own].max())))
    return tuple(parts)


def _may_tie(taps: Taps) -> bool:
    """Whether a sum may be a tie: it is the bias and a multiple of the power of two that divides all weights."""
    bits = np.bitwise_or.reduce(taps.weights, axis=2, initial=0)
    factor = np.where(bits == 0, np.int64(1) << 62, bits & -bits)[..., None]
    shift = np.clip(taps.shift, 0, 61)
    period = np.minimum(factor, np.int64(1) << shift)
    half = np.int64(1) << np.maximum(shift - 1, 0)
    return bool(np.any((taps.shift > 0) & ((half - taps.bias) % period == 0)))


def _of_words(bound_step: BoundStep, sums: Sums) -> tuple[Part, ...]:
    """Return the ranges of an Add, a Mul or a mean of codes of any value."""
    step: Any = bound_step.step
    words = [t.one_format.word() for t in step.operands if isinstance(t.format, QFormat)]
    if len(words) != len(step.operands) or np.ndim(sums.fraction_bits):
        return ()
    fraction_bits = int(sums.fraction_bits)
    if isinstance(step, Combine) and step.operation == "multiply":
        products = [a * b for a in (words[0].least, words[0].most) for b in (words[1].least, words[1].most)]
        return (Part(fraction_bits, 1, min(products), max(products)),)
    if isinstance(step, Combine) and step.operation == "prelu" and step.terms[1].value is not None:
        slopes, finest = step.terms[1].codes.astype(np.int64), max(step.terms[1].fraction_bits, 0)
        scale = 1 << (finest - step.terms[1].fraction_bits)
        ends = [words[0].least * int(one) * scale for one in (slopes.min(), slopes.max())]
        return (Part(fraction_bits, 1, min(0, *ends), max(words[0].most << finest, *ends)),)
    if isinstance(step, Combine) and step.operation in ("add", "subtract"):
        n = [t.fraction_bits for t in step.terms]
        assert bound_step.arithmetic is not None
        if bound_step.arithmetic.aligns:
            words, n = [bound_step.output.one_format.word()] * len(n), [0] * len(n)
        scales = [1 << (max(n) - one) for one in n]
        signs = [1, -1] if step.operation == "subtract" else [1] * len(n)
        ends = [sorted((s * k * w.least, s * k * w.most)) for w, k, s in zip(words, scales, signs, strict=True)]
        return (Part(fraction_bits, 1, sum(end[0] for end in ends), sum(end[1] for end in ends)),)
    if isinstance(step, Mean) and 0 not in step.shape:
        ones = np.asarray(step.total(np.ones(step.x.shape, np.int64)))
        pairs = np.unique(np.stack(np.broadcast_arrays(ones, sums.count)).reshape(2, -1), axis=1).T.tolist()
        return tuple(Part(fraction_bits, count, n * words[0].least, n * words[0].most) for n, count in pairs)
    return ()
