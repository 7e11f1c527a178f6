"""The numbers, the inputs and the results of LSTM, GRU and RNN on codes; see `recurrent_fixed`."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .gate_table import ENTRY_BITS, GateTable
from .word import Codes, Word

_BIAS_BITS = 31


@dataclass(frozen=True)
class Coded:
    """A word and its fraction bits."""

    word: Word
    fraction_bits: int


@dataclass(frozen=True)
class FixedRecurrence:
    """The numbers of a recurrent operator in fixed point.

    Attributes
    ----------
    cell : equations of a step.
    reverse : whether each direction runs from the end of a sequence to its begin.
    x_bits, h_bits : fraction bits of the products of x and W, and of h and R, by row of the weights.
    p_bits : fraction bits of the products of the cell and P; None without P.
    gates, state : words of the gates and of h.
    cells : word of an LSTM's cell.
    bounds : codes of the gates' bounds; None for none.
    tables : tables of each direction, in ONNX's order of functions; one `StateTable` for an RNN.
    coupled : whether the forget gate of an LSTM is 1 minus its input gate.
    resets_after : whether a GRU multiplies by its reset gate after the product.
    accumulator_bits : number of low bits that an accumulator keeps; None for all.
    """

    cell: Literal["lstm", "gru", "rnn"]
    reverse: tuple[bool, ...]
    x_bits: NDArray[np.int64]
    h_bits: NDArray[np.int64]
    p_bits: int | None
    gates: Coded
    state: Coded
    cells: Coded | None
    bounds: tuple[int, int] | None
    tables: tuple[tuple[Any, ...], ...]
    coupled: bool = False
    resets_after: bool = False
    accumulator_bits: int | None = None

    @property
    def sum_bits(self) -> NDArray[np.int64]:
        """The fraction bits of the sums of each row: the largest of their terms."""
        bits = np.maximum(self.x_bits, self.h_bits)
        if self.p_bits is not None:
            bits = bits.copy()
            with_cell = 3 * len(bits) // 4
            bits[:with_cell] = np.maximum(bits[:with_cell], self.p_bits)
        return bits

    def most_bits(self, length: int, product: int) -> int:
        """Return the bits of the largest number that a step may compute.

        Parameters
        ----------
        length
            Number of products of a sum.
        product
            Bits of the largest product of a code and a weight.
        """
        word = product + max(length, 1).bit_length()
        spread = max(int((self.sum_bits - bits).max(initial=0)) for bits in (self.x_bits, self.h_bits))
        if self.p_bits is not None:
            spread = max(spread, int((self.sum_bits - self.p_bits).max(initial=0)))
        if self.resets_after:
            apart = self.h_bits + ENTRY_BITS - self.x_bits
            spread = max(spread, ENTRY_BITS + int((-apart).max(initial=0)), int(apart.max(initial=0)), ENTRY_BITS)
        n = [one.fraction_bits for tables in self.tables for one in tables if isinstance(one, GateTable)]
        n += [one.fraction_bits for one in (self.state, self.cells) if one is not None]
        return max(word + spread + 2, 2 * ENTRY_BITS + 4 + max(n) - min(n), _BIAS_BITS + 2)


class Sequences(NamedTuple):
    """The arrays of a run, with the axes of layout 0.

    Attributes
    ----------
    x, w, r : codes [time, batch, size], [directions, gates * hidden, size] and [directions, gates * hidden, hidden].
    bias : biases with the fraction bits of the sums, [directions, gates * hidden].
    own_bias : bias inside of the product of a GRU's hidden gate, with its fraction bits, [directions, hidden].
    lengths : length of each sequence.
    h, c : first states [directions, batch, hidden], as codes of the state and of the cell.
    p : codes of the peepholes [directions, 3 * hidden]; None without.
    """

    x: Codes
    w: Codes
    r: Codes
    bias: NDArray[np.int64]
    own_bias: NDArray[np.int64] | None
    lengths: NDArray[np.int64]
    h: Codes
    c: Codes | None
    p: Codes | None


@dataclass
class Recorded:
    """Codes of a tensor, and which of them count as saturated and as underflows.

    Attributes
    ----------
    codes, saturated, underflowed : arrays of one shape.
    """

    codes: Codes
    saturated: NDArray[np.bool_]
    underflowed: NDArray[np.bool_]

    @classmethod
    def zeros(cls, shape: tuple[int, ...], word: Word) -> "Recorded":
        """Return codes 0."""
        return cls(np.zeros(shape, word.dtype), np.zeros(shape, bool), np.zeros(shape, bool))

    def put(self, index: Any, found: tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]], runs: Any) -> None:
        """Store codes where sequences run."""
        for target, values in zip((self.codes, self.saturated, self.underflowed), found, strict=True):
            target[index] = np.where(runs, values, 0)


@dataclass
class Result:
    """Outputs of a recurrent operator, in layout 0.

    Attributes
    ----------
    gates, cells, y : tensors of every step; the gates are before their functions.
    last_h, last_c : last states.
    overflows : number of sums that did not fit the accumulator.
    """

    gates: Recorded
    cells: Recorded
    y: Recorded
    last_h: Recorded
    last_c: Recorded
    overflows: int = 0


def product_bits(*factors: tuple[np.dtype[Any], np.dtype[Any]]) -> int:
    """Return the bits of the largest product of two codes of some types."""
    return max(sum(8 * one.itemsize - (one.kind == "i") for one in pair) for pair in factors)
