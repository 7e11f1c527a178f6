"""Integer arithmetic that the devices have in common, from its definitions: quotients, words, windows, sums.

Nothing here comes from qengine, so that a test compares two things. Arrays are of 64-bit integers.
"""

from __future__ import annotations

import math

import numpy as np


def quotient(number, divisor, rounding):
    """Return the integer to which a rounding brings number / divisor; the divisor is positive."""
    number = np.asarray(number, np.int64)
    whole = number // divisor
    left = number - whole * divisor
    more, tie, negative = 2 * left > divisor, 2 * left == divisor, number < 0
    up = {
        "half_up": more | tie,
        "half_down": more,
        "half_even": more | (tie & (whole % 2 != 0)),
        "half_away": more | (tie & ~negative),
        "half_zero": more | (tie & negative),
        "floor": np.zeros(whole.shape, bool),
        "ceil": left > 0,
        "trunc": (left > 0) & negative,
        "away": (left > 0) & ~negative,
    }
    return whole + up[rounding]


def shifted(number, count, rounding):
    """Return number * 2^-count, rounded; a negative count shifts to the left."""
    number = np.asarray(number, np.int64)
    return quotient(number, 1 << count, rounding) if count > 0 else number << -count


def saturated(number, fmt):
    """Return the nearest code of a format."""
    return np.clip(number, fmt.least, fmt.most)


def wrapped(number, bits, signed=True):
    """Return the low bits of a number."""
    low = np.asarray(number, np.int64) & ((1 << bits) - 1)
    return np.where(low >> (bits - 1) & 1, low - (1 << bits), low) if signed else low


def encoded(values, fraction, rounding="half_even"):
    """Return real numbers in units of 2^-fraction, rounded; exact for numbers of float32."""
    exact = [float(v).as_integer_ratio() for v in np.asarray(values, np.float64).ravel()]
    found = [int(quotient(*_over(n, d, fraction), rounding)) for n, d in exact]
    return np.array(found, np.int64).reshape(np.shape(values))


def _over(number, divisor, fraction):
    number, divisor = (number << fraction, divisor) if fraction >= 0 else (number, divisor << -fraction)
    common = math.gcd(number, divisor)
    number, divisor = number // common, divisor // common
    if divisor.bit_length() > 60:  # far below half a unit: what is left keeps its sign
        return int(np.sign(number)), 1 << 60
    return number, divisor


def windows(size, kernel, stride, pads):
    """Yield (row, column, taps) of each output pixel; a tap is (kernel row, kernel column, row, column)."""
    (height, width), (top, left, bottom, right) = size, pads
    for y in range((height + top + bottom - kernel[0]) // stride[0] + 1):
        for x in range((width + left + right - kernel[1]) // stride[1] + 1):
            taps = [
                (ky, kx, y * stride[0] - top + ky, x * stride[1] - left + kx)
                for ky in range(kernel[0])
                for kx in range(kernel[1])
            ]
            yield y, x, [t for t in taps if 0 <= t[2] < height and 0 <= t[3] < width]


def output_size(size, kernel, stride, pads):
    """Return height and width of what a window makes of a picture."""
    return tuple((size[i] + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1 for i in (0, 1))


def products(x, weights, node):
    """Yield (output index, products) of each result of a linear node, in the order row, column, channel of the kernel.

    Products are an array (taps, channels) without those of the padding.
    """
    if node.kind == "dense":
        for o in range(len(weights)):
            yield (0, o), (x[0] * weights[o])[None, :]
        return
    inputs, outputs = weights.shape[1], len(weights)
    for y, c, taps in windows(x.shape[2:], node.kernel, node.stride, node.pads):
        for o in range(outputs):
            first = o // (outputs // node.group) * inputs
            of_taps = [x[0, first : first + inputs, iy, ix] * weights[o, :, ky, kx] for ky, kx, iy, ix in taps]
            yield (0, o, y, c), np.array(of_taps, np.int64).reshape(len(taps), inputs)


def linear_shape(x, weights, node):
    """Return the shape of the result of a linear node."""
    if node.kind == "dense":
        return (1, len(weights))
    return (1, len(weights), *output_size(x.shape[2:], node.kernel, node.stride, node.pads))


def sums(x, weights, node):
    """Return the exact sums of products of a linear node."""
    found = np.zeros(linear_shape(x, weights, node), np.int64)
    for index, terms in products(x, weights, node):
        found[index] = terms.sum()
    return found


def per_channel(bias, shape):
    """Return numbers by channel in a shape that broadcasts over axis 1."""
    return np.asarray(bias).reshape((1, -1) + (1,) * (len(shape) - 2))
