"""Coverage of an operator by vectors: ties, rails, pads, bounds, entries of a table, the largest accumulator.

Vectors that never round a tie pass on a device that rounds ties the other way. `coverage_of` counts what can tell two
devices apart. A tie counts where the output shows it: neither overflow nor a fused activation hides it. Four kinds of
ties are counted apart, as roundings differ on them: positive or negative, above an even or an odd code.
What no input shows is another question, for `reach`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.sums import Sums, sums_of
from qengine.model.steps import Combine, Move, Table
from qengine.model.steps.forms import Bounded, Convolution, WindowMax, WindowSum
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

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
    entries : codes of the input of a function of one code.
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
            found["input codes"] = len(self.entries)
        return found


def coverage_of(bound_step: BoundStep, operands: Sequence[Array], sums: Sums | None = None) -> Coverage:
    """Return what one vector makes an operator do; the sums are computed where they are not given."""
    coverage = Coverage()
    step = bound_step.step
    if is_elementwise(step):
        place = next((i for i, t in enumerate(step.operands) if t.value is None), 0)
        if isinstance(step.operands[place].format, QFormat):
            coverage.entries = frozenset(np.unique(operands[place]).tolist())
    sums = sums_of(bound_step, operands) if sums is None else sums
    if sums is None or not sums.accumulators.size:
        return coverage
    coverage.least, coverage.most = int(sums.accumulators.min()), int(sums.accumulators.max())
    counts = {name: int(np.count_nonzero(mask)) for name, mask in masks_of(sums).items()}
    counts |= pads_reached(bound_step)
    coverage.counts.update(counts)
    return coverage


def is_elementwise(step: Any) -> bool:
    """Whether an operator is a function of one code, the same for every element."""
    if isinstance(step, Table):
        return True
    if isinstance(step, Move):
        return isinstance(step.function, Bounded) and not step.others
    if isinstance(step, Combine):
        free = [t for t in step.terms if t.value is None]
        return len(free) == 1 and all(t.value is None or prod(t.shape) == 1 for t in step.terms)
    return False


def masks_of(sums: Sums) -> dict[str, Array]:
    """Return which numbers show what."""
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
