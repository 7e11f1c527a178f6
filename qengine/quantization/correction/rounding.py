"""Rounding of filters column by column, so that the outputs of a layer change least: GPTQ without an inverse.

With H the sum of x x^T over all patches x that a filter reads, an error e of its weights changes its outputs by e H e^T
in sum of squares. The best codes are those with the least e H e^T: a closest vector problem, which is hard. GPTQ
(Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, after Frantar and Alistarh, "Optimal Brain Compression", NeurIPS 2022) solves it greedily: it
rounds one column (one weight of every filter) after the other, and changes the columns that are left so that they make
up for the error. It computes the change from the Cholesky factor of H's inverse.

The same numbers follow without an inverse. Let H = M M^T with M upper triangular. Then e H e^T = sum over i of
(e M)_i^2, and (e M)_i = e_i M_ii + sum over j < i of e_j M_ji depends on e_0 to e_i only. So the columns are taken in
turn, and each e_i is chosen such that (e M)_i is nearest to 0: the code of column i is w_i + pull_i / M_ii rounded to
nearest, with pull_i = sum over j < i of e_j M_ji.

Afterwards single codes move as long as that lessens e H e^T (coordinate descent). Damping, a share of H's mean diagonal
that is added to its diagonal, keeps H positive definite where taps depend on each other.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.isa import choose
from qengine.kernels.ordered_sums import add_products
from qengine.kernels.reference import ordered_sums as reference
from qengine.threads import available_threads

Reals = NDArray[np.float64]

_BLOCK = 64  # columns of a block
_MAX_NUMPY_ELEMENTS = (
    1 << 12
)  # elements of a group's result up to which NumPy over all groups is faster than native code


def round_columns(
    weights: Reals, products: Reals, least: int, most: int, *, damping: float = 0.01, sweeps: int = 20
) -> Reals:
    """Return codes near the weights with a small e H e^T: for no filter larger than that of rounding to nearest.

    Columns are rounded in descending order of H_ii. Every sum is taken in one order, and neither BLAS nor LAPACK is
    called: the result has the same bits on every machine.

    Parameters
    ----------
    weights
        Weights in units of the format's step, (groups, filters, columns).
    products
        Matrices H, (groups, columns, columns), symmetric and positive semidefinite.
    least, most
        Least and greatest code of the word.
    damping
        Number added to the diagonal of a group's H, as a share of the mean of that diagonal.
    sweeps
        Number of times that all codes may move at most.

    Returns
    -------
    ndarray
        The codes as float64 numbers, (groups, filters, columns).
    """
    # Native kernels need rows in one piece, and what is made from an array has its order.
    weights, products = np.ascontiguousarray(weights), np.ascontiguousarray(products)
    nearest = np.clip(np.rint(weights), least, most)
    diagonal = np.einsum("gii->gi", products)
    mean = _ordered_sum(diagonal) / diagonal.shape[1]
    used = mean > 0
    if not used.any():
        return nearest
    weights, products = weights[used], products[used]
    damped = products + (damping * mean[used])[:, None, None] * np.eye(products.shape[1])
    codes = _descend(weights, _round_greedily(weights, damped, least, most), damped, least, most, sweeps)
    is_better = output_error(weights - codes, products) < output_error(weights - nearest[used], products)
    result = nearest.copy()
    result[used] = np.where(is_better[..., None], codes, nearest[used])
    return result


def output_error(error: Reals, products: Reals) -> Reals:
    """Return e H e^T for each filter, (groups, filters)."""
    products = np.ascontiguousarray(products)
    return _ordered_sum(_times(error, products) * error)


def _round_greedily(weights: Reals, products: Reals, least: int, most: int) -> Reals:
    """Return the codes of columns rounded one after the other, each of which makes up for the errors before it."""
    order = np.argsort(-np.einsum("gii->gi", products), axis=1, kind="stable")
    weights = np.take_along_axis(weights, order[:, None, :], 2)
    products = np.take_along_axis(np.take_along_axis(products, order[:, None, :], 2), order[:, :, None], 1)
    factor = _upper_factor(products)
    codes, pull = np.empty_like(weights), np.zeros_like(weights)
    for start, end in _blocks(weights.shape[2]):
        error = np.empty((len(weights), end - start, weights.shape[1]))
        for i in range(start, end):
            codes[..., i] = np.clip(np.rint(weights[..., i] + pull[..., i] / factor[:, None, i, i]), least, most)
            error[:, i - start] = weights[..., i] - codes[..., i]
            pull[..., i + 1 : end] += error[:, i - start, :, None] * factor[:, None, i, i + 1 : end]
        _add_products(pull[..., end:], error, factor[:, start:end, end:])
    in_order = np.empty_like(codes)
    np.put_along_axis(in_order, np.broadcast_to(order[:, None, :], codes.shape), codes, 2)
    return in_order


def _upper_factor(products: Reals) -> Reals:
    """Return the upper triangular M with H = M M^T for a positive definite H, (groups, columns, columns).

    This is Cholesky's method from the last column to the first, in blocks of columns: a block is subtracted from the
    columns before it at once, but from each number in the order of the columns.
    """
    rest, factor = products.copy(), np.zeros_like(products)
    for start, end in reversed(list(_blocks(products.shape[1]))):
        for i in reversed(range(start, end)):
            column = rest[:, : i + 1, i] / np.sqrt(rest[:, None, i, i])
            factor[:, : i + 1, i] = column
            rest[:, :i, start:i] -= column[:, :i, None] * column[:, None, start:i]
        block = np.ascontiguousarray(factor[:, :start, start:end].swapaxes(1, 2)[:, ::-1])
        for top in range(0, start, _BLOCK):  # only the upper triangle is read
            _add_products(rest[:, top : top + _BLOCK, top:start], -block[..., top : top + _BLOCK], block[..., top:])
    return factor


def _descend(weights: Reals, codes: Reals, products: Reals, least: int, most: int, sweeps: int) -> Reals:
    """Return codes after moving single ones to the least e H e^T, the others being fixed, until none moves."""
    codes = codes.copy()
    slope = _times(weights - codes, products)
    for _ in range(sweeps):
        has_moved = False
        for i in range(codes.shape[2]):
            target = np.clip(np.rint(codes[..., i] + slope[..., i] / products[:, None, i, i]), least, most)
            step = target - codes[..., i]
            groups, filters = np.nonzero(step)
            if groups.size:
                has_moved = True
                codes[..., i] = target
                slope[groups, filters] -= step[groups, filters, None] * products[groups, i]
        if not has_moved:
            break
    return codes


def _blocks(columns: int) -> Iterator[tuple[int, int]]:
    """Return the first column of each block, and the first after it."""
    return ((start, min(start + _BLOCK, columns)) for start in range(0, columns, _BLOCK))


def _times(error: Reals, products: Reals) -> Reals:
    """Return e H, (groups, filters, columns), with every sum in the order of the columns."""
    total = np.zeros(error.shape)  # in C order, also where the errors are not
    _add_products(total, np.ascontiguousarray(error.swapaxes(1, 2)), products)
    return total


def _add_products(total: Reals, left: Reals, right: Reals) -> None:
    """Add products to a total of each group in place, see `qengine.kernels.reference.ordered_sums.add_products`."""
    isa = choose(None)
    if isa is None or (
        len(total) > 1 and total[0].size <= _MAX_NUMPY_ELEMENTS
    ):  # there are many groups with few columns each
        reference.add_products(total, left, right)
        return
    for one, a, b in zip(total, left, right, strict=True):
        add_products(one, a, b, isa, available_threads())


def _ordered_sum(values: Reals) -> Reals:
    """Return sums over the last axis, in the order of its elements."""
    total: Any = np.zeros(values.shape[:-1])
    for i in range(values.shape[-1]):
        total += values[..., i]
    return np.asarray(total)


__all__ = ["output_error", "round_columns"]
