"""Kernels of LSTM, GRU and RNN on codes; `reference.recurrent_fixed` defines their results.

A step of time needs exact sums: products of codes of x with W, and of the state h with R. The part of x is known for
all steps before the first one (`GateSums`). What is left goes through the steps of a sequence (`CodeRecurrence`), one
after the other, so that a thread computes whole sequences.

Products of 16-bit codes need 32 bits each, and their sums more. So that sums stay in vectors of 32 bits, weights beyond
a byte are split: w = 256 * high + low, with a byte of either sign for low. The sums of both go over a *chunk* of
elements, whose products cannot leave 32 bits, before they are added to 64 bits.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .recurrent import Cell

_MOST_CHUNK_SUM = 1 << 30
_CHUNK_STEP = 32


@dataclass(frozen=True)
class GateSums:
    """Sums of products of codes with rows of weights, aligned to fraction bits of their own, plus a bias.

    Attributes
    ----------
    element : type of the codes.
    weights : type of the weights.
    split : whether there are two matrices of weights.
    """

    element: str
    weights: str
    split: bool

    emitter = "gate_sums"
    # Row r of x begins at (r // batch) * x_step + r % batch * x_row, in elements; `w` and `high` hold `rows` rows of
    # `length` weights, `shift` and `bias` int64 for each row of weights. Rows `first` to `end` of `y` are int64.
    arguments = (
        *("x", "x_step", "x_row", "w", "high", "chunk", "shift", "bias", "y"),
        *("first", "end", "batch", "rows", "length"),
    )


@dataclass(frozen=True)
class CodeRecurrence:
    """Steps of time of sequences of codes.

    Attributes
    ----------
    cell : equations of a step.
    state, cells : types of the codes of h and of an LSTM's cell ("i8" where there is none).
    given_h, given_c : types of first states; "" for none.
    weights, split : see `GateSums`.
    rounding : name of the rounding.
    wraps : whether overflow keeps the low bits.
    shifts_left : whether any number has fewer fraction bits than its codes.
    accumulator_bits : number of low bits that sums keep; 0 for all.
    peepholes, coupled, resets_after : see `reference.recurrent_numbers.FixedRecurrence`.
    ragged : whether sequences have lengths of their own.
    """

    cell: Cell
    state: str
    cells: str
    given_h: str
    given_c: str
    weights: str
    split: bool
    rounding: str
    wraps: bool = False
    shifts_left: bool = False
    accumulator_bits: int = 0
    peepholes: bool = False
    coupled: bool = False
    resets_after: bool = False
    ragged: bool = False

    emitter = "code_recurrence"
    # `sums` is the result of `GateSums`. `r` and `high` hold rows of weights; `of_row` holds vectors of an int64 for
    # each row (`ROW_NUMBERS`), `own_bias` and `p` one and three for each unit. `f`, `g` and `last` are addresses of the
    # entry for code 0 of tables of int32. `numbers` are those of `NUMBERS`. A wrong length, an int32, is written to
    # `fault`. Sequences `first` to `end` are computed.
    arguments = (
        *("sums", "r", "high", "of_row", "own_bias", "p", "f", "g", "last", "numbers", "lengths", "fault"),
        *("h", "c", "y", "last_h", "last_c", "first", "end", "scratch"),
    )


ROW_NUMBERS = ("h_left", "right", "left", "p_left", "x_left", "r_left", "own_right", "own_left")
"""Shifts of each row of weights: of products of h; from a sum to a gate, to the right or to the left; of products with
peepholes; and those of a GRU that resets after the product."""

NUMBERS = (
    *("gate_least", "gate_most", "gate_mask", "gate_sign", "low", "high"),
    *("state_least", "state_most", "state_mask", "state_sign"),
    *("cell_least", "cell_most", "cell_mask", "cell_sign"),
    *("one", "first_left", "second_left", "sum_right", "sum_left", "out_right", "out_left"),
    *("h_right", "h_left", "c_right", "c_left"),
    *("time", "batch", "rows", "hidden", "chunk", "reverse"),
    *("h_row", "c_row", "y_step", "y_row", "last_h_row", "last_c_row"),
)
"""Numbers of a recurrence: words, bounds, the entry for 1, shifts, sizes, and strides in elements."""


class CodeWeights(NamedTuple):
    """Weights as kernels read them.

    Attributes
    ----------
    low, high : matrices of the shape of the weights; `high` has multiples of 256, and is empty where there is none.
    chunk : number of elements whose products fit a sum of 32 bits.
    """

    low: NDArray[np.generic]
    high: NDArray[np.generic]
    chunk: int

    @property
    def split(self) -> bool:
        """Whether there are two matrices."""
        return self.high.size > 0

    @property
    def stored(self) -> str:
        """The type of the elements."""
        return f"i{8 * self.low.dtype.itemsize}"


def code_weights(codes: NDArray[np.generic], largest: int) -> CodeWeights:
    """Return weights for products with numbers of up to `largest` in magnitude."""
    wide = codes.astype(np.int64)
    low, high = ((wide + 128) & 255) - 128, (wide + 128) >> 8
    if not high.any():
        return CodeWeights(low.astype(np.int8), np.empty(0, np.int8), _chunk(largest, 128))
    most = int(max(np.abs(high).max(), 128))
    return CodeWeights(low.astype(np.int16), high.astype(np.int16), _chunk(largest, most))


def _chunk(largest: int, most: int) -> int:
    return max(_MOST_CHUNK_SUM // (largest * most) // _CHUNK_STEP * _CHUNK_STEP, _CHUNK_STEP)


def scratch_bytes(rows: int, hidden: int) -> int:
    """Return the bytes of memory that a `CodeRecurrence` needs: sums, cell, states, and outputs that nobody reads."""
    return unread_at(rows, hidden) + 2 * hidden + 64


def unread_at(rows: int, hidden: int) -> int:
    """Return where in that memory the outputs are that nobody reads."""
    return 12 * rows + 8 * hidden
