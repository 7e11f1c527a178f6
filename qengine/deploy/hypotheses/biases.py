"""Faults of a bias: left out, of a narrow word, shifted, or added in the wrong place."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.exact import Exact
from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.kernels.reference.word import wrap

Array = NDArray[Any]


def _placed(bias: str, variant: Variant) -> Variant | None:
    if variant.exact is None or variant.exact.bias is None:
        return None
    return variant.with_epilogue(bias=bias)


def _changed(change: Callable[[Exact], Array], variant: Variant) -> Variant | None:
    exact = variant.exact
    if exact is None or exact.bias is None or variant.change_bias is not None:
        return None
    other = change(exact)
    return None if np.array_equal(other, exact.bias) else replace(variant, change_bias=change)


def _saturated(bits: int, exact: Exact) -> Array:
    """Return the bias in a word of some bits with the fraction bits of the sums."""
    assert exact.bias is not None
    return np.clip(exact.bias, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _wrapped(bits: int, exact: Exact) -> Array:
    assert exact.bias is not None
    return wrap(exact.bias, bits, signed=True)


def _coarse(bits: int, rounding: Callable[[Array], Array], exact: Exact) -> Array:
    """Return the bias in a word of some bits with the most fraction bits with which no element saturates."""
    assert exact.bias is not None
    real = exact.bias.astype(np.float64) if exact.real_bias is None else exact.real_bias
    largest = float(np.abs(real).max(initial=0))
    drop = 0
    while np.floor(largest / 2.0**drop) > (1 << (bits - 1)) - 1:
        drop += 1
    return np.asarray(rounding(real / 2.0**drop).astype(np.int64) << drop)


def _shifted(by: int, exact: Exact) -> Array:
    assert exact.bias is not None
    return exact.bias << by if by > 0 else exact.bias >> -by


def _rolled(by: int, exact: Exact) -> Array:
    assert exact.bias is not None
    return np.roll(exact.bias.reshape(-1), by).reshape(exact.bias.shape)


def _first(exact: Exact) -> Array:
    assert exact.bias is not None
    return np.full_like(exact.bias, exact.bias.reshape(-1)[0])


def _times(factor: int, exact: Exact) -> Array:
    assert exact.bias is not None
    return exact.bias * factor


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    yield Hypothesis("bias:missing", "a bias that is left out", 28, partial(_placed, "none"))
    for bits in (8, 12, 16, 20, 24):
        name = f"a bias of {bits} bits"
        forms: tuple[tuple[str, str, Callable[[Exact], Array]], ...] = (
            (f"bias:{bits}_bits", f"{name} that saturates at the fraction bits of the sums", partial(_saturated, bits)),
            (f"bias:{bits}_bits_wrap", f"{name} that wraps", partial(_wrapped, bits)),
            (
                f"bias:{bits}_bits_coarse",
                f"{name} with the most fraction bits that fit",
                partial(_coarse, bits, np.rint),
            ),
            (
                f"bias:{bits}_bits_cut",
                f"{name} with the most fraction bits that fit, rounded down",
                partial(_coarse, bits, np.floor),
            ),
        )
        for rank, (key, sentence, change) in enumerate(forms, 40):
            yield Hypothesis(key, sentence, rank, partial(_changed, change))
    for by in (
        1,
        -1,
        2,
        -2,
        3,
        -3,
        4,
        -4,
        5,
        -5,
        6,
        -6,
        7,
        -7,
        8,
        -8,
        9,
        -9,
        10,
        -10,
        12,
        -12,
        14,
        -14,
        15,
        -15,
        16,
        -16,
    ):
        side = "left" if by > 0 else "right"
        sentence = f"a bias that is shifted by {abs(by)} bits too far to the {side}"
        yield Hypothesis(f"bias:shift{by:+d}", sentence, 44 + abs(by), partial(_changed, partial(_shifted, by)))
    yield Hypothesis(
        "bias:after_shift",
        "a bias that is rounded by itself and added after the shift",
        45,
        partial(_placed, "rounded"),
    )
    yield Hypothesis("bias:subtracted", "a bias that is subtracted", 46, partial(_changed, partial(_times, -1)))
    yield Hypothesis("bias:next_channel", "the bias of the next channel", 48, partial(_changed, partial(_rolled, -1)))
    yield Hypothesis(
        "bias:channel_before", "the bias of the channel before", 48, partial(_changed, partial(_rolled, 1))
    )
    yield Hypothesis("bias:first_channel", "the bias of the first channel for all", 49, partial(_changed, _first))
