"""Conv, ConvTranspose and matrix products, generic in the element type, and their exact fixed-point form."""

from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .elementwise import bounded
from .register import RegisterSums
from .requantize import ACCUMULATOR_OVERFLOWS, Tally, requantize
from .rounding import integer_dtype
from .window import Pads, pad_spatial, windows
from .word import Codes, Integers, Word, wrap

Matmul = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""np.matmul, or a function that replaces it."""


class Product(Protocol):
    """Function (activations, weights) -> sums of products; all three have the same dtype."""

    def __call__(self, x: NDArray[Any], w: NDArray[Any], /, *, matmul: Matmul = ...) -> NDArray[Any]:
        """Return the sums of products, computed by `matmul`."""


_STRIP_BYTES = 32 << 20


def convolution(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: Pads,
    group: int,
    matmul: Matmul = np.matmul,
) -> NDArray[Any]:
    """Return the cross-correlation (N, M, out...) of x (N, C, spatial...) with w (M, C/group, kernel...).

    Works in strips of the first output axis, so that the unfolded windows stay within a few megabytes.
    """
    n, channels = x.shape[:2]
    filters, kernel = w.shape[0], w.shape[2:]
    view = windows(pad_spatial(x, pads, 0), kernel, strides, dilations)
    spatial = len(kernel)
    out = view.shape[2 : 2 + spatial]
    y = np.empty((n, filters, *out), x.dtype)
    per_group = (channels // group) * prod(kernel)
    matrix = w.reshape(group, filters // group, per_group)
    row = n * group * per_group * prod(out[1:]) * x.itemsize
    step = max(1, _STRIP_BYTES // max(1, row))
    # (N, C, out..., kernel...) -> (N, C, kernel..., out...), so that C and kernel fold into one axis.
    order = (0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))
    for start in range(0, out[0], step):
        strip = view[:, :, start : start + step].transpose(order)
        rows = strip.shape[2 + spatial :]
        taps = strip.reshape(n, group, per_group, prod(rows))
        y[:, :, start : start + step] = matmul(matrix, taps).reshape(n, filters, *rows)
    return y


def transposed_convolution(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: Pads,
    output_padding: tuple[int, ...],
    group: int,
    matmul: Matmul = np.matmul,
) -> NDArray[Any]:
    """Return the transposed convolution of x (N, C, spatial...) with w (C, M/group, kernel...).

    x is spread out by its strides and then correlated with the mirrored kernel. `pads` is taken from the
    output; `output_padding` adds to its end.
    """
    kernel, filters = w.shape[2:], mirrored_filters(w, group)
    spread, around = spread_out(x, kernel, strides, dilations, pads, output_padding)
    ones = (1,) * len(kernel)
    return convolution(spread, filters, strides=ones, dilations=dilations, pads=around, group=group, matmul=matmul)


def mirrored_filters(w: NDArray[Any], group: int) -> NDArray[Any]:
    """Return weights (C, M/group, kernel...) of a transposed convolution as filters (M, C/group, kernel...)."""
    mirrored = np.flip(w, axis=tuple(range(2, w.ndim)))
    split = mirrored.reshape(group, w.shape[0] // group, *w.shape[1:]).swapaxes(1, 2)
    return split.reshape(group * w.shape[1], w.shape[0] // group, *w.shape[2:])


def spread_out(
    x: NDArray[Any],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: Pads,
    output_padding: tuple[int, ...],
) -> tuple[NDArray[Any], Pads]:
    """Return x spread out by the strides, and its padding: a transposed convolution correlates it with its kernel."""
    n, channels, *size = x.shape
    spread = np.zeros((n, channels, *[max(0, (s - 1) * t + 1) for s, t in zip(size, strides, strict=True)]), x.dtype)
    every: tuple[Any, ...] = tuple(slice(None, None, t) for t in strides)
    spread[(slice(None), slice(None), *every)] = x
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    return spread, tuple((r - a, r - b + o) for r, (a, b), o in zip(reach, pads, output_padding, strict=True))


def matrix_product(x: NDArray[Any], w: NDArray[Any], *, matmul: Matmul = np.matmul) -> NDArray[Any]:
    """Return the product of vectors, matrices or stacks of them, as np.matmul does."""
    return np.asarray(matmul(x, w), x.dtype)


def ordered_matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return np.matmul with every sum in the order of the elements; the order of BLAS depends on the CPU."""
    rows = a if a.ndim > 1 else a[None]
    columns = b if b.ndim > 1 else b[:, None]
    shape = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    total = np.zeros((*shape, rows.shape[-2], columns.shape[-1]), np.result_type(a, b))
    for k in range(rows.shape[-1]):
        total += rows[..., k, None] * columns[..., k, None, :]
    total = total if b.ndim > 1 else total[..., 0]
    return total if a.ndim > 1 else total[..., 0, :] if b.ndim > 1 else total[..., 0]


