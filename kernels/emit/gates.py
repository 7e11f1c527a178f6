"""Functions of the gates of recurrent operators, in vector code."""

from .mathematics import Mathematics, size_of
from .vector import Value


class Gates:
    """Builder of the functions, as one instruction set computes them."""

    def __init__(self, mathematics: Mathematics) -> None:
        self._mathematics = mathematics

    def __call__(self, name: str, x: Value, alpha: Value, beta: Value) -> Value:
        """Return a function, by ONNX's name in lower case. NaN stays, but is below every threshold."""
        m = self._mathematics
        match name:
            case "relu":
                return x.at_least(0.0)
            case "tanh":
                return m.tanh(x)
            case "sigmoid":
                return m.logistic_by_tanh(x)
            case "affine":
                return m.fused(x, alpha, beta)
            case "leakyrelu":
                return (x * alpha).where(x < 0.0, x)
            case "thresholdedrelu":
                return x.where(x >= alpha, 0.0)
            case "scaledtanh":
                return alpha * m.tanh(beta * x)
            case "hardsigmoid":
                return m.fused(x, alpha, beta).at_least(0.0).at_most(1.0)
            case "elu":
                return (alpha * m.expm1(x.at_most(0.0))).where(x < 0.0, x)
            case "softsign":
                return x / (size_of(x) + 1.0)
            case "softplus":
                return m.softplus(x)
        raise ValueError(name)
