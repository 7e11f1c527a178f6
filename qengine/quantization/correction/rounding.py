"""Weights rounded column by column so that a layer's outputs, rather than its weights, change least.

Frantar et al., "GPTQ", ICLR 2023, after Frantar and Alistarh, "Optimal Brain Compression", NeurIPS 2022. With H the
sum of x x^T over what a filter sees, an error e of its weights changes its outputs by e H e^T in sum of squares. GPTQ
rounds one column after the other and takes its error out through the columns that are left, by the Cholesky factor of
H's inverse. With H = M M^T, M upper triangular, that is the choice of each e_i that makes (e M)_i least, given those
before: the same numbers without an inverse.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.isa import choose
from qengine.kernels.ordered import add_products
from qengine.kernels.reference import ordered as reference
from qengine.threads import available_threads

Reals = NDArray[np.float64]

_BLOCK = 64  # columns
_SMALL = 1 << 12  # numbers


def round_columns(
    weights: Reals, products: Reals, least: int, most: int, *, damping: float = 0.01, sweeps: int = 20
) -> Reals:
    """Return integers near the weights, such that e H e^T is small: for no filter larger than rounding to nearest.

    Columns are taken from the one with the largest H_ii to that with the smallest. Afterwards single weights move to
    where the rest of their filter wants them, until none moves. Every sum is taken in one order, and neither BLAS nor
    LAPACK is called: the result has the same bits on every machine.

    Parameters
    ----------
    weights
        (groups, filters, columns), in units of the grid's step.
    products
        H, (groups, columns, columns), symmetric and positive semidefinite.
    least, most
        The codes that the word holds.
    damping
        What is added to H's diagonal, as a share of its mean.
    sweeps
        How often all weights may move at most.

    Returns
    -------
    ndarray
        The codes, as float64 numbers of the weights' shape.
    """
    nearest = np.clip(np.rint(weights), least, most)
    diagonal = np.einsum("gii->gi", products)
    mean = _ordered_sum(diagonal) / diagonal.shape[1]
    used = mean > 0
    if not used.any():
        return nearest
    weights, products = weights[used], products[used]
    damped = products + (damping * mean[used])[:, None, None] * np.eye(products.shape[1])
    codes = _moved(weights, _greedy(weights, damped, least, most), damped, least, most, sweeps)
    other = nearest[used]
    better = output_error(weights - codes, products) < output_error(weights - other, products)
    found = nearest.copy()
    found[used] = np.where(better[..., None], codes, other)
    return found


def output_error(error: Reals, products: Reals) -> Reals:
    """Return e H e^T for each filter: (groups, filters)."""
    return _ordered_sum(_times(error, products) * error)


def _greedy(weights: Reals, products: Reals, least: int, most: int) -> Reals:
    """Round column after column, each error being taken out through the columns that are left."""
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
    found = np.empty_like(codes)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], codes.shape), codes, 2)
    return found


def _upper_factor(products: Reals) -> Reals:
    """Return the upper triangular M with H = M M^T, of positive definite H.

    It is Cholesky's method from the last column to the first. What a block of columns takes from those before it is
    taken at once, and from each number in the columns' order all the same.
    """
    rest, factor = products.copy(), np.zeros_like(products)
    for start, end in reversed(list(_blocks(products.shape[1]))):
        for i in reversed(range(start, end)):
            column = rest[:, : i + 1, i] / np.sqrt(rest[:, None, i, i])
            factor[:, : i + 1, i] = column
            rest[:, :i, start:i] -= column[:, :i, None] * column[:, None, start:i]
        taken = np.ascontiguousarray(factor[:, :start, start:end].swapaxes(1, 2)[:, ::-1])
        for top in range(0, start, _BLOCK):  # the upper triangle is all that is read
            _add_products(rest[:, top : top + _BLOCK, top:start], -taken[..., top : top + _BLOCK], taken[..., top:])
    return factor


def _moved(weights: Reals, codes: Reals, products: Reals, least: int, most: int, sweeps: int) -> Reals:
    """Move single codes to where e H e^T is least, the others being as they are, until none moves."""
    codes = codes.copy()
    slope = _times(weights - codes, products)
    for _ in range(sweeps):
        has_moved = False
        for i in range(codes.shape[2]):
            wanted = np.clip(np.rint(codes[..., i] + slope[..., i] / products[:, None, i, i]), least, most)
            step = wanted - codes[..., i]
            groups, filters = np.nonzero(step)
            if groups.size:
                has_moved = True
                codes[..., i] = wanted
                slope[groups, filters] -= step[groups, filters, None] * products[groups, i]
        if not has_moved:
            break
    return codes


def _blocks(columns: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _BLOCK, columns)) for start in range(0, columns, _BLOCK))


def _times(error: Reals, products: Reals) -> Reals:
    """Return e H, every sum in the order of the columns."""
    total = np.zeros_like(error)
    _add_products(total, np.ascontiguousarray(error.swapaxes(1, 2)), products)
    return total


def _add_products(total: Reals, left: Reals, right: Reals) -> None:
    """Add products in the order of the columns, group by group."""
    isa = choose(None)
    if isa is None or (len(total) > 1 and total[0].size <= _SMALL):  # many groups with few columns each
        reference.add_products(total, left, right)
        return
    for one, a, b in zip(total, left, right, strict=True):
        add_products(one, a, b, isa, available_threads())


def _ordered_sum(values: Reals) -> Reals:
    """Return sums over the last axis, taken in the order of its elements."""
    total: Any = np.zeros(values.shape[:-1])
    for i in range(values.shape[-1]):
        total += values[..., i]
    return np.asarray(total)


__all__ = ["output_error", "round_columns"]