def linear_float(
    x: NDArray[Any],
    w: NDArray[Any],
    b: NDArray[Any] | None,
    product: Product,
    low: float | None,
    high: float | None,
) -> NDArray[Any]:
    """Return product(x, w) + b, bounded by a fused activation; b broadcasts against the product."""
    y = product(x, w)
    if b is not None:
        y += b
    return bounded(y, low, high, out=y)


def exact_product(x: Codes, w: Codes, product: Product, bound: int) -> Integers:
    """Return the exact integer sums of products, `bound` being an upper limit of the magnitude of every partial sum.

    Integers below 2^24 (2^53) are exact in float32 (float64) in any order of summation, so BLAS serves.
    """
    if bound < 1 << 24:
        return product(x.astype(np.float32), w.astype(np.float32)).astype(np.int64)
    if bound < 1 << 53:
        return product(x.astype(np.float64), w.astype(np.float64)).astype(np.int64)
    wide = integer_dtype(bound.bit_length())
    return product(x.astype(wide), w.astype(wide))


def linear_fixed(
    x: Codes,
    w: Codes,
    b: Integers | None,
    product: Product,
    *,
    bound: int,
    shift: int | NDArray[np.int64],
    word: Word,
    accumulator_bits: int | None,
    half: Integers | int = 0,
    low: int | None,
    high: int | None,
    tally: Tally | None = None,
) -> Codes:
    """Return overflow(round((b + sum(x * w)) * 2^-shift)): the linear operators in fixed point.

    Parameters
    ----------
    x, w
        Codes.
    b
        Bias in units of the accumulator, broadcast against the product.
    bound
        Upper limit of |b| + sum(|x * w|) for every output.
    shift
        Accumulator bits to drop, one or an array that broadcasts against the product.
    accumulator_bits
        Number of low bits of the exact sum that a wrapping accumulator keeps; None for an unbounded accumulator.
    half
        Constant that is in the accumulator when it wraps, and taken off after: that of a rounding.
    """
    acc = exact_product(x, w, product, bound)
    if b is not None:
        acc = np.asarray(acc + b, acc.dtype)
    largest = bound + int(np.max(half, initial=0))
    if accumulator_bits is not None and accumulator_bits <= largest.bit_length():
        exact, wide = acc, integer_dtype(largest.bit_length())
        acc = wrap(np.asarray(exact + half, wide), accumulator_bits, signed=True)
        acc = np.asarray(acc - half, wide)
        if tally is not None:
            tally[ACCUMULATOR_OVERFLOWS] += np.count_nonzero(acc != exact)
    return requantize(acc, shift, word, low=low, high=high, tally=tally)


def linear_in_order(
    x: Codes,
    w: Codes,
    product: Callable[[NDArray[Any], NDArray[Any], RegisterSums], NDArray[Any]],
    sums: RegisterSums,
    *,
    shift: int | NDArray[np.int64],
    word: Word,
    half: Integers | int,
    low: int | None,
    high: int | None,
    tally: Tally | None = None,
) -> Codes:
    """Return overflow(round((sum - half) * 2^-shift)) of sums that a register holds; see `linear_fixed`.

    Parameters
    ----------
    x, w
        Codes.
    product
        Function of x, w and the next argument that returns the sums.
    sums
        Sums in a register, which begin with the bias and with half a step of the output where `half` is not 0.
    shift
        Bits of the register to drop.
    """
    before = sums.overflows
    acc = product(x.astype(sums.dtype), w.astype(sums.dtype), sums)
    if tally is not None:
        tally[ACCUMULATOR_OVERFLOWS] += sums.overflows - before
    return requantize(np.asarray(acc - half, acc.dtype), shift, word, low=low, high=high, tally=tally)
