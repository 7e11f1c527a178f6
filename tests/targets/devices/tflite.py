"""TensorFlow Lite and CMSIS-NN s8/s16, as their sources do it: a multiplier of 31 bits and a shift.

A power of two 2^-s has the multiplier 2^30 and the shift 1 - s. `DoubleRounding` is TFLite's and CMSIS-NN's default,
`SingleRounding` what both do with their switch for it, `Ruy` and `Xnnpack` what the optimized kernels of TFLite do.
"""

from __future__ import annotations

import math

import numpy as np
from targets.devices.arithmetic import encoded, saturated, wrapped
from targets.devices.device import Device


def doubling_high_multiply(a, b):
    """Return the high half of 2 * a * b, rounded as gemmlowp does: to nearest, by C's division."""
    product = np.asarray(a, np.int64) * b
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    return np.sign(total) * (np.abs(total) >> 31)


def divide_by_power_of_two(x, exponent):
    """Return x / 2^exponent, rounded half away from zero by a mask and a threshold."""
    mask = (1 << exponent) - 1
    remainder, threshold = x & mask, (mask >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


class DoubleRounding(Device):
    """TFLite's reference kernels, TFLite Micro, and CMSIS-NN s8 by default."""

    multiplier = 1 << 30

    def scaled(self, number, shift):
        """Return number * 2^-shift as a requantization rounds it."""
        exponent = 1 - shift
        left, right = max(exponent, 0), max(-exponent, 0)
        number = wrapped(np.asarray(number, np.int64) << left, 32)
        return divide_by_power_of_two(doubling_high_multiply(number, self.multiplier), right)

    def requantized(self, number, shift, out, node):
        """Return the sums, which wrap in 32 bits, as codes."""
        return saturated(self.scaled(wrapped(number, 32), shift), out)

    def mul(self, node, inputs, formats, out):
        """Return products."""
        shift = formats[0].fraction + formats[1].fraction - out.fraction
        return saturated(self.scaled(inputs[0] * inputs[1], shift), out)

    def sum_left_shift(self, out):
        """Return the bits by which the operands of a sum are shifted to the left first."""
        return 20 if out.bits == 8 else 15

    def add(self, node, inputs, formats, out, sign=1):
        """Return sums: both operands are brought to twice the larger scale, after a shift to the left."""
        left = self.sum_left_shift(out)
        twice = -min(fmt.fraction for fmt in formats) + 1  # log2 of twice the larger scale
        terms = [self.scaled(x << left, twice + fmt.fraction) for x, fmt in zip(inputs, formats, strict=True)]
        # The real multiplier of the output is twice_max_input_scale / (2^left * output_scale).
        return saturated(self.scaled(terms[0] + sign * terms[1], left - twice - out.fraction), out)

    def sub(self, node, inputs, formats, out):
        """Return differences, computed as sums are."""
        return self.add(node, inputs, formats, out, sign=-1)

    def mean(self, total, count, area, fmt, out):
        """Return the mean of AVERAGE_POOL_2D: half the count is added or subtracted, then C's division."""
        assert fmt.fraction == out.fraction
        half = np.where(total > 0, count // 2, -(count // 2))
        total = total + half
        return saturated(np.sign(total) * (np.abs(total) // count), out)

    def sigmoid(self, node, inputs, formats, out):
        """Return the entries of a table of 256, which has 8 fraction bits and no sign."""
        return _table(lambda v: 1 / (1 + math.exp(-v)), inputs[0], formats[0], out)

    def tanh(self, node, inputs, formats, out):
        """Return the entries of a table of 256, which has 7 fraction bits."""
        return _table(math.tanh, inputs[0], formats[0], out)


def _table(function, codes, fmt, out):
    """Return round(f(x) * 2^n), as C's `round`."""
    each = {int(c): encoded(function(int(c) * 2.0**-fmt.fraction), out.fraction, "half_away") for c in np.unique(codes)}
    return saturated(np.vectorize(each.__getitem__, otypes=[np.int64])(codes), out)


class LiteRtReference(DoubleRounding):
    """LiteRT's reference kernels: as TFLite's, but a FULLY_CONNECTED requantizes in double, by C's `round`."""

    def requantized(self, number, shift, out, node):
        """Return the sums as codes."""
        if node.kind != "dense":
            return super().requantized(number, shift, out, node)
        exact = wrapped(number, 32) * 2.0**-shift
        return saturated((np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int64), out)


class SingleRounding(DoubleRounding):
    """CMSIS-NN with CMSIS_NN_USE_SINGLE_ROUNDING, TFLite with TFLITE_SINGLE_ROUNDING."""

    def scaled(self, number, shift):
        """Return number * 2^-shift: a product of 64 bits, shifted once."""
        total = 31 - (1 - shift)
        return (np.asarray(number, np.int64) * self.multiplier + (1 << (total - 1))) >> total


class Ruy(DoubleRounding):
    """TFLite's optimized kernels: ruy's for convolutions and dense layers, the reference for all others."""

    def requantized(self, number, shift, out, node):
        """Return the sums as codes: a rounding high multiply, then a rounding shift, both half up."""
        if node.kind not in ("conv", "dense") or node.depthwise or shift <= 0:
            return super().requantized(number, shift, out, node)
        number = (wrapped(number, 32) * self.multiplier + (1 << 30)) >> 31
        return saturated((number + (1 << (shift - 2)) >> (shift - 1)) if shift > 1 else number, out)


class Xnnpack(DoubleRounding):
    """XNNPACK: products with a float32 scale, rounded to even; sums with a bias for rounding; pools as TFLite."""

    def scaled(self, number, shift):
        """Return number * 2^-shift by float32; sums of 8-bit products that are rounded fit its 24 bits or saturate."""
        return np.rint(np.asarray(number, np.int64) * 2.0**-shift).astype(np.int64)

    def add(self, node, inputs, formats, out, sign=1):
        """Return sums: multipliers of 21 bits for each operand, half a unit, one shift."""
        most = max(out.fraction - fmt.fraction for fmt in formats)
        shift = 20 - most
        terms = [x << (shift - fmt.fraction + out.fraction) for x, fmt in zip(inputs, formats, strict=True)]
        return saturated((terms[0] + sign * terms[1] + (1 << (shift - 1))) >> shift, out)


class Wide(DoubleRounding):
    """TFLite's int16 activations with int8 weights: 64-bit sums have a multiplier of 15 bits and one rounding."""

    def bias(self, values, fmt, w_fmt):
        """Return the codes of a bias of 64 bits."""
        return encoded(values, fmt.fraction + w_fmt.fraction, self.constants)

    def requantized(self, number, shift, out, node):
        """Return the sums as codes."""
        if node.kind == "dense":
            return saturated(self.dense(number, shift), out)
        total = 15 - (1 - shift)
        return saturated((number * (1 << 14) + (1 << (total - 1))) >> total, out)

    def dense(self, number, shift):
        """Return sums of a dense layer: LiteRT requantizes in double, by C's `round`."""
        exact = number * 2.0**-shift
        return (np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int64)

    def sigmoid(self, node, inputs, formats, out):
        """Return a line between entries of the sigmoid at steps of 1/24, of the magnitude, mirrored."""
        place = self.place(inputs[0], formats[0])
        size = np.abs(place)
        at, rest = np.minimum(size >> 9, 254), size & 0x1FF
        line = np.where(size >> 9 >= 255, 0x7FFF << 10, (SIGMOIDS[at] << 9) + rest * (SIGMOIDS[at + 1] - SIGMOIDS[at]))
        return np.where(place >= 0, line + (1 << 9), (1 << 25) - line + (1 << 9) - 1) >> 10

    def tanh(self, node, inputs, formats, out):
        """Return 2 * sigmoid(2x) - 1 from the same entries."""
        place = self.place(inputs[0], formats[0])
        size = np.abs(place)
        at, rest = np.minimum(size >> 8, 254), size & 0xFF
        line = np.where(size >> 8 >= 255, 0xFFFF << 8, (SIGMOIDS[at] << 8) + rest * (SIGMOIDS[at + 1] - SIGMOIDS[at]))
        return np.where(place >= 0, line - (1 << 23) + (1 << 7), (1 << 23) - line + (1 << 7) - 1) >> 8

    def place(self, x, fmt):
        """Return 3/4 of the input, in units of 2^-14, half up."""
        shift = fmt.fraction - 12
        return (3 * x + ((1 << shift) >> 1)) >> shift if shift > 0 else 3 * x << -shift


def _raised_sigmoid(i):
    """Return an entry of the table: a little above the sigmoid, so that lines between entries err on both sides."""
    s = 1 / (1 + math.exp(-i / 24))
    return round((s - s * (1 - s) * (1 - 2 * s) / (16 * 24**2)) * 65536)


SIGMOIDS = np.array([*(_raised_sigmoid(i) for i in range(255)), 65535], np.int64)
