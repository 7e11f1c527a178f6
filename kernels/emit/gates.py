"""Functions of the gates of recurrent operators, in vector code.

For Sigmoid and Tanh, of which an LSTM needs five for every unit, one approximation serves: tanh(x) = x P(x^2) / Q(x^2)
to some 10^-7, in fewer instructions than by way of the exponential function. Sigmoid is (1 + tanh(x / 2)) / 2.
"""

from collections.abc import Sequence

from .function import exp
from .products import Products
from .vector import Value

_TANH_BOUND = 9.0  # where the approximation is nearest to 1
# Coefficients of P and Q, the highest power first; Eigen's, which others use too.
_TANH_P = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
)
_TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
_ATANH = tuple(2.0 / n for n in range(15, 0, -2))


class Gates:
    """Builder of the functions; products and sums are fused where the instruction set can."""

    def __init__(self, products: Products) -> None:
        self._products = products

    def __call__(self, name: str, x: Value, alpha: Value, beta: Value) -> Value:
        """Return a function, by ONNX's name in lower case. NaN stays, but is below every threshold."""
        match name:
            case "relu":
                return x.at_least(0.0)
            case "tanh":
                return self._tanh(x)
            case "sigmoid":
                return self._line(self._tanh(x * 0.5), x.like(0.5), x.like(0.5))
            case "affine":
                return self._line(x, alpha, beta)
            case "leakyrelu":
                return (x * alpha).where(x < 0.0, x)
            case "thresholdedrelu":
                return x.where(x >= alpha, 0.0)
            case "scaledtanh":
                return alpha * self._tanh(beta * x)
            case "hardsigmoid":
                return self._line(x, alpha, beta).at_least(0.0).at_most(1.0)
            case "elu":
                return (alpha * (exp(x.at_most(0.0)) - 1.0)).where(x < 0.0, x)
            case "softsign":
                return x / (_magnitude(x) + 1.0)
            case "softplus":
                return self._softplus(x)
        raise ValueError(name)

    def _line(self, x: Value, factor: Value, addend: Value) -> Value:
        return self._products.add(addend, [x], [factor])

    def _polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Return a polynomial, of coefficients with the highest power first."""
        total = x.like(coefficients[0])
        for one in coefficients[1:]:
            total = self._line(total, x, x.like(one))
        return total

    def _tanh(self, x: Value) -> Value:
        bounded = x.at_least(-_TANH_BOUND).at_most(_TANH_BOUND)
        square = bounded * bounded
        return bounded * self._polynomial(square, _TANH_P) / self._polynomial(square, _TANH_Q)

    def _softplus(self, x: Value) -> Value:
        """Return log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
        small = exp(_magnitude(x) * -1.0)
        # log(1 + e) = 2 atanh(e / (2 + e)), whose series converges fast below 1/3.
        s = small / (small + 2.0)
        return x.at_least(0.0) + s * self._polynomial(s * s, _ATANH)


def _magnitude(x: Value) -> Value:
    return (x * -1.0).where(x < 0.0, x)
