"""CMSIS-NN's functions for q7 and q15, removed in 2022: shifts, half a step inside of a 32-bit sum, cut means."""

from __future__ import annotations

import math

import numpy as np
from targets.devices.arithmetic import encoded, linear_shape, output_size, products, saturated, wrapped
from targets.devices.device import Device


def quotient_of_c(number, divisor):
    """Return number / divisor as C's division does, toward zero."""
    return np.sign(number) * (np.abs(number) // divisor)


class Legacy(Device):
    """The plain C of q7, which Cortex-M0 and M3 run.

    A bias is a word as wide as the data, with the most fraction bits that hold it, and is shifted to the left.
    """

    bias_bits = 8

    def bias(self, values, fmt, w_fmt):
        """Return bias << bias_shift."""
        limit, most = 1 << (self.bias_bits - 1), fmt.fraction + w_fmt.fraction
        for fraction in range(most, most - 64, -1):
            codes = encoded(values, fraction, self.constants)
            if codes.min() >= -limit and codes.max() < limit:
                return codes << (most - fraction)
        raise AssertionError("no format holds the bias")

    def linear(self, node, x, weights, bias, shift, out):
        """Return a linear node: every addition wraps in 32 bits, and so does half a step, which comes first."""
        assert shift >= 0
        start = bias + ((1 << shift) >> 1)
        found = np.zeros(linear_shape(x, weights, node), np.int64)
        for index, terms in products(x, weights, node):
            found[index] = start[index[1]] + terms.sum()
        return saturated(wrapped(found, 32) >> shift, out)

    def mul(self, node, inputs, formats, out):
        """Return products; those of q7 are held in 16 bits, those of q15 in 32."""
        shift = formats[0].fraction + formats[1].fraction - out.fraction
        assert shift >= 0
        number = wrapped(inputs[0] * inputs[1] + ((1 << shift) >> 1), 2 * out.bits)
        return saturated(number >> shift, out)

    def mean(self, total, count, area, fmt, out):
        """Return a mean, cut toward zero, of the elements that are not padding."""
        assert fmt == out
        return quotient_of_c(total, count)

    def sigmoid(self, node, inputs, formats, out):
        """Return entries of the table of 256."""
        return self.looked_up(lambda v: 1 / (1 + math.exp(-v)), inputs[0], formats[0], out)

    def tanh(self, node, inputs, formats, out):
        """Return entries of the table of 256."""
        return self.looked_up(math.tanh, inputs[0], formats[0], out)

    def looked_up(self, function, x, fmt, out):
        """Return the entry of the upper bits of a code."""
        whole = fmt.bits - 1 - fmt.fraction
        assert whole <= 3
        assert out.fraction == out.bits - 1
        return table(function, out)[(x >> (3 - whole)) & 0xFF]


def table(function, out):
    """Return 256 codes of a function over [-8, 8); the second half has the negative arguments."""
    arguments = [(i - 256 if i > 127 else i) / 16 for i in range(256)]
    return saturated(encoded([function(v) for v in arguments], out.fraction, "half_even"), out)


class LegacyOfM4(Legacy):
    """The pools of Cortex-M4 and M7: means along x in q7, then along y, both cut.

    The first pass writes over its own input, so that the window of an output pixel must not begin before the pixel
    of that number: padding has to be less than the stride.
    """

    def average(self, node, inputs, formats, out):
        """Return means of windows in two passes."""
        x = inputs[0]
        (height, width), (top, left, _, _) = x.shape[2:], node.pads
        assert node.pads == (0, 0, 0, 0) or max(top, left) < min(node.stride)
        rows, columns = output_size(x.shape[2:], node.kernel, node.stride, node.pads)
        along_x = np.zeros((*x.shape[:3], columns), np.int64)
        for c in range(columns):
            first = c * node.stride[1] - left
            part = x[..., max(first, 0) : min(first + node.kernel[1], width)]
            along_x[..., c] = quotient_of_c(part.sum(-1), part.shape[-1])
        found = np.zeros((*x.shape[:2], rows, columns), np.int64)
        for y in range(rows):
            first = y * node.stride[0] - top
            part = along_x[:, :, max(first, 0) : min(first + node.kernel[0], height)]
            found[:, :, y] = quotient_of_c(part.sum(2), part.shape[2])
        return found

    def global_(self, node, inputs, formats, out):
        """Return the mean of each channel, first of the rows."""
        rows = quotient_of_c(inputs[0].sum(3, keepdims=True), inputs[0].shape[3])
        return quotient_of_c(rows.sum(2, keepdims=True), inputs[0].shape[2])


class LegacyWide(Legacy):
    """q15: sums of 32 bits all the same, and a table of 256 entries that is interpolated and cut."""

    bias_bits = 16

    def looked_up(self, function, x, fmt, out):
        """Return a point of the line between two entries."""
        shift = 11 - (fmt.bits - 1 - fmt.fraction)
        assert shift >= 0
        entries, index, rest = table(function, out), x >> shift, x & ((1 << shift) - 1)
        line = (entries[index & 0xFF] * ((1 << shift) - rest) + entries[(index + 1) & 0xFF] * rest) >> shift
        return np.where(index == 127, entries[127], line)


class Nnom(Legacy):
    """NNoM's own C, without CMSIS-NN below it."""

    def mul(self, node, inputs, formats, out):
        """Return products, in 32 bits."""
        shift = formats[0].fraction + formats[1].fraction - out.fraction
        return saturated((inputs[0] * inputs[1] + ((1 << shift) >> 1)) >> shift, out)

    def add(self, node, inputs, formats, out, sign=1):
        """Return sums of operands of one format."""
        assert formats[0] == formats[1]
        shift = formats[0].fraction - out.fraction
        return saturated((inputs[0] + sign * inputs[1] + ((1 << shift) >> 1)) >> shift, out)

    def sub(self, node, inputs, formats, out):
        """Return differences of operands of one format."""
        return self.add(node, inputs, formats, out, sign=-1)

    def mean(self, total, count, area, fmt, out):
        """Return a sum over a count that is shifted by the fraction bits that the output has more."""
        shift = out.fraction - fmt.fraction
        assert shift >= 0
        assert count >> shift
        return wrapped(quotient_of_c(total, count >> shift), 8)
