"""Faults of what an operator writes: position, stuck bits, nothing, or the frame before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.inputs import is_code, moved, stale
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.steps import Combine, Join, Linear, Move

Array = NDArray[Any]
_BITS = 16


def _written(change: Callable[[Array], Array | None], variant: Variant) -> Variant | None:
    """Return the variant whose codes are changed after they are computed."""
    if variant.run is not None:
        return None
    before = variant.codes()
    after = change(before)
    if after is None or after.shape != before.shape or np.array_equal(after, before):
        return None
    return replace(variant, run=lambda _: after)


def _stuck(bit: int, value: int, codes: Array) -> Array | None:
    if codes.dtype.kind not in "iu" or bit >= 8 * codes.dtype.itemsize:
        return None
    bits = codes.view(np.dtype(f"u{codes.dtype.itemsize}"))
    mask = bits.dtype.type(1 << bit)
    return np.asarray(bits | mask if value else bits & ~mask).view(codes.dtype)


def _one_off(by: int, codes: Array) -> Array:
    flat = np.roll(codes.reshape(-1), by)
    flat[slice(0, by) if by > 0 else slice(by, None)] = 0
    return flat.reshape(codes.shape)


def _reversed(variant: Variant) -> Variant | None:
    """Return the variant with the channels of its output in reverse; None where an input in reverse is the same."""
    if not isinstance(variant.step, Linear | Combine | Join) or len(variant.output.shape) < 2:
        return None
    return _written(lambda codes: codes[:, ::-1], variant)


def _inverted(codes: Array) -> Array | None:
    return ~codes if codes.dtype.kind in "iu" else None


def _zeros(codes: Array) -> Array:
    return np.zeros_like(codes)


def _stale(variant: Variant) -> Variant | None:
    before = variant.operation.previous_output
    codes = [index for index in range(len(variant.step.operands)) if is_code(variant, index)]
    if len(codes) == 1 and stale(codes[0], variant) is not None:
        return None  # a stale input gives the same codes
    if before is None or before.shape != variant.operation.output.shape:
        return None
    return replace(variant, run=lambda _: np.asarray(before))


def _passed_through(variant: Variant) -> Variant | None:
    """Return the variant that gives the codes of its first input: an operator that is skipped."""
    x = variant.operands[0] if variant.operands else None
    if x is None or x.shape != variant.operation.output.shape or not isinstance(variant.step, Move | Linear | Combine):
        return None
    return replace(variant, run=lambda v: v.operands[0])


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""

    def one(name: str, sentence: str, rank: int, change: Callable[[Array], Array | None]) -> Hypothesis:
        return Hypothesis(f"output:{name}", sentence, rank, partial(_written, change), is_structural=True)

    for axis, name in ((-1, "column"), (-2, "row"), (-3, "channel")):
        for by in (1, -1):
            where = f"one {name} too {'late' if by > 0 else 'early'}"
            for fill, words in (("zero", ""), ("wrap", ", around its end")):
                key = f"{name}{by:+d}{'_wrapped' * (fill == 'wrap')}"
                yield one(key, f"an output that is written {where}{words}", 78, partial(moved, axis, by, fill))
    for by in (1, -1):
        side = "late" if by > 0 else "early"
        yield one(f"element{by:+d}", f"an output that is written one element too {side}", 81, partial(_one_off, by))
    for bit in range(_BITS):
        for value in (0, 1):
            sentence = f"an output whose bit {bit} is always {value}"
            yield one(f"bit_{bit}_is_{value}", sentence, 85, partial(_stuck, bit, value))
    sentence = "an output whose channels are in reverse order"
    yield Hypothesis("output:channels_reversed", sentence, 77, _reversed, is_structural=True)
    yield one("inverted", "an output of which every bit is inverted", 84, _inverted)
    yield one("never_written", "an output that is never written", 64, _zeros)
    yield Hypothesis("output:stale", "an output of the frame before", 66, _stale, is_structural=True)
    sentence = "an operator that passes its input through"
    yield Hypothesis("output:passed_through", sentence, 68, _passed_through, is_structural=True)
