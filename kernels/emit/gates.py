"""Functions of the gates of recurrent operators, in vector code.

For Sigmoid and Tanh, of which an LSTM needs five for every unit, one approximation serves: tanh(x) = x P(x^2) / Q(x^2)
to some 10^-7, in fewer instructions than by way of the exponential function. Sigmoid is (1 + tanh(x / 2)) / 2, whose
error is small in comparison with 1, not with a result near 0: gates are factors of states.
"""

from ..isa import Isa
from .mathematics import Mathematics, size_of
from .vector import Value

_TANH_BOUND = 9.0  # where the approximation is nearest to 1
# Coefficients of P and Q, the highest power first; Eigen's, which others use too.
_TANH_P = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
)
_TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


class Gates:
    """Builder of the functions for an instruction set."""

    def __init__(self, isa: Isa) -> None:
        self._m = Mathematics(isa)

    def __call__(self, name: str, x: Value, alpha: Value, beta: Value) -> Value:
        """Return a function, by ONNX's name in lower case. NaN stays, but is below every threshold."""
        match name:
            case "relu":
                return x.at_least(0.0)
            case "tanh":
                return self._tanh(x)
            case "sigmoid":
                return self._m.fused(self._tanh(x * 0.5), x.like(0.5), 0.5)
            case "affine":
                return self._m.fused(x, alpha, beta)
            case "leakyrelu":
                return (x * alpha).where(x < 0.0, x)
            case "thresholdedrelu":
                return x.where(x >= alpha, 0.0)
            case "scaledtanh":
                return alpha * self._tanh(beta * x)
            case "hardsigmoid":
                return self._m.fused(x, alpha, beta).at_least(0.0).at_most(1.0)
            case "elu":
                return (alpha * self._m.expm1(x.at_most(0.0))).where(x < 0.0, x)
            case "softsign":
                return x / (size_of(x) + 1.0)
            case "softplus":
                return self._m.softplus(x)
        raise ValueError(name)

    def _tanh(self, x: Value) -> Value:
        bounded = x.at_least(-_TANH_BOUND).at_most(_TANH_BOUND)
        square = bounded * bounded
        return bounded * self._m.polynomial(square, _TANH_P) / self._m.polynomial(square, _TANH_Q)
