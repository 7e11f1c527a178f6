"""ESP-DL on ESP32-S3 and ESP32-P4, int8: one rounding, sums of formats that were made equal, means in float32."""

from __future__ import annotations

import math

import numpy as np
from targets.devices.arithmetic import encoded, linear_shape, products, saturated, shifted
from targets.devices.device import Device


class Esp(Device):
    """What S3 and P4 share; a subclass has the rounding and the words."""

    rounding = "half_up"
    bias_bits = 20
    sum_bits: int | None = 20

    @property
    def constants(self):
        """Return the rounding of weights and biases: esp-ppq's is that of the chip."""
        return self.rounding

    def bias(self, values, fmt, w_fmt):
        """Return the codes of a bias, which saturates in its word."""
        limit = 1 << (self.bias_bits - 1)
        return np.clip(encoded(values, fmt.fraction + w_fmt.fraction, self.constants), -limit, limit - 1)

    def linear(self, node, x, weights, bias, shift, out):
        """Return a linear node: the bias first, then row, column and channel, each sum kept between the rails."""
        found = np.zeros(linear_shape(x, weights, node), np.int64)
        for index, terms in products(x, weights, node):
            found[index] = self.summed(int(bias[index[1]]), terms.ravel().tolist())
        return saturated(shifted(found, shift, self.rounding), out)

    def summed(self, total, terms):
        """Return a sum of products."""
        if self.sum_bits is None:
            return total + sum(terms)
        limit = 1 << (self.sum_bits - 1)
        for term in terms:
            total = min(max(total + term, -limit), limit - 1)
        return total

    def add(self, node, inputs, formats, out, sign=1):
        """Return sums: each operand is brought to the output's format before, as esp-ppq exports it."""
        terms = self.aligned(inputs, formats, out)
        return saturated(terms[0] + sign * terms[1], out)

    def sub(self, node, inputs, formats, out):
        """Return differences."""
        return self.add(node, inputs, formats, out, sign=-1)

    def concat(self, node, inputs, formats, out):
        """Return the codes one after the other, each brought to the output's format."""
        return np.concatenate(self.aligned(inputs, formats, out), axis=1)

    def aligned(self, inputs, formats, out):
        """Return codes in the output's format."""
        pairs = zip(inputs, formats, strict=True)
        return [saturated(shifted(x, fmt.fraction - out.fraction, self.rounding), out) for x, fmt in pairs]

    def mul(self, node, inputs, formats, out):
        """Return products, times a power of two in float32, rounded."""
        shift = formats[0].fraction + formats[1].fraction - out.fraction
        exact = np.float32(inputs[0] * inputs[1]) * np.float32(2.0**-shift)
        return saturated(self.rounded(exact), out)

    def mean(self, total, count, area, fmt, out):
        """Return a sum times the reciprocal of the area of the window in float32, rounded; padding counts."""
        inverse = np.float32(1) / np.float32(area)
        scale = np.float32(np.float32(2.0**-fmt.fraction) * inverse) * np.float32(2.0**out.fraction)
        return saturated(self.rounded(np.float32(total) * np.float32(scale)), out)

    def rounded(self, number):
        """Return a float32 number as an integer."""
        if self.rounding == "half_even":
            return np.rint(number).astype(np.int64)
        return np.floor(np.float32(np.asarray(number, np.float64) + 0.5)).astype(np.int64)

    def sigmoid(self, node, inputs, formats, out):
        """Return entries of a table of all codes."""
        return self.looked_up(lambda v: 1 / (1 + math.exp(-v)), inputs[0], formats[0], out)

    def tanh(self, node, inputs, formats, out):
        """Return entries of a table of all codes."""
        return self.looked_up(math.tanh, inputs[0], formats[0], out)

    def looked_up(self, function, x, fmt, out):
        """Return a function of codes, rounded."""
        each = {
            int(c): encoded(function(int(c) * 2.0**-fmt.fraction), out.fraction, self.rounding) for c in np.unique(x)
        }
        return saturated(np.vectorize(each.__getitem__, otypes=[np.int64])(x), out)


class EspS3(Esp):
    """ESP32-S3: biases and sums of 20 bits."""


class EspP4(Esp):
    """ESP32-P4: rounds to even; biases of 32 bits, and sums that nothing reaches."""

    rounding = "half_even"
    bias_bits = 32
    sum_bits = None
