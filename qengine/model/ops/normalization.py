"""Softmax and normalizations over rows of elements."""

from collections.abc import Sequence
from math import prod

from qengine.errors import ModelError, UnsupportedError
from qengine.model.ops.axes import normalized
from qengine.model.ops.operator import Bias, Ints, Sign, operator
from qengine.model.steps import Rows, Tensor
from qengine.model.steps.row_forms import Measure, SoftmaxOver, Standardized


def _softmax(x: Tensor, axis: int, *, coerced: bool, logarithm: bool) -> Rows:
    """Return softmax over one axis or, where it is `coerced` (before opset 13), over all axes from that one on."""
    (axis,) = normalized(x, (axis,)) if x.ndim else (0,)
    return Rows(x, (), SoftmaxOver(axis, coerced, logarithm))


@operator("Softmax", sign=Sign.NOT_NEGATIVE)
def softmax(x: Tensor, *, axis: int = 1) -> Rows:
    """e^x / sum(e^x) over all axes from `axis` on."""
    return _softmax(x, axis, coerced=True, logarithm=False)


@operator("Softmax", since=13, sign=Sign.NOT_NEGATIVE)
def softmax_13(x: Tensor, *, axis: int = -1) -> Rows:
    """e^x / sum(e^x) over one axis."""
    return _softmax(x, axis, coerced=False, logarithm=False)


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int = 1) -> Rows:
    """log(softmax(x)) over all axes from `axis` on."""
    return _softmax(x, axis, coerced=True, logarithm=True)


@operator("LogSoftmax", since=13)
def log_softmax_13(x: Tensor, *, axis: int = -1) -> Rows:
    """log(softmax(x)) over one axis."""
    return _softmax(x, axis, coerced=False, logarithm=True)


def _check_stash_type(stash_type: int) -> None:
    if stash_type not in (1, 11):
        raise UnsupportedError(f"stash_type is {stash_type}; statistics in float32 (1) or float64 (11) are supported")


def _layer(x: Tensor, parameters: Sequence[Tensor | None], axis: int, measure: Measure, epsilon: float) -> Rows:
    """Return a normalization over the axes from one on, with a gain and an offset of each element of a row."""
    (first,) = normalized(x, (axis,))
    given = tuple(t for t in parameters if t is not None)
    for t in given:
        if t.ndim > x.ndim or any(n not in (1, m) for n, m in zip(t.shape[::-1], x.shape[::-1], strict=False)):
            raise ModelError(f"'{t.name}' {list(t.shape)} does not broadcast to '{x.name}' {list(x.shape)}")
    return Rows(x, given, Standardized(x.shape, tuple(range(first, x.ndim)), None, measure, epsilon))


@operator("LayerNormalization", since=17)
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    b: Bias | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Rows:
    """(x - mean) / sqrt(variance + epsilon) * scale + b, the statistics over all axes from `axis` on."""
    _check_stash_type(stash_type)
    return _layer(x, (scale, b), axis, "variance", epsilon)


