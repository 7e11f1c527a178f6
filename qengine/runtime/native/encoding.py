"""Codes of constants by native kernels: what `Tensor.codes` is, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.encode import encode
from qengine.kernels.isa import Isa
from qengine.model.rules import EXACT_CONSTANTS
from qengine.model.steps import Tensor
from qengine.qformat import fraction_bits_of


def encoded(t: Tensor, isa: Isa) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Return the elements of a constant, and sums of its codes along all axes but the first.

    Parameters
    ----------
    t
        The constant.
    isa
        Instruction set of the kernel.

    Returns
    -------
    tuple
        The codes, or the real numbers of a constant without a format; and (first axis, 2) sums of the codes and of
        their magnitudes, None where the kernel does not encode the constant.

    Raises
    ------
    FormatError
        If it holds NaN.
    """
    value, fmt = t.value, t.format
    if t.encoding != EXACT_CONSTANTS:
        return t.elements, None
    if value is None or fmt is None or value.dtype != np.float32 or not value.size or not value.ndim:
        return t.elements, None
    n = np.asarray(fraction_bits_of(fmt, value.ndim))
    if not value.flags.c_contiguous or (n.size > 1 and n.size != n.shape[0]):
        return t.elements, None
    scales = np.full(len(value), 2.0 ** n.item()) if n.size == 1 else np.ldexp(1.0, n.ravel())
    word = t.encoding.word(fmt)
    if word.fitting != "saturate":
        return t.elements, None
    try:
        codes, sums = encode(value.reshape(len(value), -1), scales, word, isa)
    except ValueError:
        return t.elements, None  # which names the constant that holds NaN
    t.keep_codes(codes.reshape(value.shape))
    return t.codes, sums
