"""Kernels of LSTM, GRU and RNN: whole sequences in one call, and the packing of their weights.

A step of time needs the gates of all hidden units: x W^T + h R^T + bias, where h is the state after the last step. The
part of x is known for all steps before the first one, so it is one matrix product for the whole sequence (the dot
kernel), into a buffer with the gates of a step side by side. What is left, the recurrence, is a product of a few rows
with R, again and again. R rarely fits the L1 cache, so a step is bound by the bytes of R that it reads. The kernel
therefore goes over *blocks* of 16 hidden units: it sums all gates of a block in registers, for several sequences of the
batch at once, applies the functions of the gates there, and writes only the new state. Within a block R is packed in
the order in which it is read: for every element of h, a vector of 16 units for each gate.

Rows of the batch do not depend on each other: threads share them, in tiles, and the directions.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .epilogue import LANES

Cell = Literal["lstm", "gru", "rnn"]

GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}
"""Number of gates of a cell."""


@dataclass(frozen=True)
class Recurrence:
    """Specification of the kernel that goes through the steps of time.

    Attributes
    ----------
    cell : equations of a step.
    rows : number of sequences that are computed at once.
    functions : name of each function of the gates, in ONNX's order and in lower case.
    clips : whether the gates are bounded before their functions.
    peepholes : whether the cell of an LSTM is added to its gates.
    coupled : whether the forget gate of an LSTM is 1 minus its input gate.
    resets_after : whether a GRU multiplies by its reset gate after the product, not before.
    ragged : whether sequences have lengths of their own.
    has_products : whether `r` holds the products of the states, rows of gates as in `x`, and not the weights.
    """

    cell: Cell
    rows: int
    functions: tuple[str, ...]
    clips: bool = False
    peepholes: bool = False
    coupled: bool = False
    resets_after: bool = False
    ragged: bool = False
    has_products: bool = False

    emitter = "recurrence"
    # Distances are in bytes. `x` holds the gates' part of the input, gates of whole blocks one after the other. `r` is
    # packed (`packed_gates`), `own_bias` is the bias inside of the product of a GRU's hidden gate, and `peephole` holds
    # three vectors of weights of whole blocks. `numbers` are float32: the bound of `clips`, then alpha and beta of each
    # function. `lengths` are int32; a wrong one is written to `fault`. Tiles of rows `first` to `end` are computed, and
    # `scratch` has room for `scratch_bytes`.
    arguments = (
        "x", "x_step", "x_row", "r", "own_bias", "peephole", "numbers", "lengths", "fault", "h", "h_row", "c", "c_row",
        "y", "y_step", "y_row", "last_h", "last_h_row", "last_c", "last_c_row", "time", "batch", "hidden", "blocks",
        "reverse", "first", "end", "scratch",
    )  # fmt: skip


@dataclass(frozen=True)
class PackGates:
    """Specification of `packed_gates` of weights that a run computes; items of a target are float32, distances too."""

    emitter = "pack_gates"
    # A target has blocks of 16 units, of which each has gates and items; items beyond `length` are 0.
    arguments = ("x", "y", "gates", "hidden", "length", "padded", "y_block", "y_gate", "y_item")


@dataclass(frozen=True)
class PadGates:
    """Specification of copying numbers of each unit, gate after gate, to whole blocks.

    The first `added` gates are the sums of x and `more`.
    """

    emitter = "pad_gates"
    arguments = ("x", "more", "y", "gates", "hidden", "added")


def padded_units(hidden: int) -> int:
    """Return the number of units of whole blocks."""
    return -(-hidden // LANES) * LANES


def scratch_bytes(hidden: int, rows: int) -> int:
    """Return the bytes that a thread needs: two states h, the cell, a reset state, and an output that nobody reads."""
    return 4 * padded_units(hidden) * (4 * rows + 2)


def packed_gates(weights: NDArray[Any], gates: int, *, by_item: bool) -> NDArray[np.float32]:
    """Return weights (gates * hidden, length) in blocks of 16 units.

    Parameters
    ----------
    weights
        Rows of a gate follow one another.
    gates
        Number of gates.
    by_item
        Whether each item has the vectors of all gates side by side, (blocks, length, gates, 16), as a recurrence reads
        them; there are items for whole blocks, too. Else a gate has all its items, (gates, blocks, length, 16).
    """
    hidden, length = weights.shape[0] // gates, weights.shape[1]
    units = padded_units(hidden)
    padded = np.zeros((gates, units, units if by_item else length), np.float32)
    padded[:, :hidden, :length] = weights.reshape(gates, hidden, length)
    blocks = padded.reshape(gates, units // LANES, LANES, -1)
    return np.ascontiguousarray(blocks.transpose((1, 3, 0, 2) if by_item else (0, 1, 3, 2)))


def padded_gates(numbers: NDArray[Any], gates: int) -> NDArray[np.float32]:
    """Return numbers (gates * hidden,) for whole blocks, (gates, units)."""
    hidden = len(numbers) // gates
    padded = np.zeros((gates, padded_units(hidden)), np.float32)
    padded[:, :hidden] = numbers.reshape(gates, hidden)
    return padded
