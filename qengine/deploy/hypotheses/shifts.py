"""Faults of the shift from sums to codes: off by a few bits, or that of another channel."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant

_CHANNELS = {
    "first": ("the shift of the first channel for all channels", lambda s: np.full_like(s, s[0])),
    "last": ("the shift of the last channel for all channels", lambda s: np.full_like(s, s[-1])),
    "least": ("the smallest shift for all channels", lambda s: np.full_like(s, s.min())),
    "most": ("the largest shift for all channels", lambda s: np.full_like(s, s.max())),
    "next": ("the shift of the next channel for each channel", lambda s: np.roll(s, -1)),
    "before": ("the shift of the channel before for each channel", lambda s: np.roll(s, 1)),
    "reversed": ("the shifts of the channels in reverse order", lambda s: s[::-1]),
}


def _more(bits: int, variant: Variant) -> Variant | None:
    if variant.exact is not None:
        if variant.step.kind == "move":
            return None
        return variant.with_epilogue(more_shift=variant.own_epilogue.more_shift + bits)
    if variant.step.kind not in ("table", "resize", "rows"):
        return None
    # Codes of a format with fewer fraction bits and the same word are the same results with a larger shift.
    fmt = variant.output.one_format
    return replace(variant, output=replace(variant.output, format=fmt.with_fraction_bits(fmt.fraction_bits - bits)))


def _of_channels(pick: Any, variant: Variant) -> Variant | None:
    if variant.exact is None:
        return None
    shift = np.asarray(variant.exact.shift)
    if shift.size < 2:
        return None
    other: NDArray[Any] = pick(shift.reshape(-1)).reshape(shift.shape)
    return None if np.array_equal(other, shift) else variant.with_epilogue(more_shift=other - shift)


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for bits in (1, -1, 2, -2, 3, -3):
        more, some = ("more", "fewer") if bits > 0 else ("less", "more")
        sentence = f"a shift that is {abs(bits)} {more}, as for an output with {abs(bits)} {some} fraction bits"
        yield Hypothesis(f"shift:{bits:+d}", sentence, 24 + abs(bits), partial(_more, bits))
    for name, (sentence, pick) in _CHANNELS.items():
        yield Hypothesis(f"shift:{name}_channel", sentence, 32, partial(_of_channels, pick))
