"""Constant biases that are finer than the sums they go into, added as the real numbers that they are.

A bias in fixed point has the fraction bits of the sums, and a finer one is rounded to them. But a QONNX model adds a
float32 bias to the sum and rounds the total once, and integers give the same result.
Let a sum be an integer x, the bias an integer b and a fraction f with 0 < f < 1, and let s >= 1 bits be dropped. All
numbers at which the result changes are integers, so x + b + f lies strictly between two of them, wherever f lies: any
other fraction gives the same result. So

- floor takes b, and ceil takes b + 1;
- x + b + f is never a tie, and rounds to the nearest as x + b does with ties upwards: half_up takes b, half_down b + 1,
  and the other roundings to the nearest become half_up, if every channel has a fraction;
- else f becomes 1/2, and the sums get another bit: the weights do, the codes of which are doubled. A shift to the left
  takes as many more bits as make it a shift to the right.

Where not even this can be done, in a word of 16 bits, the operator is computed in float32, as QONNX computes it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import scale
from qengine.model.rules import Arithmetic
from qengine.model.steps import Island, Linear, Step, Tensor
from qengine.qformat import ChannelFormats, QFormat, Rounding

_UPWARDS = frozenset({Rounding.HALF_EVEN, Rounding.HALF_UP, Rounding.HALF_AWAY, Rounding.HALF_ZERO})
_ONE_MORE = frozenset({Rounding.CEIL, Rounding.HALF_DOWN})
_TWICE = frozenset({Rounding.TFLITE, Rounding.RUY})
_MAX_BITS = 16
_MAX_BIAS = float(np.iinfo(np.int32).max)


def with_unrounded_bias(step: Linear, output: Tensor, arithmetic: Arithmetic) -> tuple[Step, Arithmetic]:
    """Return a linear step and its rules that give the rounded sum of products and real bias; see above.

    Parameters
    ----------
    step
        Step with a bias, on codes.
    output
        The result, which has a format.
    arithmetic
        Rules of the step.
    """
    bias = step.b
    assert bias is not None
    n = np.asarray(step.x.fraction_bits + step.weight_fraction_bits())
    if bias.value is None:
        return (step if bias.format is not None and bias.fraction_bits <= n.min() else _in_float32(step)), arithmetic
    if bias.format is not None:  # the user rounds it
        return step, arithmetic
    scaled = scale(bias.value.astype(np.float64).reshape(step.bias_shape), n)
    has_fraction = np.not_equal(scaled, np.floor(scaled))
    if arithmetic.rounding in _TWICE or not has_fraction.any():
        return step, arithmetic
    least_shift = int(n.min()) - output.fraction_bits
    rounding = arithmetic.rounding
    if least_shift >= 1 and (rounding not in _UPWARDS - {Rounding.HALF_UP} or has_fraction.all()):
        if rounding in _UPWARDS:
            rounding = Rounding.HALF_UP
        if rounding in {Rounding.HALF_UP, Rounding.FLOOR, *_ONE_MORE}:
            whole = np.ceil(scaled) if rounding in _ONE_MORE else np.floor(scaled)
            return _with_bias(step, whole, n), replace(arithmetic, rounding=rounding)
    more = max(1 - least_shift, 0) + 1
    wider = _with_finer_weights(step, more)
    if wider is None:
        return _in_float32(step), arithmetic
    scaled = np.ldexp(scaled, more)
    half = np.ldexp(np.floor(np.ldexp(scaled, -1)), 1) + 1.0
    is_even = np.equal(np.floor(np.ldexp(scaled, -1)), np.ldexp(scaled, -1))
    return _with_bias(wider, np.where(is_even, scaled, half), n + more), arithmetic


def _with_finer_weights(step: Linear, more: int) -> Linear | None:
    """Return a step whose weights have more fraction bits; None where a word has no room for them."""
    fmt = step.w.format
    if step.w.value is None or fmt is None or fmt.bits + more > _MAX_BITS:
        return None
    if isinstance(fmt, QFormat):
        return replace(step, w=replace(step.w, format=_finer(fmt, more)))
    if not isinstance(fmt, ChannelFormats):
        return None
    formats = tuple(_finer(one, more) for one in fmt.formats)
    return replace(step, w=replace(step.w, format=ChannelFormats(formats, fmt.axis)))


def _finer(fmt: QFormat, more: int) -> QFormat:
    return QFormat(fmt.integer_bits, fmt.fraction_bits + more, fmt.signed)


def _with_bias(step: Linear, whole: NDArray[np.float64], n: NDArray[np.int64]) -> Step:
    """Return a step with a bias of whole numbers of n fraction bits."""
    if np.abs(whole).max() > _MAX_BIAS:
        return _in_float32(step)
    assert step.b is not None
    value = np.asarray(np.ldexp(whole, -n))
    bias = Tensor(step.b.name, value.dtype, value.shape, value, encoding=step.b.encoding)
    return replace(step, b=bias, bias_shape=value.shape)


def _in_float32(step: Linear) -> Island:
    return Island(step.operands, step.float32(), step.shape, step.dtype)
