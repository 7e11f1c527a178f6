"""Weights for the kernels of linear operators: codes of constants, and their order in memory.

A model in another format has other codes of the same weights, so that this is done again for every format that is
tried. Each function does one pass on native kernels over what NumPy would take many for; the result is the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .address import address
from .epilogue import LANES
from .isa import Isa
from .program import Call, run_call
from .reference.rounding_table import unshifted
from .reference.word import Word


@dataclass(frozen=True)
class Encode:
    """Specification of the codes of float32 constants, which saturate.

    Each of some rows of `columns` numbers has a scale of its own, a float64. `sums` gets the sum of the codes of each
    row and that of their magnitudes, both int64; `nan` is not 0 afterwards if there was NaN, whose code is 0.

    Attributes
    ----------
    bits : 8 or 16 bits of a stored code.
    rounding : name of the rounding.
    """

    bits: int
    rounding: str = "half_even"

    emitter = "encode"
    arguments = ("x", "y", "rows", "columns", "scales", "low", "high", "sums", "nan")


@dataclass(frozen=True)
class GatherTaps:
    """Specification of the order in which dot kernels read weights: vectors of 16 channels, taps, channels, items.

    `offsets` are the places of the items of each tap in a filter, int64 (taps, items); -1 is a weight of 0. Filters
    lie `filter` items apart. Of the last vector there are `last` channels.

    Attributes
    ----------
    itemsize : bytes of a weight: 1 or 2 for a code, 4 for float32.
    dense : whether the items of every tap lie side by side, so that `offsets` of the first items suffice.
    """

    itemsize: int
    dense: bool

    emitter = "gather_taps"
    arguments = ("w", "filter", "offsets", "y", "vectors", "taps", "last")


def encode(
    values: NDArray[np.float32], scales: NDArray[np.float64], word: Word, isa: Isa
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the codes of constants, and for each row the sum of the codes and that of their magnitudes.

    Parameters
    ----------
    values
        (rows, columns), contiguous.
    scales
        (rows,) powers of two: 2^n for n fraction bits.
    word
        Word of the codes, which saturate.
    isa
        Instruction set of the kernel.

    Returns
    -------
    tuple
        (rows, columns) codes and (rows, 2) sums.

    Raises
    ------
    ValueError
        If there is NaN among the values, or they lie otherwise in memory.
    """
    rows, columns = values.shape
    codes, sums, nan = np.empty(values.shape, word.dtype), np.zeros((rows, 2), np.int64), np.zeros(1, np.int64)
    if not (values.flags.c_contiguous and values.dtype == np.float32 and scales.shape == (rows,)):
        raise ValueError(f"found {values.dtype} {values.shape} and {scales.shape} scales; give contiguous float32 rows")
    arguments = {
        **{"x": address(values), "y": address(codes), "rows": rows, "columns": columns},
        **{"scales": address(scales), "low": word.lowest, "high": word.most, "sums": address(sums)},
        **{"nan": address(nan)},
    }
    run_call(Call(Encode(8 * codes.itemsize, unshifted(word.rounding)), arguments), isa)
    if nan[0]:
        raise ValueError("NaN has no code")
    return codes, sums


def gather_taps(
    w: NDArray[Any], offsets: NDArray[np.int64], isa: Isa, out: NDArray[np.uint8], *, is_dense: bool
) -> None:
    """Write weights as the dot kernel reads them, see `dot.packed_weights`, to an array.

    Parameters
    ----------
    w
        (channels, any number) filters, whose items lie one after the other.
    offsets
        (taps, items) index of each item in a filter; -1 for a weight of 0.
    isa
        Instruction set of the kernel.
    out
        Array that is written: vectors x taps x 16 x 4 bytes.
    is_dense
        Whether the items of every tap lie side by side.
    """
    channels, taps = len(w), len(offsets)
    vectors = -(-channels // LANES)
    if w.strides[1] != w.itemsize or out.nbytes < vectors * taps * LANES * 4:
        raise ValueError(f"found weights of {w.shape}, {w.strides} and {out.nbytes} bytes: give contiguous filters")
    arguments = {
        **{"w": address(w), "filter": w.strides[0], "offsets": address(offsets), "y": address(out)},
        **{"vectors": vectors, "taps": taps, "last": channels - (vectors - 1) * LANES},
    }
    run_call(Call(GatherTaps(w.itemsize, is_dense), arguments), isa)
