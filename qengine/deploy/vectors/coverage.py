"""Coverage of an operator by vectors: ties, rails, pads, bounds, entries of a table, the largest accumulator.

Vectors that never round a tie pass on a device that rounds ties the other way. `coverage_of` counts what can tell two
devices apart. A tie counts where the output shows it: neither overflow nor a fused activation hides it. Four kinds of
ties are counted apart, as roundings differ on them: positive or negative, above an even or an odd code.

What cannot happen is proven where it can be: without a shift to the right there is no tie; sums that are all multiples
of a power of two reach only some remainders; the largest sum follows from the signs of the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.sums import Sums, sums_of
from qengine.deploy.vectors.taps import Taps
from qengine.kernels.reference.word import Word
from qengine.model.steps import Combine, Linear, Mean, Table
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import Convolution, WindowMax, WindowSum
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

MOST_SUMS = 1 << 21
"""Length of a range of sums that is gone through for a proof."""

TIES = ("tie above 0, even", "tie above 0, odd", "tie below 0, even", "tie below 0, odd")
NEAR = ("below a tie, above 0", "below a tie, below 0")
"""Numbers that lack the last bit to a tie: they tell rounding in two stages from one."""

RAILS = ("high rail", "low rail")
BOUNDS = ("upper bound", "lower bound")
INEXACT = ("inexact above 0", "inexact below 0")


@dataclass
class Coverage:
    """Coverage of an operator by some vectors.

    Attributes
    ----------
    counts : number of output elements by what they show.
    least, most : least and most accumulator; None for an operator without sums.
    entries : entries of a table that are read.
    """

    counts: Counter[str] = field(default_factory=Counter)
    least: int | None = None
    most: int | None = None
    entries: frozenset[int] = frozenset()

    def add(self, other: Coverage) -> None:
        """Add what other vectors show."""
        self.counts.update(other.counts)
        self.entries |= other.entries
        if other.least is not None and other.most is not None:
            self.least = other.least if self.least is None else min(self.least, other.least)
            self.most = other.most if self.most is None else max(self.most, other.most)

    @property
    def ties(self) -> int:
        """The number of ties."""
        return sum(self.counts[name] for name in TIES)

    @property
    def saturations(self) -> int:
        """The number of numbers beyond the word."""
        return sum(self.counts[name] for name in RAILS)

    def new_in(self, other: Coverage) -> bool:
        """Whether other vectors show something that these do not, or a larger accumulator."""
        if any(self.counts[name] == 0 for name, n in other.counts.items() if n) or other.entries - self.entries:
            return True
        if other.least is None or other.most is None:
            return False
        return self.least is None or self.most is None or other.least < self.least or other.most > self.most

    def as_json(self) -> dict[str, Any]:
        """Return the counts for the manifest."""
        found: dict[str, Any] = {name: int(self.counts[name]) for name in sorted(self.counts) if self.counts[name]}
        if self.least is not None:
            found["least accumulator"], found["most accumulator"] = self.least, self.most
        if self.entries:
            found["table entries"] = len(self.entries)
        return found


def coverage_of(bound_step: BoundStep, operands: Sequence[Array], sums: Sums | None = None) -> Coverage:
    """Return what one vector makes an operator do; the sums are computed where they are not given."""
    coverage = Coverage()
    step = bound_step.step
    if isinstance(step, Table) and isinstance(step.x.format, QFormat):
        coverage.entries = frozenset(np.unique(operands[0]).tolist())
        return coverage
    sums = sums_of(bound_step, operands) if sums is None else sums
    if sums is None or not sums.accumulators.size:
        return coverage
    coverage.least, coverage.most = int(sums.accumulators.min()), int(sums.accumulators.max())
    counts = {name: int(np.count_nonzero(mask)) for name, mask in _masks(sums).items()}
    counts |= pads_reached(bound_step)
    coverage.counts.update(counts)
    return coverage


def _masks(sums: Sums) -> dict[str, Array]:
    _, denominator = sums.fraction
    floor, twice, rounded, word = sums.floor, sums.twice_rest, sums.rounded, sums.word
    low, high = sums.low, sums.high
    visible = (floor >= low) & (floor < high)
    tie, below, odd = (twice == denominator) & visible, floor < 0, (floor & 1).astype(bool)
    inexact = (twice != 0) & visible
    near = (twice == denominator - 2) & (denominator > 2) & visible
    masks = {
        NEAR[0]: near & ~below,
        NEAR[1]: near & below,
        TIES[0]: tie & ~below & ~odd,
        TIES[1]: tie & ~below & odd,
        TIES[2]: tie & below & ~odd,
        TIES[3]: tie & below & odd,
        RAILS[0]: rounded > word.most,
        RAILS[1]: rounded < word.least,
        INEXACT[0]: inexact & ~below,
        INEXACT[1]: inexact & below,
    }
    if high < word.most:
        masks[BOUNDS[0]] = rounded > high
    if low > word.least:
        masks[BOUNDS[1]] = rounded < low
    return masks


def pads_reached(bound_step: BoundStep) -> dict[str, int]:
    """Return the number of windows that reach beyond each side of an input that is padded there."""
    found = {}
    for axis, (size, out, extent, step, (before, after)) in enumerate(_windows(bound_step)):
        starts = np.arange(out) * step - before
        if before > 0:
            found[f"pad before axis {axis + 2}"] = int(np.count_nonzero(starts < 0))
        if after > 0:
            found[f"pad after axis {axis + 2}"] = int(np.count_nonzero(starts + extent > size))
    return found


def _windows(bound_step: BoundStep) -> list[tuple[int, int, int, int, tuple[int, int]]]:
    """Return size, outputs, extent, stride and padding along each spatial axis of a window operator."""
    step: Any = bound_step.step
    form = getattr(step, "product", None) or getattr(step, "total", None) or getattr(step, "function", None)
    if isinstance(form, Convolution):
        kernel = step.w.shape[2:]
        dilations = form.dilations
    elif isinstance(form, WindowSum | WindowMax):
        kernel, dilations = form.kernel, getattr(form, "dilations", (1,) * len(form.kernel))
    else:
        return []
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return list(zip(step.x.shape[2:], step.shape[2:], extents, form.strides, form.pads, strict=True))


@dataclass(frozen=True)
class Reach:
    """Limits of an operator over all inputs, as far as its constants tell.

    Attributes
    ----------
    least, most : bounds on the accumulators; None where they are unknown.
    impossible : reasons, by the name of the coverage that no input gives.
    """

    least: int | None = None
    most: int | None = None
    impossible: dict[str, str] = field(default_factory=dict)

    @property
    def bits(self) -> int | None:
        """The width of the narrowest accumulator in two's complement that holds every sum."""
        if self.least is None or self.most is None:
            return None
        return 1 + max(self.most.bit_length(), (-self.least - 1).bit_length() if self.least < 0 else 0)


