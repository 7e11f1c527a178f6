"""Random programs that are functions of one variable, and what exact arithmetic makes of them."""

from fractions import Fraction

import numpy as np
from networks import network

_ONE = ("Relu", "Neg", "Abs", "Tanh", "Sigmoid", "HardSigmoid", "LeakyRelu", "Clip", "Floor", "Softplus")
_NUMBER = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
_TWO = ("Add", "Sub", "Mul", "Max", "Min")
_FUNCTIONS = {
    "Relu": lambda v: np.maximum(v, 0),
    "Neg": np.negative,
    "Abs": np.abs,
    "Tanh": np.tanh,
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "HardSigmoid": lambda v: np.clip(float(np.float32(0.2)) * v + 0.5, 0, 1),
    "LeakyRelu": lambda v: np.where(v < 0, float(np.float32(0.01)) * v, v),
    "Clip": lambda v: np.clip(v, -1.25, 2.5),
    "Floor": np.floor,
    "Softplus": lambda v: np.log1p(np.exp(v)),
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Pow": np.power,
}


def random_chain(seed, shape=("N",), length=9):
    """Return a model from x to y in which everything is a function of x, and that function of float64."""
    rng = np.random.default_rng(seed)
    nodes, constants, program = [], {"low": np.float32(-1.25), "high": np.float32(2.5)}, []
    unread = ["x"]
    names = ["x"]
    for i in range(length):
        out, first = f"v{i}", unread.pop() if rng.random() < 0.8 or len(names) < 2 else str(rng.choice(names))
        kind = rng.choice(3, p=[0.3, 0.4, 0.3])
        if kind == 0:
            operator, operands = str(rng.choice(_ONE)), [first]
        elif kind == 1:
            operator, number = str(rng.choice(_NUMBER)), np.float32(rng.choice([-1, 1]) * rng.uniform(0.3, 3))
            number = np.float32(2) if operator == "Pow" else number
            constants[f"k{i}"] = number.reshape((1,) * int(rng.integers(0, len(shape) + 1)))
            operands = [first, f"k{i}"]
            if operator not in ("Pow", "Div") and rng.random() < 0.3:
                operands.reverse()
        else:
            operator, operands = str(rng.choice(_TWO)), [first, str(rng.choice(names))]
        add(nodes, program, operator, operands, out)
        unread = [name for name in unread if name not in operands] + [out]
        names.append(out)
        unread = list(dict.fromkeys(unread or [out]))
    unread = [name for name in unread if name != "x"]
    while len(unread) > 1:
        a, b = unread.pop(), unread.pop()
        add(nodes, program, "Add", [a, b], f"s{len(nodes)}")
        unread.append(f"s{len(nodes) - 1}")
    program.append(("Neg", unread, "y"))
    nodes.append(("Neg", unread[0], "y"))
    return network(nodes, inputs={"x": list(shape)}, constants=constants), (program, constants)


def add(nodes, program, operator, operands, out):
    inputs = " ".join(operands) + (" low high" if operator == "Clip" else "")
    nodes.append((operator, inputs, out))
    program.append((operator, operands, out))


def computed(program, x):
    """Return y of float64 numbers, without any rounding to another type."""
    operations, constants = program
    values = {"x": np.asarray(x, np.float64)} | {
        name: np.float64(np.asarray(k).item()) for name, k in constants.items()
    }
    with np.errstate(all="ignore"):
        for operator, operands, out in operations:
            values[out] = _FUNCTIONS[operator](*(values[name] for name in operands))
    return values["y"]


def exact_codes(y, fraction_bits, least, most):
    """Return float64 numbers as codes, by rational numbers."""
    codes = []
    for value in y.ravel().tolist():
        if np.isnan(value):
            codes.append(0)
        elif np.isinf(value):
            codes.append(most if value > 0 else least)
        else:
            codes.append(min(max(round(Fraction(value) * Fraction(2) ** fraction_bits), least), most))
    return np.array(codes).reshape(y.shape)
