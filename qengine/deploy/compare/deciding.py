"""Vectors that decide between hypotheses which explain a dump equally well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.compare.search import Explanation
from qengine.deploy.hypotheses import Hypothesis, Operation, Variant
from qengine.deploy.hypotheses.exact import Exact
from qengine.deploy.hypotheses.hypothesis import codes_of_variant
from qengine.qformat import QFormat

Array = NDArray[Any]
_SEEDS = 3


def deciding_vector(first: Explanation, second: Explanation) -> str | None:
    """Return a vector for which two explanations of one operator give other codes, in words; None if none is known."""
    if first.suspect.operation is not second.suspect.operation:
        between = second if second.suspect.forward is not None else first
        return f"a dump of '{between.suspect.operation.output.name}' too"
    if not any(h.is_structural for h in (*first.hypotheses, *second.hypotheses)):
        found = _deciding_sum(first, second)
        if found is not None:
            return found
    return _deciding_codes(first.suspect.operation, first.hypotheses, second.hypotheses)


def _deciding_sum(first: Explanation, second: Explanation) -> str | None:
    """Return the smallest sum for which two epilogues differ."""
    exact = first.variant.exact
    if exact is None or first.variant.change_bias or second.variant.change_bias:
        return None
    shift, divisor = int(np.max(exact.shift)), int(np.max(exact.divisor))
    sums = candidates(shift, divisor, first.variant.own_epilogue.word.bits)
    one = Exact(sums, shift, divisor=divisor, low=exact.low, high=exact.high)
    a, b = first.variant.own_epilogue.codes(one), second.variant.own_epilogue.codes(one)
    places = np.flatnonzero(a != b)
    if not places.size:
        return None
    at = places[np.argmin(np.abs(sums[places]))]
    what = f"a sum of {int(sums[at]):,} (shift {shift}{f', count {divisor}' if divisor != 1 else ''})"
    return f"{what}: {first.name} gives {int(a[at])}, {second.name} gives {int(b[at])}"


def candidates(shift: int, divisor: int, bits: int) -> Array:
    """Return sums around ties, whole codes and the ends of the word and of registers."""
    unit = divisor << max(shift, 0)
    codes = [*range(-5, 6), *(sign * (1 << (bits - 1)) + d for sign in (1, -1) for d in range(-2, 3))]
    parts = {0, 1, 2, unit // 2, unit // 2 - 1, unit // 2 + 1, unit // 4, unit - 1, unit - 2, 3 * unit // 4}
    ends = [sign * (1 << b) + d for b in range(8, 40) for sign in (1, -1) for d in (-unit, -1, 0, 1, unit)]
    return np.array(sorted({c * unit + p for c in codes for p in parts} | set(ends)), np.int64)


def _deciding_codes(operation: Operation, first: Sequence[Hypothesis], second: Sequence[Hypothesis]) -> str | None:
    """Return random codes of the inputs for which two hypotheses differ, in words."""
    for seed in range(_SEEDS):
        random = np.random.default_rng(seed)
        operands = tuple(
            _random_codes(random, t, array)
            for t, array in zip(operation.step.operands, operation.operands, strict=True)
        )
        previous = tuple(
            _random_codes(random, t, array)
            for t, array in zip(operation.step.operands, operation.operands, strict=True)
        )
        other = Operation(operation.bound_step, operands, previous if operation.previous else ())
        codes = [_codes(other, hypotheses) for hypotheses in (first, second)]
        if codes[0] is None or codes[1] is None:
            continue
        differing = int(np.count_nonzero(codes[0] != codes[1]))
        if differing:
            names = ", ".join(f"'{t.name}'" for t in operation.step.operands if t.value is None)
            return f"random codes in {names} (seed {seed}): {differing:,} of {codes[0].size:,} codes then differ"
    return None


def _codes(operation: Operation, hypotheses: Sequence[Hypothesis]) -> Array | None:
    variant: Variant | None = Variant.of(operation)
    for hypothesis in hypotheses:
        variant = None if variant is None else hypothesis.variant(variant)
    return None if variant is None else codes_of_variant(variant)


def _random_codes(random: np.random.Generator, tensor: Any, array: Array) -> Array:
    if tensor.value is not None or not isinstance(tensor.format, QFormat):
        return array
    word = tensor.format.word()
    return random.integers(word.least, word.most + 1, array.shape).astype(array.dtype)
