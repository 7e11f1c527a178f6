"""Functions of the gates of recurrent operators, by ONNX's names, with their numbers alpha and beta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qengine.errors import ModelError
from qengine.kernels.reference import functions as f
from qengine.model.eager.elements import Reals


@dataclass(frozen=True)
class Gate:
    """A function with its numbers.

    Attributes
    ----------
    name : ONNX's name in lower case.
    alpha, beta : numbers of the function; 0 where it has none.
    """

    name: str
    alpha: float
    beta: float

    def __call__(self, x: Reals) -> Reals:
        """Compute in float64."""
        return _KINDS[self.name].function(x, self.alpha, self.beta)

    def exactly(self, x: Reals) -> Reals:
        """Compute in float64 with the same bits on every machine, as tables need it."""
        kind = _KINDS[self.name]
        return (kind.exact or kind.function)(x, self.alpha, self.beta)


@dataclass(frozen=True)
class _Kind:
    """A function before its numbers are known.

    Attributes
    ----------
    function : function of x, alpha and beta.
    takes_alpha, takes_beta : whether it has these numbers.
    alpha, beta : default numbers; None where ONNX gives none.
    exact : the function by operations that give the same bits on every machine; None where `function` is.
    """

    function: Callable[[Reals, float, float], Reals]
    takes_alpha: bool = False
    takes_beta: bool = False
    alpha: float | None = None
    beta: float | None = None
    exact: Callable[[Reals, float, float], Reals] | None = None


def _sigmoid(x: Reals, _alpha: float, _beta: float) -> Reals:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


_KINDS = {
    "relu": _Kind(lambda x, _alpha, _beta: np.maximum(x, 0.0)),
    "tanh": _Kind(lambda x, _alpha, _beta: np.tanh(x), exact=lambda x, _alpha, _beta: f.tanh(x)),
    "sigmoid": _Kind(_sigmoid, exact=lambda x, _alpha, _beta: f.sigmoid(x)),
    "affine": _Kind(lambda x, alpha, beta: alpha * x + beta, True, True, 1.0, 0.0),
    "leakyrelu": _Kind(lambda x, alpha, _beta: np.where(x >= 0, x, alpha * x), True, alpha=0.01),
    "thresholdedrelu": _Kind(lambda x, alpha, _beta: np.where(x >= alpha, x, 0.0), True, alpha=1.0),
    "scaledtanh": _Kind(
        lambda x, alpha, beta: alpha * np.tanh(beta * x),
        True,
        True,
        exact=lambda x, alpha, beta: alpha * f.tanh(beta * x),
    ),
    "hardsigmoid": _Kind(lambda x, alpha, beta: np.clip(alpha * x + beta, 0.0, 1.0), True, True, 0.2, 0.5),
    "elu": _Kind(
        lambda x, alpha, _beta: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
        True,
        alpha=1.0,
        exact=lambda x, alpha, _beta: np.where(x >= 0, x, alpha * f.expm1(np.minimum(x, 0.0))),
    ),
    "softsign": _Kind(lambda x, _alpha, _beta: x / (1.0 + np.abs(x))),
    "softplus": _Kind(
        lambda x, _alpha, _beta: np.logaddexp(0.0, x),
        exact=lambda x, _alpha, _beta: np.maximum(x, 0.0) + f.log1p(f.exp(-np.abs(x))),
    ),
}
_NAMES = "Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign and Softplus"


def gates(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Gate]:
    """Return functions by their names.

    Parameters
    ----------
    names
        ONNX's names, in upper or lower case.
    alphas, betas
        Numbers of the functions that have such a number, in their order. Those that are left out at the end have the
        default of ONNX's operator of the same name.

    Raises
    ------
    ModelError
        If a name is unknown, or there are more numbers than functions that take one, or a number is missing that has
        no default.
    """
    kinds = []
    for name in names:
        if name.lower() not in _KINDS:
            raise ModelError(f"activation '{name}' does not exist; there are {_NAMES}")
        kinds.append(_KINDS[name.lower()])
    left_alphas = _numbers("activation_alpha", alphas, [k.takes_alpha for k in kinds])
    left_betas = _numbers("activation_beta", betas, [k.takes_beta for k in kinds])
    return [
        _bound(name, kind, kind.alpha if a is None else a, kind.beta if b is None else b)
        for name, kind, a, b in zip(names, kinds, left_alphas, left_betas, strict=True)
    ]


def _numbers(attribute: str, given: Sequence[float], takes: Sequence[bool]) -> list[float | None]:
    """Return the number of each function: those that take one take the next."""
    if len(given) > sum(takes) > 0:
        raise ModelError(
            f"{attribute} has {len(given)} numbers, {sum(takes)} of {len(takes)} activations take one; "
            "give one number for each of these, in their order"
        )
    left = iter(given)
    return [next(left, None) if one else None for one in takes]


def _bound(name: str, kind: _Kind, alpha: float | None, beta: float | None) -> Gate:
    if (kind.takes_alpha and alpha is None) or (kind.takes_beta and beta is None):
        raise ModelError(f"activation '{name}' needs activation_alpha and activation_beta, which have no default")
    return Gate(name.lower(), alpha or 0.0, beta or 0.0)