def reach_of(bound_step: BoundStep, sums: Sums | None, taps: Taps | None) -> Reach:
    """Return what inputs can make an operator do; `sums` are those of any input."""
    if sums is None:
        return Reach()
    step, arithmetic = bound_step.step, bound_step.arithmetic
    assert arithmetic is not None
    impossible: dict[str, str] = {}
    if sums.low >= 0:
        reason = "a fused activation ends at 0" if sums.word.signed else "the output has no codes below 0"
        impossible |= dict.fromkeys((TIES[2], TIES[3], NEAR[1], INEXACT[1]), reason)
    if np.all(np.asarray(sums.shift) <= 0) and np.all(np.asarray(sums.count) == 1):
        impossible |= dict.fromkeys((*TIES, *NEAR, *INEXACT), "no bits are dropped")
    least = most = None
    if taps is not None and isinstance(step, Linear):
        least, most, may_tie = _of_taps(taps, step.x.one_format.word())
        if not may_tie:
            impossible = dict.fromkeys(TIES, "no sum has the remainder of a tie") | impossible
        kept, own = Accumulation(step, bound_step.output, arithmetic).kept_bits, Reach(least, most).bits
        if kept is not None and own is not None and own >= kept:  # the sums wrap, or the rounding constant makes them
            least, most = -(1 << kept), 1 << kept
    else:
        ends = _ends(bound_step)
        if ends is not None:
            least, most = ends
    if least is not None and most is not None:
        impossible = _rails_out_of_reach(sums, least, most) | impossible
        if most - least < MOST_SUMS:
            impossible = _shown_by_none(sums, least, most) | impossible
    return Reach(least, most, impossible)


