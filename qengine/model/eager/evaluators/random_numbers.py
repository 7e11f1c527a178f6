"""Random numbers: Bernoulli, Multinomial, RandomNormal, RandomUniform and those like another tensor.

A node with the attribute `seed` gives the same numbers in every run, on every machine and with every version of NumPy:
the bits of the seed, a float32, start the generator PCG64, and only its integers and functions that are exact to the
bit are used. Two nodes with the same seed and the same arguments give the same numbers. A node without a seed gives
others in every run. The numbers are not those of other software with the same seed; ONNX does not define them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.kernels.reference.functions import exp, log
from qengine.model.eager.elements import REALS, checked_shape, element_dtype
from qengine.model.eager.evaluator import evaluator
from qengine.model.ops.operator import Ints

Array = NDArray[Any]
Reals = NDArray[np.float64]

_BLOCK = 1 << 16
"""Most numbers that are drawn at a time; the numbers of a seed do not depend on it."""
_ANY = (*REALS, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "bool")


@evaluator("RandomNormal")
def random_normal(
    *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Ints
) -> Array:
    """Normally distributed numbers."""
    return _normal(shape, element_dtype(dtype, REALS, "dtype"), mean, scale, seed)


@evaluator("RandomNormalLike")
def random_normal_like(
    x: Array, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Array:
    """Normally distributed numbers in the shape of another tensor."""
    return _normal(x.shape, _dtype_like(x, dtype, REALS), mean, scale, seed)


@evaluator("RandomUniform")
def random_uniform(
    *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Ints
) -> Array:
    """Numbers that are uniformly distributed from low to below high."""
    return _uniform(shape, element_dtype(dtype, REALS, "dtype"), low, high, seed)


@evaluator("RandomUniformLike")
def random_uniform_like(
    x: Array, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Array:
    """Numbers that are uniformly distributed from low to below high, in the shape of another tensor."""
    return _uniform(x.shape, _dtype_like(x, dtype, REALS), low, high, seed)


@evaluator("Bernoulli", since=15)
def bernoulli(x: Array, *, dtype: int | None = None, seed: float | None = None) -> Array:
    """1 with the probability x, else 0."""
    probability = x.astype(np.float64)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ModelError("a probability is not between 0 and 1")
    drawn = _fractions(_generator(seed), x.size).reshape(x.shape) < probability
    return np.asarray(drawn).astype(_dtype_like(x, dtype, _ANY))


@evaluator("Multinomial", since=7)
def multinomial(x: Array, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Array:
    """Classes drawn with the probabilities whose logarithms are x, up to a constant for each row."""
    kind = element_dtype(dtype, ("int32", "int64"), "dtype")
    if x.ndim != 2 or sample_size < 1 or (x.shape[0] and not x.shape[1]):
        raise ModelError(f"input {list(x.shape)} must be [batch, classes], and sample_size {sample_size} 1 or more")
    checked_shape((x.shape[0], sample_size), 8, "the samples")
    logits = x.astype(np.float64)
    top = logits.max(axis=1, keepdims=True, initial=-np.inf)
    if not np.isfinite(top).all():
        raise ModelError("a row of logarithms holds NaN or infinity, or has no class with a probability above 0")
    bounds = np.cumsum(exp(logits - top), axis=1)
    drawn = _fractions(_generator(seed), len(x) * sample_size).reshape(-1, sample_size) * bounds[:, -1:]
    # A class of probability 0 has the bound of the one before it, which 'right' passes over.
    rows = [np.searchsorted(bound, at, side="right") for bound, at in zip(bounds, drawn, strict=True)]
    last = [np.searchsorted(bound, bound[-1]) for bound in bounds]
    picked = [np.minimum(row, end) for row, end in zip(rows, last, strict=True)]
    return np.array(picked, kind).reshape(len(x), sample_size)


def _dtype_like(x: Array, code: int | None, allowed: Sequence[str]) -> np.dtype[Any]:
    """Return the type of the output: the attribute `dtype`, or the type of the input where it is left out."""
    if code is not None:
        return element_dtype(code, allowed, "dtype")
    if x.dtype.name not in allowed:
        raise ModelError(f"the input is {x.dtype}; set the attribute dtype to a type of real numbers")
    return x.dtype


def _generator(seed: float | None) -> np.random.PCG64:
    """Return a generator that starts from the bits of the seed, or from the operating system without one."""
    if seed is None:
        return np.random.PCG64()
    return np.random.PCG64(int(np.float32(seed).view(np.uint32)))


def _fractions(generator: np.random.PCG64, count: int) -> Reals:
    """Return uniformly distributed multiples of 2^-53 below 1."""
    raw = np.asarray(generator.random_raw(count), np.uint64)
    return np.asarray((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _filled(shape: Sequence[int], dtype: np.dtype[Any], draw: Callable[[int], NDArray[Any]]) -> Array:
    """Return an array of numbers that are drawn a block at a time.

    Parameters
    ----------
    shape, dtype
        Shape and element type of the array; the shape is checked.
    draw
        Function that draws about as many numbers as it is asked for, at least one.
    """
    if any(n < 0 for n in shape):
        raise ModelError(f"shape {list(shape)} must not have negative lengths")
    checked_shape(shape, dtype.itemsize, "the output")
    flat = np.empty(prod(shape), dtype)
    start = 0
    while start < flat.size:
        block = draw(min(_BLOCK, flat.size - start))[: flat.size - start]
        flat[start : start + block.size] = block
        start += block.size
    return flat.reshape(shape)


def _normal(shape: Sequence[int], dtype: np.dtype[Any], mean: float, scale: float, seed: float | None) -> Array:
    if not (np.isfinite(mean) and 0 <= scale < np.inf):
        raise ModelError(f"mean {mean} must be finite, and scale {scale} 0 or more")
    generator = _generator(seed)

    def draw(count: int) -> Reals:
        # Marsaglia's polar method: a point in the unit disc gives two numbers.
        points = 2.0 * _fractions(generator, 2 * count + 16).reshape(-1, 2) - 1.0
        radius = points[:, 0] * points[:, 0] + points[:, 1] * points[:, 1]
        inside = (radius > 0) & (radius < 1)
        points, radius = points[inside], radius[inside]
        return np.asarray(mean + scale * (points * np.sqrt(-2.0 * log(radius) / radius)[:, None]).ravel())

    return _filled(shape, dtype, draw)


def _uniform(shape: Sequence[int], dtype: np.dtype[Any], low: float, high: float, seed: float | None) -> Array:
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ModelError(f"low {low} and high {high} must be finite, and low not above high")
    generator = _generator(seed)

    def draw(count: int) -> Array:
        rounded = (low + (high - low) * _fractions(generator, count)).astype(dtype)
        # Rounding to a short type may reach the upper bound, which does not belong to the interval.
        return rounded if low == high else np.where(rounded >= dtype.type(high), dtype.type(low), rounded)

    return _filled(shape, dtype, draw)


__all__ = [
    "bernoulli",
    "multinomial",
    "random_normal",
    "random_normal_like",
    "random_uniform",
    "random_uniform_like",
]
