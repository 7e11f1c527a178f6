"""Weights rounded column by column so that a layer's outputs, rather than its weights, change least.

Frantar et al., "GPTQ", ICLR 2023, after Frantar and Alistarh, "Optimal Brain Compression", NeurIPS 2022. With H the
sum of x x^T over what a filter sees, an error e of its weights changes its outputs by e H e^T in sum of squares. GPTQ
rounds one column after the other and takes its error out through the columns that are left, by the Cholesky factor of
H's inverse. With H = M M^T, M upper triangular, that is the choice of each e_i that makes (e M)_i least, given those
before: the same numbers without an inverse.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def round_columns(
    weights: Reals, products: Reals, least: int, most: int, *, damping: float = 0.01, sweeps: int = 20
) -> Reals:
    """Return integers near the weights, such that e H e^T is small: for no filter larger than rounding to nearest.

    Columns are taken from the one with the largest H_ii to that with the smallest. Afterwards single weights move to
    where the rest of their filter wants them, until none moves. Every sum is taken in one order by NumPy's elementwise
    arithmetic, and neither BLAS nor LAPACK is called: the result has the same bits on every machine.

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
    order = np.argsort(-np.einsum("gii->gi", products), axis=1, kind="stable")
    weights = np.take_along_axis(weights, order[:, None, :], 2)
    products = np.take_along_axis(np.take_along_axis(products, order[:, None, :], 2), order[:, :, None], 1)
    factor = _upper_factor(products)
    codes, pull = np.empty_like(weights), np.zeros_like(weights)
    for i in range(weights.shape[2]):
        codes[..., i] = np.clip(np.rint(weights[..., i] + pull[..., i] / factor[:, None, i, i]), least, most)
        error = weights[..., i] - codes[..., i]
        pull[..., i + 1 :] += error[..., None] * factor[:, None, i, i + 1 :]
    found = np.empty_like(codes)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], codes.shape), codes, 2)
    return found


def _upper_factor(products: Reals) -> Reals:
    """Return the upper triangular M with H = M M^T, of positive definite H.

    It is Cholesky's method from the last column to the first.
    """
    rest, factor = products.copy(), np.zeros_like(products)
    for i in reversed(range(products.shape[1])):
        column = rest[:, : i + 1, i] / np.sqrt(rest[:, None, i, i])
        factor[:, : i + 1, i] = column
        rest[:, :i, :i] -= column[:, :i, None] * column[:, None, :i]
    return factor


def _moved(weights: Reals, codes: Reals, products: Reals, least: int, most: int, sweeps: int) -> Reals:
    """Move single codes to where e H e^T is least, the others being as they are, until none moves."""
    codes = codes.copy()
    slope = _times(weights - codes, products)
    for _ in range(sweeps):
        moved = False
        for i in range(codes.shape[2]):
            wanted = np.clip(np.rint(codes[..., i] + slope[..., i] / products[:, None, i, i]), least, most)
            step = wanted - codes[..., i]
            if step.any():
                moved = True
                codes[..., i] = wanted
                slope -= step[..., None] * products[:, None, i, :]
        if not moved:
            break
    return codes


def _times(error: Reals, products: Reals) -> Reals:
    """Return e H, every sum in the order of the columns."""
    total: Any = np.zeros_like(error)
    for i in range(error.shape[2]):
        total += error[..., i, None] * products[:, None, i, :]
    return np.asarray(total)


def _ordered_sum(values: Reals) -> Reals:
    """Return sums over the last axis, taken in the order of its elements."""
    total: Any = np.zeros(values.shape[:-1])
    for i in range(values.shape[-1]):
        total += values[..., i]
    return np.asarray(total)


__all__ = ["output_error", "round_columns"]
