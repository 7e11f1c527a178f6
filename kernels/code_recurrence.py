"""Kernels of LSTM, GRU and RNN on codes; `reference.recurrent_fixed` defines their results.

A step of time needs exact sums: products of codes of x with W, and of the state h with R. The part of x is known for
all steps before the first one (`GateSums`). What is left goes through the steps of a sequence (`CodeRecurrence`), one
after the other, so that a thread computes whole sequences.

Rows of weights are packed in blocks of 64 rows: for two or four elements of x, which take a lane of 32 bits, the
weights of all rows (`emit.products`). Products of 16-bit codes need 32 bits each, and their sums more. So that sums
stay in 32 bits, weights may be split: w = 256 * high + low, with a byte of either sign for low. The sums of both go
over a *chunk* of elements, whose products cannot leave 32 bits, before they are added to 64 bits. Codes that the
instructions do not take are moved by an offset; the offset times the sum of the weights is part of a bias.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dot import ITEMSIZE, LANE_BYTES, FactorType
from .isa import BEST_FIRST, Isa
from .recurrent import Cell
from .reference.word import Fitting

_MOST_CHUNK_SUM = 1 << 30
_LEAST_CHUNK = 64


BLOCK_ROWS = 64
"""Rows of weights of a block."""


@dataclass(frozen=True)
class Factors:
    """Way in which codes and weights are multiplied.

    Attributes
    ----------
    kind : types of the factors.
    isa : name of the instruction set.
    split : whether there are two matrices of weights.
    offset : number that is added to each code.
    """

    kind: FactorType
    isa: str
    split: bool
    offset: int

    @property
    def known_isa(self) -> Isa:
        """The instruction set."""
        return next(isa for isa in BEST_FIRST if isa.name == self.isa)

    @property
    def stored(self) -> str:
        """The type of a code with the offset."""
        return "u8" if self.kind == "s8" else "i16"

    @property
    def taps(self) -> int:
        """The number of elements in a lane of 32 bits."""
        return LANE_BYTES // ITEMSIZE[self.kind]


@dataclass(frozen=True)
class GateSums:
    """Sums of products of codes with rows of weights, aligned to fraction bits of their own, plus a bias.

    Attributes
    ----------
    element : type of the codes.
    factors : factors of the products.
    """

    element: str
    factors: Factors

    emitter = "gate_sums"
    # `numbers` are those of `SUMS_NUMBERS`. Rows `first` to `end` of `y` are int64. `scratch` holds a row of codes and
    # blocks of sums (`sums_scratch`).
    arguments = ("x", "numbers", "y", "first", "end", "scratch")


SUMS_NUMBERS = (
    *("x_step", "x_row", "w", "high", "chunk", "shift", "bias"),
    *("batch", "rows", "blocks", "length"),
)
"""Numbers of `GateSums`: row r of x begins at (r // batch) * x_step + r % batch * x_row, in elements; addresses of
packed weights (`CodeWeights`), and of a shift and a bias, int64, for each row of weights; sizes."""


@dataclass(frozen=True)
class CodeRecurrence:
    """Steps of time of sequences of codes.

    Attributes
    ----------
    cell : equations of a step.
    state, cells : types of the codes of h and of an LSTM's cell ("i8" where there is none).
    given_h, given_c : types of first states; "" for none.
    factors : factors of the products of h and R.
    rounding : name of the rounding.
    fitting : `Word.fitting` of all codes.
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
    factors: Factors
    rounding: str
    fitting: Fitting = "saturate"
    shifts_left: bool = False
    accumulator_bits: int = 0
    peepholes: bool = False
    coupled: bool = False
    resets_after: bool = False
    ragged: bool = False

    emitter = "code_recurrence"
    # `sums` is the result of `GateSums`, `numbers` are those of `NUMBERS`. A wrong length, an int32, is written to
    # `fault`. Sequences `first` to `end` are computed.
    arguments = (
        *("sums", "numbers", "lengths", "fault", "h", "c", "y", "last_h", "last_c"),
        *("first", "end", "scratch"),
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
    *("time", "batch", "rows", "hidden", "chunk", "reverse", "blocks", "own_blocks"),
    *("h_row", "c_row", "y_step", "y_row", "last_h_row", "last_c_row"),
    *("r", "r_high", "of_row", "own_bias", "p", "f", "g", "last"),
)
"""Numbers of a recurrence: words, bounds, the entry for 1, shifts, sizes, strides in elements, and addresses: of packed
weights, of vectors of `ROW_NUMBERS`, of a bias for each unit and three peepholes, int64, and of the entries for code 0
of tables of int32."""


class CodeWeights(NamedTuple):
    """Weights of some directions as kernels read them.

    Attributes
    ----------
    low, high : weights in blocks, one direction after the other; `high` has multiples of 256, and is empty for none.
    blocks : number of blocks of each part of the rows of a direction.
    chunk : number of lanes whose products fit a sum of 32 bits.
    corrections : number for each row that makes up for the offset of the codes.
    factors : factors of the products.
    """

    low: NDArray[np.generic]
    high: NDArray[np.generic]
    blocks: tuple[int, ...]
    chunk: int
    corrections: NDArray[np.int64]
    factors: Factors


def code_weights(codes: NDArray[np.generic], other: np.dtype[Any], parts: tuple[int, ...], isa: Isa) -> CodeWeights:
    """Return weights for products with codes of a type.

    Parameters
    ----------
    codes
        Weights [directions, rows, length].
    other
        Type of the codes.
    parts
        Numbers of rows that are multiplied at once.
    isa
        Instruction set.
    """
    wide = codes.astype(np.int64)
    kind: FactorType = "s16"
    if isa.has_vnni and other.itemsize == 1 and wide.min() >= -128 and wide.max() <= 127:
        kind = "s8"
    offset = 128 if kind == "s8" and other.kind == "i" else -(1 << 15) if other == np.uint16 else 0
    largest = 1 << (8 * other.itemsize - (kind == "s16" and other != np.uint8))
    most = max(int(np.abs(wide).max()), 1)
    low, high = wide, np.zeros(0, np.int64)
    if wide.max() >= 1 << 15 or most * largest > _MOST_CHUNK_SUM // _LEAST_CHUNK:
        low, high = ((wide + 128) & 255) - 128, (wide + 128) >> 8
        most = max(int(np.abs(high).max()), 128)
    factors = Factors(kind, isa.name, high.size > 0, offset)
    chunk = max(_MOST_CHUNK_SUM // (largest * most), _LEAST_CHUNK) // factors.taps
    packed = [_packed(one, parts, factors) if one.size else np.zeros(1, np.int8) for one in (low, high)]
    blocks = tuple(-(-rows // BLOCK_ROWS) for rows in parts)
    return CodeWeights(packed[0], packed[1], blocks, chunk, -offset * wide.sum(axis=2), factors)


def _packed(codes: NDArray[np.int64], parts: tuple[int, ...], factors: Factors) -> NDArray[np.generic]:
    """Return weights in blocks of rows: for each lane of codes, those of all rows."""
    n, _, length = codes.shape
    found, begin = [], 0
    for rows in parts:
        wide = np.zeros((n, -(-rows // BLOCK_ROWS) * BLOCK_ROWS, -(-length // factors.taps) * factors.taps), np.int64)
        wide[:, :rows, :length] = codes[:, begin : begin + rows]
        blocks = wide.reshape(n, -1, BLOCK_ROWS, wide.shape[2] // factors.taps, factors.taps).transpose(0, 1, 3, 2, 4)
        found.append(blocks.reshape(n, -1))
        begin += rows
    return np.concatenate(found, axis=1).astype(np.int8 if factors.kind == "s8" else np.int16)


def sums_scratch(length: int, blocks: int) -> int:
    """Return the bytes of memory that a `GateSums` needs: a row of codes and sums."""
    return 2 * length + 64 + 8 * BLOCK_ROWS * blocks


def scratch_bytes(rows: int, hidden: int) -> int:
    """Return the bytes of memory that a `CodeRecurrence` needs: sums, entries, cell, states, factors, and the rest."""
    return unread_at(rows, hidden) + 2 * hidden + 64


def unread_at(rows: int, hidden: int) -> int:
    """Return where in that memory the outputs are that nobody reads."""
    return 8 * (rows + BLOCK_ROWS) + 4 * rows + 8 * hidden + 2 * hidden + 64
