"""The least and the most code that every computed tensor can hold.

A lowering that knows these ends needs narrower sums, and a table needs entries for no other code. Each kind of step has
a function that gets the ends of its operands and returns those of its output, by interval arithmetic on exact integers
(`intervals`). The ends are a proof: no input leads to a code outside of them. Where a kind is not known, or nothing
better can be said, they are those of the word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ranges.intervals import (
    Ends,
    fitted,
    hull,
    multiplied,
    plus,
    quotient,
    requantized,
    scaled,
    with_zero,
)
from qengine.deploy.c.ranges.linear import linear_ends
from qengine.deploy.c.ranges.mean import mean_ends
from qengine.kernels.reference.resize import ResizeTaps, integer_taps
from qengine.kernels.reference.word import Word
from qengine.model.graph import NO_ACTIVATION
from qengine.model.rules import Arithmetic
from qengine.model.steps import (
    Combine,
    FromCodes,
    FromIntegers,
    Join,
    Linear,
    Mean,
    Move,
    Resize,
    Step,
    Table,
    Tensor,
    ToCodes,
)
from qengine.model.steps.forms import AxisExtreme, Bounded, WindowMax
from qengine.model.steps.moves import Padded
from qengine.model.steps.pairs import Extreme
from qengine.qformat import PartFormats
from qengine.runtime.plan.plan import BoundStep

EndsOf = Callable[[Tensor], Ends]
"""Ends of an operand."""

_REAL = (-(1 << 63), (1 << 63) - 1)


def ends_of(bound_step: BoundStep, ends: Mapping[str, Ends]) -> Ends:
    """Return the least and the most code of the output of a step.

    Parameters
    ----------
    bound_step
        The step.
    ends
        Ends of computed tensors by name; one that is missing has those of its word.
    """
    step, out, arithmetic = bound_step.step, bound_step.output, bound_step.arithmetic

    def of(tensor: Tensor) -> Ends:
        if tensor.value is not None:
            elements = tensor.elements
            is_whole = elements.size > 0 and elements.dtype.kind in "iub"
            return (int(elements.min()), int(elements.max())) if is_whole else word_ends(tensor)
        return ends.get(tensor.name) or word_ends(tensor)

    known = next((function for kind, function in _OF_KIND.items() if isinstance(step, kind)), None)
    if known is None or arithmetic is None or (out.format is None and not isinstance(step, Move | ToCodes)):
        return word_ends(out)
    return known(step, out, arithmetic, of)


def word_ends(tensor: Tensor) -> Ends:
    """Return the ends of the word of a tensor: of its format or, without one, of its element type."""
    if tensor.format is not None:
        word = tensor.format.word()
        return word.least, word.most
    if tensor.dtype.kind == "b":
        return 0, 1
    if tensor.dtype.kind in "iu":
        info = np.iinfo(tensor.dtype)
        return int(info.min), int(info.max)
    return _REAL


def _linear(step: Linear, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    b = (0, 0) if step.b is None or step.b.value is not None else of(step.b)
    return linear_ends(step, out, arithmetic, of(step.x), of(step.w), b)


def _table(step: Table, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    entries, _, _ = step.table(out, arithmetic)
    first = step.x.one_format.word().least
    low, high = of(step.x)
    reached = entries[low - first : high - first + 1]
    return int(reached.min()), int(reached.max())


def _mean(step: Mean, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    return mean_ends(step, out, arithmetic, of(step.x))


def _move(step: Move, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    del arithmetic
    ends = of(step.x)
    if step.out_dtype is not None:  # places of extremes, -1 for a window of padding alone
        return -1, max(prod(step.x.shape) - 1, 0)
    if step.x.format is None and step.x.dtype.kind == "f":
        return word_ends(out)
    constants = [None if c is None else step.x.encode(c) if step.x.format else int(c) for c in step.constants]
    match step.function:
        case Bounded():
            low, high = constants
            ends = ends if low is None else (max(ends[0], low), max(ends[1], low))
            return ends if high is None else (min(ends[0], high), min(ends[1], high))
        case Padded(mode=mode, width=width) if mode != "constant" or not any(map(any, width)):
            return ends
        case AxisExtreme() if all(step.x.shape):
            return ends
        case WindowMax() if not _has_empty_window(step):
            return ends
    return hull([ends, *((c, c) for c in constants if c is not None)])


def _has_empty_window(step: Move) -> bool:
    """Whether a window lies in the padding alone."""
    probe = np.zeros((1, 1, *step.x.shape[2:]), np.int8)
    return probe.size == 0 or bool((step.function(probe, -1) < 0).any())


def _join(step: Join, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    formats = out.format.formats if isinstance(out.format, PartFormats) else (out.one_format,) * len(step.joined)
    parts = []
    for tensor, own in zip(step.joined, formats, strict=True):
        is_kept = isinstance(out.format, PartFormats) and tensor.format == own
        shift = tensor.fraction_bits - own.fraction_bits
        parts.append(of(tensor) if is_kept else requantized(of(tensor), shift, arithmetic.word(own)))
    if isinstance(step.function, Extreme):
        pick = max if step.function.largest else min
        return pick(low for low, _ in parts), pick(high for _, high in parts)
    return hull(parts)


def _combine(step: Combine, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    word, activation = arithmetic.word(out.one_format), step.activation or NO_ACTIVATION
    bounds = out.encode_bound(activation.low), out.encode_bound(activation.high)
    n, target, ends = [t.fraction_bits for t in step.terms], out.fraction_bits, [of(t) for t in step.terms]
    if step.operation == "multiply":
        found = multiplied(ends[0], ends[1])
        if step.terms[0].name == step.terms[1].name:
            squares = [e * e for e in ends[0]]
            found = (0 if ends[0][0] <= 0 <= ends[0][1] else min(squares)), max(squares)
        return requantized(found, n[0] + n[1] - target, word, *bounds)
    if step.operation == "divide":
        parts = _quotients(ends[0], ends[1], n[0] - n[1] - target, word)
        low, high = hull(parts)
        least, most = (None if c is None else min(max(c, word.least), word.most) for c in bounds)
        low, high = (low, high) if least is None else (max(low, least), max(high, least))
        return (low, high) if most is None else (min(low, most), min(high, most))
    if step.operation == "prelu":
        return requantized(_rectified(ends[0], ends[1], n[1]), max(n[1], 0) + n[0] - target, word, *bounds)
    finest, total = max(n), (0, 0)
    if arithmetic.aligns:
        moved = [t.format != out.format for t in step.terms]
        ends = [requantized(e, k - target, word) if m else e for e, k, m in zip(ends, n, moved, strict=True)]
        n = [target if m else k for k, m in zip(n, moved, strict=True)]
        finest = max(n)
    for place, (e, k) in enumerate(zip(ends, n, strict=True)):
        sign = -1 if step.operation == "subtract" and place == 1 else 1
        total = plus(total, scaled(e, sign << (finest - k)))
    return requantized(total, finest - target, word, *bounds)


def _quotients(a: Ends, b: Ends, shift: int, word: Word) -> list[Ends]:
    """Return intervals that hold the codes of quotients; see `divide_fixed`."""
    left, right = max(-shift, 0), max(shift, 0)
    found = []
    for low, high in ((b[0], min(b[1], -1)), (max(b[0], 1), b[1])):
        if low <= high:
            sign = -1 if high < 0 else 1
            corners = [quotient(x * sign << left, abs(y) << right, word.rounding) for x, y in product(a, (low, high))]
            found.append(fitted((min(corners), max(corners)), word))
    if b[0] <= 0 <= b[1]:
        found += [(word.lowest,) * 2] if a[0] < 0 else []
        found += [(word.most,) * 2] if a[1] > 0 else []
        found += [(0, 0)] if a[0] <= 0 <= a[1] else []
    return found


def _rectified(x: Ends, slope: Ends, slope_bits: int) -> Ends:
    """Return the ends of the exact results of PRelu, with max(slope_bits, 0) fraction bits more than x."""
    finest = max(slope_bits, 0)
    parts = []
    if x[1] >= 0:
        parts.append(scaled((max(x[0], 0), x[1]), 1 << finest))
    if x[0] < 0:
        parts.append(scaled(multiplied((x[0], min(x[1], -1)), slope), 1 << (finest - slope_bits)))
    return hull(parts)


def _resize(step: Resize, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    ends, taps = of(step.x), step.taps()
    fills = [out.encode(step.extrapolation_value)] if any(_has_outside(t) for t in taps) else []
    if step.mode != "nearest":
        for one in taps:
            weight = integer_taps(one, step.tap_bits).weight
            if not weight.size:
                return word_ends(out)
            ends = _weighted(weight, ends)
        shift = step.tap_bits * len(taps) + step.x.fraction_bits - out.fraction_bits
        ends = with_zero(ends) if fills else ends
        ends = requantized(ends, shift, arithmetic.word(out.one_format))
    return hull([ends, *((fill, fill) for fill in fills)])


def _has_outside(taps: ResizeTaps) -> bool:
    return taps.outside is not None and bool(taps.outside.any())


def _weighted(weight: NDArray[Any], ends: Ends) -> Ends:
    """Return the ends of the sums of numbers times the rows of some weights."""
    positive = np.maximum(weight, 0).sum(axis=1)
    parts = {(int(p), int(p - w)) for p, w in zip(positive, weight.sum(axis=1), strict=True)}
    low, high = ends
    return min(p * low - n * high for p, n in parts), max(p * high - n * low for p, n in parts)


def _from_codes(step: FromCodes, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    moved = plus(of(step.x), (-step.zero_point,) * 2)
    return requantized(moved, step.format.fraction_bits - out.fraction_bits, arithmetic.word(out.one_format))


def _from_integers(step: FromIntegers, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    return requantized(of(step.x), -out.fraction_bits, arithmetic.word(out.one_format).unshifted)


def _to_codes(step: ToCodes, out: Tensor, arithmetic: Arithmetic, of: EndsOf) -> Ends:
    del arithmetic
    if step.x.format is None:
        return word_ends(out)
    shift = step.x.fraction_bits - step.format.fraction_bits
    low, high = plus(requantized(of(step.x), shift, step.format.word()), (step.zero_point,) * 2)
    least, most = word_ends(out)
    return (low, high) if least <= low and high <= most else (least, most)


_OF_KIND: dict[type[Step], Callable[..., Ends]] = {
    Linear: _linear,
    Table: _table,
    Mean: _mean,
    Move: _move,
    Join: _join,
    Combine: _combine,
    Resize: _resize,
    FromCodes: _from_codes,
    FromIntegers: _from_integers,
    ToCodes: _to_codes,
}