@operator("RMSNormalization", since=23)
def rms_normalization(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Rows:
    """x / sqrt(mean of x^2 + epsilon) * scale, the mean over all axes from `axis` on."""
    _check_stash_type(stash_type)
    return _layer(x, (scale,), axis, "squares", epsilon)


def _check_channels(scale: Tensor, offset: Tensor, name: str, count: int) -> None:
    for what, t in (("scale", scale), (name, offset)):
        if t.shape != (count,):
            raise ModelError(f"{what} has the shape {list(t.shape)}, [{count}] is needed")


@operator("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, b: Bias, *, epsilon: float = 1e-5) -> Rows:
    """scale * (x - mean) / sqrt(variance + epsilon) + b, the statistics over each channel of each image."""
    if x.ndim < 3:
        raise ModelError(f"the input {list(x.shape)} needs the axes batch, channel and at least one more")
    _check_channels(scale, b, "B", x.shape[1])
    axes, each = tuple(range(2, x.ndim)), (1, x.shape[1], *(1,) * (x.ndim - 2))
    return Rows(x, (scale, b), Standardized(x.shape, axes, each, "variance", epsilon))


def _group(x: Tensor, scale: Tensor, bias: Tensor, num_groups: int, epsilon: float, *, of_groups: bool) -> Rows:
    """Return a normalization over groups of channels, with parameters of each group or of each channel."""
    if x.ndim < 2:
        raise ModelError(f"X {list(x.shape)} needs the axes batch and channel")
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ModelError(f"num_groups is {num_groups}, a divisor of {x.shape[1]} channels is needed")
    _check_channels(scale, bias, "bias", num_groups if of_groups else x.shape[1])
    each = x.shape[1] // num_groups
    view = (x.shape[0], num_groups, each, prod(x.shape[2:]))
    parameters = (1, num_groups, 1 if of_groups else each, 1)
    return Rows(x, (scale, bias), Standardized(view, (2, 3), parameters, "variance", epsilon))


@operator("GroupNormalization", since=18)
def group_normalization_18(x: Tensor, scale: Tensor, bias: Bias, *, epsilon: float = 1e-5, num_groups: int) -> Rows:
    """scale * (x - mean) / sqrt(variance + epsilon) + bias, with one scale and bias for a group of channels."""
    return _group(x, scale, bias, num_groups, epsilon, of_groups=True)


@operator("GroupNormalization", since=21)
def group_normalization_21(
    x: Tensor, scale: Tensor, bias: Bias, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Rows:
    """scale * (x - mean) / sqrt(variance + epsilon) + bias, with one scale and bias for a channel."""
    _check_stash_type(stash_type)
    return _group(x, scale, bias, num_groups, epsilon, of_groups=False)


@operator("Standardize", domain="qengine")
def standardize(
    x: Tensor,
    scale: Tensor | None = None,
    b: Bias | None = None,
    *,
    axes: Ints,
    epsilon: float,
    centred: int,
    groups: int = 0,
) -> Rows:
    """(x - mean) / sqrt(variance + epsilon) * scale + b over any axes: a pass puts it in the place of its operators.

    With `groups`, statistics are those of groups of channels. Where it is not `centred` there is no mean.
    """
    over, view = normalized(x, axes), x.shape
    given = [t for t in (scale, b) if t is not None]
    if scale is None and b is not None:
        raise ModelError("an offset needs a scale")
    each = (*(1,) * (x.ndim - max((t.ndim for t in given), default=0)),)
    shape = (*each, *given[0].shape) if given else None
    if any((*(1,) * (x.ndim - t.ndim), *t.shape) != shape for t in given):
        raise UnsupportedError("a scale and an offset of two shapes")
    if groups:
        view = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        over = tuple(range(2, len(view)))
        shape = None if shape is None else (1, groups, x.shape[1] // groups, *(1,) * (x.ndim - 2))
    measure: Measure = "variance" if centred else "squares"
    return Rows(x, tuple(given), Standardized(view, tuple(sorted(over)), shape, measure, epsilon))


@operator("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: Ints = (0, 2, 3)) -> Rows:
    """(x - mean) / (standard deviation + 1e-9), the statistics over `axes`."""
    if not axes:
        raise ModelError("axes is empty; name the axes of the mean and the variance")
    return Rows(x, (), Standardized(x.shape, tuple(sorted(normalized(x, axes))), None, "deviation", 1e-9))


@operator("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Rows:
    """x divided by its norm along an axis; 0 where the norm is 0."""
    if p == 1:
        raise UnsupportedError("p is 1, and only the norm of order 2 has a rule of its own")
    if p != 2:
        raise ModelError(f"p is {p}, ONNX has the norms of order 1 and 2")
    return Rows(x, (), Standardized(x.shape, normalized(x, (axis,)), None, "norm"))
