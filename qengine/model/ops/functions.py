"""Functions of one variable: each is a table in fixed point."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference import functions as f
from qengine.model.graph import Dim, Node
from qengine.model.ops.conversion import to_integers
from qengine.model.ops.facts import Constants, channels_stay
from qengine.model.ops.operator import NUMBER, Channels, Known, NumberKind, Sign, find, operator
from qengine.model.steps import Combine, Island, Move, Table, Tensor
from qengine.model.steps.forms import Bounded, Curve

Reals = NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)
"""The bound of a Clip before opset 11 that gives none."""


def _table_or_integers(x: Tensor, curve: Curve) -> Table | Island:
    """Return a table for real numbers; integers, which are shapes or indices, are computed without a table."""
    return Table(x, curve) if x.is_float else Island((x,), curve, x.shape, x.dtype)


@operator("Sigmoid", sign=Sign.NOT_NEGATIVE)
def sigmoid(x: Tensor) -> Table:
    """1 / (1 + e^-x)."""
    return Table(x, Curve("logistic", f.sigmoid, (1.0,)))


@operator("Logistic", domain="qengine", sign=Sign.NOT_NEGATIVE)
def logistic(x: Tensor, *, alpha: float = 1.0) -> Table:
    """1 / (1 + e^(-alpha x)): a pass puts it in the place of the operators that compute it in a model."""
    return Table(x, Curve("logistic", lambda v: f.sigmoid(alpha * v), (alpha,)))


@operator("Tanh")
def tanh(x: Tensor) -> Table:
    """Hyperbolic tangent."""
    return Table(x, Curve("tanh", f.tanh))


@operator("Erf", since=9)
def erf(x: Tensor) -> Table:
    """Error function."""
    return Table(x, Curve("erf", f.erf))


@operator("Exp", sign=Sign.NOT_NEGATIVE)
def exp(x: Tensor) -> Table:
    """e^x."""
    return Table(x, Curve("exp", f.exp))


@operator("Log")
def log(x: Tensor) -> Table:
    """Natural logarithm."""
    return Table(x, Curve("log", f.log))


@operator("Sqrt", sign=Sign.NOT_NEGATIVE)
def sqrt(x: Tensor) -> Table:
    """Square root."""
    return Table(x, Curve("sqrt", np.sqrt))


@operator("Reciprocal")
def reciprocal(x: Tensor) -> Table:
    """1 / x."""
    return Table(x, Curve("reciprocal", lambda v: 1.0 / v))


@operator("Abs", elements=NUMBER, sign=Sign.NOT_NEGATIVE)
def absolute(x: Tensor) -> Table | Island:
    """|x|."""
    return _table_or_integers(x, Curve("abs", np.abs))


@operator("Neg", elements=NUMBER)
def negative(x: Tensor) -> Table | Island:
    """-x."""
    return _table_or_integers(x, Curve("negative", np.negative))


@operator("Sign", since=9, elements=NUMBER)
def sign(x: Tensor) -> Table | Island:
    """-1, 0 or 1."""
    return _table_or_integers(x, Curve("sign", np.sign))


@operator("Floor")
def floor(x: Tensor) -> Table:
    """The largest integer that is not above x."""
    return Table(x, Curve("floor", np.floor))


@operator("Ceil")
def ceil(x: Tensor) -> Table:
    """The smallest integer that is not below x."""
    return Table(x, Curve("ceil", np.ceil))


@operator("Round", since=11)
def round_(x: Tensor) -> Table:
    """The nearest integer, ties to even."""
    return Table(x, Curve("round", np.rint))


@operator("HardSigmoid", sign=Sign.NOT_NEGATIVE)
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Table:
    """clip(alpha x + beta, 0, 1)."""
    return Table(x, Curve("hard sigmoid", lambda v: np.clip(alpha * v + beta, 0.0, 1.0), (alpha, beta)))


@operator("HardSwish", since=14)
def hard_swish(x: Tensor) -> Table:
    """x clip(x / 6 + 1/2, 0, 1)."""
    return Table(x, Curve("hard swish", lambda v: v * np.clip(v / 6.0 + 0.5, 0.0, 1.0), (1.0 / 6.0, 0.5)))


@operator("LeakyRelu", channels=channels_stay)
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Table:
    """x if x >= 0, else alpha x."""
    return _leaky(x, alpha)


def _leaky(x: Tensor, slope: float) -> Table:
    return Table(x, Curve("leaky", lambda v: np.where(v < 0, slope * v, v), (slope,)))


@operator("ThresholdedRelu", since=10)
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Table:
    """x if x > alpha, else 0."""
    return Table(x, Curve("thresholded", lambda v: np.where(v > alpha, v, 0.0), (alpha,)))


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Table:
    """x if x >= 0, else alpha (e^x - 1)."""
    return Table(x, Curve("elu", lambda v: np.where(v < 0, alpha * f.expm1(v), v), (alpha, 1.0)))


@operator("Selu")
def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Table:
    """gamma elu(x)."""
    curve = Curve("elu", lambda v: gamma * np.where(v < 0, alpha * f.expm1(v), v), (alpha, gamma))
    return Table(x, curve)


@operator("Celu", since=12)
def celu(x: Tensor, *, alpha: float = 1.0) -> Table:
    """max(0, x) + min(0, alpha (e^(x / alpha) - 1))."""

    def exact(v: Reals) -> Reals:
        return np.maximum(0.0, v) + np.minimum(0.0, alpha * f.expm1(v / alpha))

    return Table(x, Curve("celu", exact, (alpha, 1.0 / alpha)) if alpha else exact)


@operator("Softplus", sign=Sign.NOT_NEGATIVE)
def softplus(x: Tensor) -> Table:
    """log(1 + e^x)."""
    return Table(x, Curve("softplus", _softplus))


def _softplus(v: Reals) -> Reals:
    return np.maximum(v, 0.0) + f.log1p(f.exp(-np.abs(v)))


@operator("Softsign")
def softsign(x: Tensor) -> Table:
    """x / (1 + |x|)."""
    return Table(x, Curve("softsign", lambda v: v / (1.0 + np.abs(v))))


@operator("Mish", since=18)
def mish(x: Tensor) -> Table:
    """x tanh(softplus(x))."""
    return Table(x, Curve("mish", lambda v: v * f.tanh(_softplus(v))))


@operator("Swish", since=24)
def swish(x: Tensor, *, alpha: float = 1.0) -> Table:
    """x sigmoid(alpha x)."""
    return Table(x, Curve("swish", lambda v: v * f.sigmoid(alpha * v), (alpha,)))


@operator("Gelu", since=20)
def gelu(x: Tensor, *, approximate: str = "none") -> Table:
    """x Phi(x), where Phi is the normal distribution, or its approximation by tanh."""
    if approximate == "none":
        return Table(x, Curve("gelu", lambda v: 0.5 * v * (1.0 + f.erf(v / np.sqrt(2.0)))))
    if approximate == "tanh":
        root = np.sqrt(2.0 / np.pi)
        by_tanh = Curve("gelu by tanh", lambda v: 0.5 * v * (1.0 + f.tanh(root * (v + 0.044715 * v * v * v))))
        return Table(x, by_tanh)
    raise ModelError(f"approximate '{approximate}' is not none or tanh")


@operator("Pow", elements=NUMBER)
def power(x: Tensor, exponent: Known) -> Table | Island:
    """x to a constant power."""
    if exponent.size != 1 or exponent.ndim > x.ndim:
        raise UnsupportedError(f"an exponent of shape {list(exponent.shape)}: only a single number is supported")
    if x.is_float:
        return Table(x, power_curve(float(exponent.item())))
    return Island((x,), IntegerPower(exponent), x.shape, x.dtype)


_POWERS = {2.0: "square", 3.0: "cube", 0.5: "root", -1.0: "reciprocal"}


def power_curve(exponent: float) -> Curve | Callable[[Reals], Reals]:
    """Return x^exponent."""

    def exact(v: Reals) -> Reals:
        return f.power(v, exponent)

    if exponent in _POWERS:
        return Curve(_POWERS[exponent], exact)
    if exponent == 0.0 or not np.isfinite(exponent):
        return exact
    kind = "power" if not exponent.is_integer() else "odd power" if exponent % 2 else "even power"
    return Curve(kind, exact, (exponent,))


def integer_power(x: NDArray[Any], exponent: NDArray[Any]) -> NDArray[Any]:
    """Return powers of integers in their type: exact and wrapped, or the real power truncated to an integer."""
    if exponent.dtype.kind in "iu" and np.all(exponent >= 0):  # NumPy refuses a negative power of integers
        return np.asarray(np.power(x, exponent)).astype(x.dtype)
    return to_integers(np.asarray(np.power(x.astype(np.float64), exponent.astype(np.float64))), x.dtype)


@dataclass(frozen=True, eq=False)
class IntegerPower:
    """A constant power of integers; see `integer_power`."""

    exponent: NDArray[Any]

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the powers."""
        return integer_power(x, self.exponent)


