"""Functions of one variable as devices look them up: in tables that are shorter than one entry for every input code.

A table of E entries covers [-L, L) at distances of 2L / E, which are a power of two. A code has a *place* among them, a
whole number and a fraction. Codes beyond the table are at its ends. There are three ways to use it:

- *cut*: the place is rounded to an entry, which is the result. Input bits below the distance of two entries are lost.
- *interpolated*: a line between the entry at the whole part of the place and the next one. The last entry has no next
  one, unless the table has an end; it is constant then.
- *shared sigmoid*: TFLite's functions of 16 bits. Sigmoid and tanh share one table of the sigmoid over [0, 10.6], at
  distances of 1/24, as tanh x = 2 sigmoid(2x) - 1. Its entries are half of a line's largest error above the sigmoid,
  so that lines are as much too high as too low. Negative inputs are looked up by their magnitude.

Entries have a word of their own, by default that of the output. All is a function of the input code, so a run has a
full table of the results.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .functions import sigmoid
from .register import moved
from .requantize import requantize_each, scale
from .rounding import round_real, shift_right
from .table import Function
from .word import Codes, Integers, Word, wrap

SHARED_STEP = 24
"""Entries of the shared table for an input of 1."""

_SHARED_ENTRIES = 256
_BEYOND = 2.0**40  # every word of an entry
_SHARED_BITS = 9  # of the place of an input of Q3.12, tripled


class DeviceTable(NamedTuple):
    """Table of a device.

    Attributes
    ----------
    method : "cut", "interpolated", "shared_sigmoid" or "shared_tanh".
    entries : number of entries, a power of two.
    limit_bits : the entries cover [-L, L), where L is 2^limit_bits.
    has_end : whether there is an entry for L too.
    index_rounding : rounding of a place to an entry, where the method is "cut".
    line_rounding : rounding of what a line adds to an entry.
    entry : word of the entries, with their rounding and overflow.
    entry_fraction_bits : fraction bits of the entries.
    """

    method: str
    entries: int
    limit_bits: int
    has_end: bool
    index_rounding: str
    line_rounding: str
    entry: Word
    entry_fraction_bits: int


def make_device_table(
    function: Function, rule: DeviceTable, source: Word, in_fraction_bits: int, fraction_bits: int, word: Word
) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the results for all codes of `source`, which of them saturate and which underflow; see `make_table`."""
    codes = np.arange(source.least, source.most + 1, dtype=np.int64)
    if rule.method.startswith("shared"):
        exact = shared_sigmoid(codes, in_fraction_bits, is_tanh=rule.method == "shared_tanh")
        saturates = np.zeros(codes.shape, bool)
    else:
        exact, saturates = _looked_up(function, rule, codes, in_fraction_bits)
    result, own, flushes = requantize_each(exact, rule.entry_fraction_bits - fraction_bits, word)
    return result, own | saturates, flushes


def _looked_up(
    function: Function, rule: DeviceTable, codes: NDArray[np.int64], in_fraction_bits: int
) -> tuple[Integers, NDArray[np.bool_]]:
    """Return the results for codes in the word of the entries, and which of them come from a saturated entry."""
    half = rule.entries // 2
    step_bits = (half.bit_length() - 1) - rule.limit_bits
    last = half if rule.has_end else half - 1
    places = np.arange(-half, last + 1, dtype=np.float64)
    entries, saturated = entries_of(function, np.ldexp(places, -step_bits), rule)
    shift = in_fraction_bits - step_bits
    if rule.method == "cut":
        at = np.clip(moved(codes, shift, rule.index_rounding), -half, last) + half
        return entries[at], saturated[at]
    place = moved(codes, shift, "floor")
    at = np.clip(place, -half, last)
    first = entries[at + half]
    if shift <= 0:
        return first, saturated[at + half]
    is_between = (place == at) & (at < last)
    rest = np.where(is_between, codes & ((1 << shift) - 1), 0)
    rise = entries[np.minimum(at + 1, last) + half] - first
    line = np.asarray(first + shift_right(np.asarray(rise * rest), shift, rule.line_rounding))
    return line, saturated[at + half]


def entries_of(
    function: Function, x: NDArray[np.float64], rule: DeviceTable
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the entries of a table, 0 where the function is undefined, and which saturate; words may be of 32 bits."""
    with np.errstate(all="ignore"):
        y = np.asarray(function(x), np.float64)
    undefined, word = np.isnan(y), rule.entry
    rounded = round_real(scale(np.where(undefined, 0.0, y), rule.entry_fraction_bits), word.rounding)
    whole = np.clip(rounded, -_BEYOND, _BEYOND).astype(np.int64)
    saturated = undefined | (whole < word.least) | (whole > word.most)
    if word.overflow == "wrap":
        return wrap(whole, word.bits, word.signed), saturated
    return np.clip(whole, word.least, word.most), saturated


def shared_table() -> NDArray[np.int64]:
    """Return the entries of the table that sigmoid and tanh share, with 16 fraction bits.

    The largest error of a line over a distance d is d^2 / 8 times the second derivative, s (1 - s) (1 - 2s).
    """
    s: Any = sigmoid(np.arange(_SHARED_ENTRIES, dtype=np.float64) / SHARED_STEP)
    raised = s - s * (1.0 - s) * (1.0 - 2.0 * s) / (16.0 * SHARED_STEP**2)
    table: NDArray[np.int64] = np.rint(raised * 65536.0).astype(np.int64)
    table[-1] = 65535
    return table


def shared_sigmoid(codes: NDArray[np.int64], fraction_bits: int, *, is_tanh: bool) -> NDArray[np.int64]:
    """Return sigmoid, or tanh, of codes with 15 fraction bits, as TFLite looks them up in their shared table."""
    table, bits = shared_table(), _SHARED_BITS - is_tanh
    place = moved(3 * codes, fraction_bits - 12, "half_up")
    size = np.abs(place)
    at, rest = np.minimum(size >> bits, _SHARED_ENTRIES - 2), size & ((1 << bits) - 1)
    line = (table[at] << bits) + rest * (table[at + 1] - table[at])
    beyond = size >> bits >= _SHARED_ENTRIES - 1
    if is_tanh:
        line = np.where(beyond, 0xFFFF << 8, line)
        middle, half = 1 << 23, 1 << 7
        return np.asarray(np.where(place >= 0, line - middle + half, middle - line + half - 1) >> 8)
    line = np.where(beyond, 0x7FFF << 10, line)
    return np.asarray(np.where(place >= 0, line + (1 << 9), (1 << 25) - line + (1 << 9) - 1) >> 10)