def _shown_by_none(sums: Sums, least: int, most: int) -> dict[str, str]:
    """Return what none of all sums of a range shows."""
    every = np.arange(least, most + 1, dtype=np.int64)
    found: set[str] | None = None
    for fraction_bits in np.unique(np.asarray(sums.fraction_bits)):
        for count in np.unique(np.asarray(sums.count)):
            one = replace(sums, accumulators=every, fraction_bits=int(fraction_bits), count=int(count))
            absent = {name for name, mask in _masks(one).items() if not mask.any()}
            found = absent if found is None else found & absent
    return dict.fromkeys(sorted(found or ()), f"none of all sums from {least} to {most} shows it")


def _rails_out_of_reach(sums: Sums, least: int, most: int) -> dict[str, str]:
    """Return the rails and bounds that the extreme sums do not reach, even with the fewest bits dropped."""
    fraction_bits, count = int(np.min(sums.fraction_bits)), int(np.min(sums.count))
    ends = replace(sums, accumulators=np.array([least, most], object), fraction_bits=fraction_bits, count=count)
    low, high = (int(code) for code in ends.rounded)
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


def _of_taps(taps: Taps, word: Word) -> tuple[int, int, bool]:
    """Return bounds on the sums of a linear operator, and whether a sum may be a tie."""
    positive, negative = np.maximum(taps.weights, 0).sum(axis=2), np.minimum(taps.weights, 0).sum(axis=2)
    highest = taps.bias + (positive * word.most + negative * word.least)[..., None]
    lowest = taps.bias + (positive * word.least + negative * word.most)[..., None]
    # A sum is the bias and a multiple of the largest power of two that divides all weights.
    bits = np.bitwise_or.reduce(taps.weights, axis=2, initial=0)
    factor = np.where(bits == 0, np.int64(1) << 62, bits & -bits)[..., None]
    shift = np.clip(taps.shift, 0, 61)
    period = np.minimum(factor, np.int64(1) << shift)
    may_tie = (taps.shift > 0) & (((np.int64(1) << np.maximum(shift - 1, 0)) - taps.bias) % period == 0)
    return int(lowest.min()), int(highest.max()), bool(may_tie.any())


def _ends(bound_step: BoundStep) -> tuple[int, int] | None:
    """Return bounds on the sums of an Add, a Mul or a mean of codes of any value."""
    step: Any = bound_step.step
    words = [t.one_format.word() for t in step.operands if isinstance(t.format, QFormat)]
    if isinstance(step, Combine) and step.operation in ("add", "subtract", "multiply"):
        if len(words) != len(step.terms):
            return None
        if step.operation == "multiply":
            products = [a * b for a in (words[0].least, words[0].most) for b in (words[1].least, words[1].most)]
            return min(products), max(products)
        n = [t.fraction_bits for t in step.terms]
        assert bound_step.arithmetic is not None
        if bound_step.arithmetic.aligns:
            words, n = [bound_step.output.one_format.word()] * len(n), [0] * len(n)
        scales = [1 << (max(n) - one) for one in n]
        signs = [1, -1] if step.operation == "subtract" else [1] * len(n)
        ends = [sorted((s * k * w.least, s * k * w.most)) for w, k, s in zip(words, scales, signs, strict=True)]
        return sum(end[0] for end in ends), sum(end[1] for end in ends)
    if isinstance(step, Mean) and 0 not in step.shape:
        ones = step.total(np.ones(step.x.shape, np.int64))
        return int(ones.max()) * words[0].least, int(ones.max()) * words[0].most
    return None