@operator("PRelu", elements=NUMBER, channels=channels_stay)
def parametric_relu(x: Tensor, slope: Tensor) -> Table | Combine:
    """x if x >= 0, else slope x; a table if the slope is one constant number."""
    if np.broadcast_shapes(x.shape, slope.shape) != x.shape:
        raise ModelError(f"slope {list(slope.shape)} does not broadcast to '{x.name}' {list(x.shape)}")
    if x.is_float and slope.value is not None and slope.value.size == 1:
        factor = float(slope.value.item())
        return _leaky(x, factor)
    return Combine("prelu", (x, slope))


@operator("Relu", elements=NUMBER, sign=Sign.NOT_NEGATIVE, channels=channels_stay)
def relu(x: Tensor) -> Move:
    """max(x, 0)."""
    return _clip(x, 0.0, None)


_BOUNDS = {"min": NumberKind.BOUND, "max": NumberKind.BOUND}


def _sign_of_clip(node: Node, constants: Constants) -> Sign | None:
    bounds = find(node).numbers(node, constants)
    low, high = bounds.get("min"), bounds.get("max", LARGEST)
    # Where max is below min, every element becomes max.
    return Sign.NOT_NEGATIVE if low is not None and high is not None and min(low, high) >= 0 else None


def _channels_of_clip(
    node: Node, channels: Channels, _shape: tuple[Dim, ...] | None, constants: Constants
) -> Channels | None:
    """Return the place of channels after a Clip that has no bounds other than 0.

    Exporters write the largest number where there is no bound.
    """
    bounds = find(node).numbers(node, constants).values()
    return channels if all(b is not None and (b == 0.0 or abs(b) >= LARGEST) for b in bounds) else None


@operator("Clip", sign=_sign_of_clip, channels=_channels_of_clip, numbers=_BOUNDS)
def clip(x: Tensor, *, min: float = -LARGEST, max: float = LARGEST) -> Move:
    """min(max(x, min), max) with bounds that are attributes."""
    return _clip(x, min, max)


@operator("Clip", since=11, elements=NUMBER, sign=_sign_of_clip, channels=_channels_of_clip, numbers=_BOUNDS)
def clip_11(x: Tensor, min: Known | None = None, max: Known | None = None) -> Move:
    """min(max(x, min), max) with bounds that are inputs."""
    for bound in (min, max):
        if bound is not None and bound.size != 1:
            raise ModelError(f"a bound of shape {list(bound.shape)} is not a single number")
        if bound is not None and bound.dtype != x.dtype:
            raise ModelError(f"a bound is {bound.dtype}, '{x.name}' is {x.dtype}")
    return _clip(x, None if min is None else min.item(), None if max is None else max.item())


def _clip(x: Tensor, low: float | None, high: float | None) -> Move:
    return Move(x, Bounded(), x.shape, constants=(low, high))
