"""Updates of the parameters of a model that trains itself: Adagrad, Adam and Momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import scalar
from qengine.model.eager.evaluator import evaluator

Array = NDArray[Any]
Reals = NDArray[np.float64]

_DOMAIN = "ai.onnx.preview.training"


@evaluator("Adagrad", domain=_DOMAIN)
def adagrad(
    r: Array,
    t: Array,
    *tensors: Array,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[Array, ...]:
    """A step against the gradient, divided by the root of the accumulated squared gradients."""
    rate = np.float64(scalar(r, "R")) / (1 + int(scalar(t, "T")) * decay_factor)

    def update(x: Reals, gradient: Reals, squares: Reals) -> tuple[Reals, Reals]:
        regular = norm_coefficient * x + gradient
        new = squares + regular * regular
        return x - rate * regular / (np.sqrt(new) + epsilon), new

    return _updated(tensors, 3, update)


@evaluator("Adam", domain=_DOMAIN)
def adam(
    r: Array,
    t: Array,
    *tensors: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Array, ...]:
    """A step against the averaged gradient, divided by the root of the averaged squared gradient."""
    rate, count = float(scalar(r, "R")), int(scalar(t, "T"))
    if count > 0:
        rate *= float(np.sqrt(1 - np.float64(beta) ** count) / (1 - np.float64(alpha) ** count))

    def update(x: Reals, gradient: Reals, mean: Reals, squares: Reals) -> tuple[Reals, Reals, Reals]:
        regular = norm_coefficient * x + gradient
        new_mean = alpha * mean + (1 - alpha) * regular
        new_squares = beta * squares + (1 - beta) * regular * regular
        moved = x - rate * new_mean / (np.sqrt(new_squares) + epsilon)
        return (1 - norm_coefficient_post) * moved, new_mean, new_squares

    return _updated(tensors, 4, update)


@evaluator("Momentum", domain=_DOMAIN)
def momentum(
    r: Array, t: Array, *tensors: Array, alpha: float, beta: float, mode: str, norm_coefficient: float
) -> tuple[Array, ...]:
    """A step against the gradient and the accumulated earlier ones."""
    if mode not in ("standard", "nesterov"):
        raise ModelError(f"mode '{mode}' is not standard or nesterov")
    rate = float(scalar(r, "R"))
    gain = beta if int(scalar(t, "T")) > 0 else 1.0

    def update(x: Reals, gradient: Reals, velocity: Reals) -> tuple[Reals, Reals]:
        regular = norm_coefficient * x + gradient
        new = alpha * velocity + gain * regular
        return x - rate * (new if mode == "standard" else regular + alpha * new), new

    return _updated(tensors, 3, update)


def _updated(tensors: tuple[Array, ...], kinds: int, update: Callable[..., tuple[Reals, ...]]) -> tuple[Array, ...]:
    """Return the new tensors: all parameters, then all accumulated tensors of each kind.

    Parameters
    ----------
    tensors
        All parameters, then all gradients, then all accumulated tensors of each kind.
    kinds
        Number of tensors of each parameter, its gradient included.
    update
        Function of the tensors of one parameter, in float64, that returns the new ones.
    """
    count = len(tensors) // kinds
    if not count or len(tensors) % kinds or any(one is None for one in tensors):
        raise ModelError(f"takes {kinds} tensors for each parameter, {len(tensors)} are given")
    results = []
    for i in range(count):
        own = tensors[i::count]
        if len({one.shape for one in own}) > 1:
            raise ModelError(f"the tensors of parameter {i} have the shapes {[list(one.shape) for one in own]}")
        new = update(*(one.astype(np.float64) for one in own))
        results.append([one.astype(own[0].dtype) for one in new])
    return tuple(one[kind] for kind in range(kinds - 1) for one in results)


__all__ = ["adagrad", "adam", "momentum"]
