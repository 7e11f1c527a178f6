"""Functions of gates as tables: an entry for every code, wider than a code, as no entry is stored between steps."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .rounding import round_real
from .table import Function, make_table
from .word import Codes, Word

ENTRY_BITS = 15
"""Largest number of fraction bits of a table's entries, and the bits of the largest entry: 1 is 2^15."""

_LARGEST_ENTRY = 1 << ENTRY_BITS


class GateTable(NamedTuple):
    """A function of a gate or of a cell.

    Attributes
    ----------
    entries : entry for each code, in ascending order: whole numbers of up to 2^15 in magnitude.
    least : code of the first entry.
    fraction_bits : fraction bits of the entries.
    """

    entries: NDArray[np.int64]
    least: int
    fraction_bits: int

    def __call__(self, codes: Codes) -> NDArray[np.int64]:
        """Return the entries of codes."""
        return self.entries[codes.astype(np.intp) - self.least]

    @property
    def one(self) -> int:
        """The entry that stands for 1."""
        return 1 << self.fraction_bits


def gate_table(function: Function, source: Word, fraction_bits: int) -> GateTable:
    """Return the table of a function of codes: as many fraction bits, 0 to 15, as keep every entry within 2^15.

    Parameters
    ----------
    function
        Function of float64 arrays.
    source
        Word of the codes; its rounding rounds the entries.
    fraction_bits
        Fraction bits of the codes.
    """
    x = np.ldexp(np.arange(source.least, source.most + 1, dtype=np.float64), -fraction_bits)
    with np.errstate(all="ignore"):
        y = np.nan_to_num(np.asarray(function(x), np.float64))
    mantissa, exponent = np.frexp(np.abs(y).max())
    bits = max(min(ENTRY_BITS, ENTRY_BITS - int(exponent) + int(mantissa == 0.5)), 0)
    scaled = np.clip(np.ldexp(y, bits), -_LARGEST_ENTRY, _LARGEST_ENTRY)
    return GateTable(round_real(scaled, source.rounding).astype(np.int64), source.least, bits)


class StateTable(NamedTuple):
    """A function of a gate whose results are codes of the state: that of an RNN.

    Attributes
    ----------
    entries, saturates, underflows : code for each code of the gate, in ascending order, and what a tally counts.
    least : code of the first entry.
    """

    entries: Codes
    saturates: NDArray[np.bool_]
    underflows: NDArray[np.bool_]
    least: int


def state_table(function: Function, source: Word, fraction_bits: int, out_fraction_bits: int, word: Word) -> StateTable:
    """Return the table of a function of codes that gives codes of a word."""
    return StateTable(*make_table(function, source, fraction_bits, out_fraction_bits, word), source.least)
