"""The word of a bias: from real numbers, or codes of a format, to integers with the fraction bits of the sums.

A device adds a bias to sums of products, so that it needs one with their fraction bits. Many devices do not store it
so: they keep a short word with fewer fraction bits and shift it left when they load it. `BiasRule` names that word. A
bias is rounded and saturated once, in its own word, and the shift to the sums is exact. A bias to which the user gave a
format has that format instead, and is rounded only where it has more fraction bits than the sums.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.register import moved
from qengine.kernels.reference.requantize import scale
from qengine.kernels.reference.rounding import integer_dtype, round_real
from qengine.kernels.reference.word import Integers
from qengine.model.rules import BiasRule
from qengine.model.steps.step import Tensor
from qengine.qformat import fraction_bits_of

FractionBits = int | NDArray[np.int64]
"""One number, or an array that broadcasts against the output."""

_FLOAT_BITS = 53  # of integers that are exact in float64


def refuse_nan(b: Tensor) -> None:
    """Raise FormatError if a constant holds NaN."""
    if np.isnan(b.value).any():  # type: ignore[arg-type]
        raise FormatError(f"constant '{b.name}' holds NaN: fixed point has no code for it")


def bias_codes(b: Tensor, shape: tuple[int, ...], sums: FractionBits, rule: BiasRule) -> Integers:
    """Return a constant bias as integers with the fraction bits of the sums.

    Parameters
    ----------
    b, shape
        Bias, and the shape in which it broadcasts against the output.
    sums
        Fraction bits of the sums.
    rule
        Word of the bias.

    Raises
    ------
    FormatError
        If it holds NaN, or the rule gives it more fraction bits than the sums have.
    """
    if b.format is not None:
        n, codes = fraction_bits_of(b.format, b.ndim), b.codes.reshape(shape)
        own = n if isinstance(n, int) else np.broadcast_to(n, b.shape).reshape(shape)
        return brought(codes, own, sums, rule)
    n = bias_fraction_bits(b, sums, rule)
    rounded = np.asarray(round_real(_scaled(b, shape, n), rule.rounding))
    return brought(_saturated(rounded, rule.bits), n, sums, rule)


def saturated_elements(b: Tensor, shape: tuple[int, ...], sums: FractionBits, rule: BiasRule) -> int:
    """Return the number of elements of a constant bias that saturate in its word."""
    word = None if b.format is None else b.encoding.word(b.format)
    if word is not None:
        assert b.format is not None
        n, least, most = fraction_bits_of(b.format, b.ndim), word.least, word.most
        assert b.value is not None
        rounded = round_real(scale(b.value, n), word.rounding)
    else:
        least, most = -(1 << (rule.bits - 1)), (1 << (rule.bits - 1)) - 1
        rounded = round_real(_scaled(b, shape, bias_fraction_bits(b, sums, rule)), rule.rounding)
    return int(np.count_nonzero((rounded < least) | (rounded > most)))


def computed_bias(codes: NDArray[Any], n: FractionBits, sums: FractionBits, rule: BiasRule) -> Integers:
    """Return a computed bias, codes with n fraction bits, with the fraction bits of the sums, by the rule of constants.

    Its elements are not known when a plan is made, so "most" is "sums".
    """
    own: FractionBits = rule.fraction_bits if isinstance(rule.fraction_bits, int) else sums - rule.shift
    wide = integer_dtype(17 + int(np.max(np.asarray(own) - np.asarray(n), initial=0)))
    held = moved(codes.astype(wide), np.asarray(n) - np.asarray(own), rule.rounding)
    least, most = -(1 << (rule.bits - 1)), (1 << (rule.bits - 1)) - 1
    return brought(np.asarray(np.clip(held, least, most)), own, sums, rule)


def bias_fraction_bits(b: Tensor, sums: FractionBits, rule: BiasRule) -> FractionBits:
    """Return the fraction bits of the word of a constant bias: those of the rule, at most those of the sums."""
    refuse_nan(b)
    if rule.fraction_bits == "sums":
        return sums - rule.shift if rule.shift else sums
    if rule.fraction_bits == "most":
        return _most(b, sums, rule)
    check_fraction_bits(b.name, sums, rule)
    return rule.fraction_bits


def check_fraction_bits(name: str, sums: FractionBits, rule: BiasRule) -> None:
    """Raise FormatError if a rule gives a bias more fraction bits than the sums have."""
    if isinstance(rule.fraction_bits, int) and rule.fraction_bits > (least := int(np.min(sums))):
        raise FormatError(
            f"bias '{name}' has {rule.fraction_bits} fraction bits (bias.fraction_bits) and its sums have {least}: "
            f"give it at most {least}, or those of the sums (--rule bias.fraction_bits=sums, rules=)"
        )


def brought(codes: Integers, n: FractionBits, sums: FractionBits, rule: BiasRule) -> Integers:
    """Return codes with n fraction bits as integers with those of the sums."""
    shift = np.asarray(0 if n is sums else np.asarray(n) - np.asarray(sums))
    if n is sums or not shift.any():
        return np.asarray(codes, object if codes.dtype == object else np.int64)
    largest = max(abs(int(codes.max())), abs(int(codes.min()))) if codes.size else 0
    wide = integer_dtype(largest.bit_length() + int(np.max(-shift, initial=0)))
    return moved(codes.astype(wide), shift, rule.rounding)


def _scaled(b: Tensor, shape: tuple[int, ...], n: FractionBits) -> NDArray[np.float64]:
    assert b.value is not None
    return scale(b.value.reshape(shape), n)


def _saturated(rounded: NDArray[np.float64], bits: int) -> Integers:
    """Return whole numbers in a word of some bits; Python integers where float64 does not hold its ends."""
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if bits <= _FLOAT_BITS:
        return np.minimum(np.maximum(rounded, least), most).astype(np.int64)
    each = [most if v > most else least if v < least else int(v) for v in rounded.ravel().tolist()]
    largest = max(map(abs, each), default=0)
    return np.array(each, integer_dtype(largest.bit_length())).reshape(rounded.shape)


def _most(b: Tensor, sums: FractionBits, rule: BiasRule) -> FractionBits:
    """Return the most fraction bits with which nothing saturates, at most those of the sums."""
    assert b.value is not None
    values = b.value.astype(np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    most = int(np.max(sums))
    if values.any():
        least, largest = -(1 << (rule.bits - 1)), (1 << (rule.bits - 1)) - 1
        _, exponent = np.frexp(np.max(np.abs(values)))
        first = rule.bits - int(exponent)  # with one fraction bit more even a power of two is outside
        for n in range(min(first, most), first - 3, -1):
            rounded = round_real(scale(values, n), rule.rounding)
            if n == first - 2 or (least <= rounded.min() and rounded.max() <= largest):
                most = n
                break
    found = np.minimum(sums, most)
    return int(found) if np.ndim(found) == 0 else found
