"""Functions of one variable, alone and with a bias."""

from qengine.errors import UnsupportedError
from qengine.model.contrib.expansion import Builder, expansion


def gelu_of(builder: Builder, x: str, *, approximate: str = "none") -> str:
    """Add Gelu of a tensor."""
    return builder.op("Gelu", x, since=20, approximate=approximate)


def activated(builder: Builder, x: str, activation: str, numbers: tuple[float, ...]) -> str:
    """Add the activation of a fused operator.

    Parameters
    ----------
    activation
        Name of an operator; "" for none.
    numbers
        Numbers of the activation; those that are left out have ONNX's defaults.

    Raises
    ------
    UnsupportedError
        If ONNX Runtime does not fuse such an activation.
    """
    given = dict(zip(_PARAMETERS.get(activation, ()), numbers, strict=False))
    if activation == "":
        return x
    if activation == "Clip":
        low, high = (given.get(name, default) for name, default in (("min", -_LARGEST), ("max", _LARGEST)))
        return builder.op("Clip", x, builder.number(low, x), builder.number(high, x))
    if activation == "HardSwish":
        return builder.op("HardSwish", x, since=14)
    if activation not in _PARAMETERS:
        raise UnsupportedError(f"has the activation '{activation}'; {', '.join(sorted(_PARAMETERS))} are supported")
    return builder.op(activation, x, alpha=given.get("alpha"), beta=given.get("beta"))


_LARGEST = 3.4028234663852886e38
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "HardSwish": (),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": ("min", "max"),
}
"""Activations of fused operators, and the names of their parameters in order."""


@expansion("Gelu")
def gelu(builder: Builder, x: str) -> str:
    """x * Phi(x)."""
    return gelu_of(builder, x)


@expansion("BiasGelu")
def bias_gelu(builder: Builder, x: str, bias: str) -> str:
    """Gelu of x + bias."""
    return gelu_of(builder, builder.op("Add", x, bias))


@expansion("FastGelu")
def fast_gelu(builder: Builder, x: str, bias: str | None = None) -> str:
    """Gelu of x + bias, by tanh."""
    return gelu_of(builder, builder.op("Add", x, bias) if bias else x, approximate="tanh")


@expansion("QuickGelu")
def quick_gelu(builder: Builder, x: str, *, alpha: float = 1.702) -> str:
    """x * Sigmoid(alpha * x)."""
    return builder.op("Swish", x, since=24, alpha=alpha)


@expansion("BiasSplitGelu")
def bias_split_gelu(builder: Builder, x: str, bias: str) -> str:
    """The first half of x + bias on the last axis, times Gelu of the second half."""
    left, right = builder.ops(2, "Split", builder.op("Add", x, bias), since=18, axis=-1, num_outputs=2)
    return builder.op("Mul", left, gelu_of(builder, right))


@expansion("BiasAdd")
def bias_add(builder: Builder, x: str, bias: str, skip: str) -> str:
    """x + bias + skip."""
    return builder.op("Add", builder.op("Add", x, bias), skip)


@expansion("BiasSoftmax")
def bias_softmax(builder: Builder, x: str, bias: str, *, axis: int = 1, is_inner_broadcast: int) -> str:
    """Softmax of x + bias over all axes from `axis` on.

    The bias has fewer axes than x, or the length 1 on those along which it is repeated. The axes that it has are the
    last ones, unless `is_inner_broadcast`: then the first are those of x, and those before `axis` repeat.
    """
    del is_inner_broadcast  # the lengths of the bias say it
    total, shape = builder.op("Add", x, bias), builder.shape(x)
    if axis == -1 or (shape is not None and axis == len(shape) - 1):
        return builder.op("Softmax", total, axis=-1)
    return softmax_from(builder, total, axis)


def softmax_from(builder: Builder, x: str, axis: int) -> str:
    """Add Softmax over all axes from one on, as it was before opset 13."""
    rows = builder.op("Softmax", builder.op("Flatten", x, axis=axis), axis=-1)
    return builder.op("Reshape", rows, builder.op("Shape", x))
