"""Devices whose sums are exact and whose results are rounded once: ONNX, QONNX, ap_fixed, AI Engine, GAP, MAX78000."""

from __future__ import annotations

import math

import numpy as np
from targets.devices.arithmetic import encoded, quotient, saturated, shifted, wrapped
from targets.devices.device import Device


class Plain(Device):
    """Exact sums, one rounding, one overflow."""

    rounding = "half_even"
    wraps = False

    def fitted(self, number, out):
        """Return integers as codes."""
        return wrapped(number, out.bits, out.signed) if self.wraps else saturated(number, out)

    def requantized(self, number, shift, out, node):
        """Return sums as codes."""
        return self.fitted(shifted(number, shift, self.rounding), out)

    def weights(self, values, fmt):
        """Return the codes of weights."""
        return self.fitted(encoded(values, fmt.fraction, self.constants), fmt)

    def add(self, node, inputs, formats, out, sign=1):
        """Return sums, exact before they are rounded."""
        most = max(fmt.fraction for fmt in formats)
        terms = [x << (most - fmt.fraction) for x, fmt in zip(inputs, formats, strict=True)]
        return self.requantized(terms[0] + sign * terms[1], most - out.fraction, out, node)

    def sub(self, node, inputs, formats, out):
        """Return differences, exact before they are rounded."""
        return self.add(node, inputs, formats, out, sign=-1)

    def mul(self, node, inputs, formats, out):
        """Return products."""
        return self.requantized(inputs[0] * inputs[1], sum(f.fraction for f in formats) - out.fraction, out, node)

    def mean(self, total, count, area, fmt, out):
        """Return means of what is not padding."""
        up = out.fraction - fmt.fraction
        number = np.asarray(total, np.int64) << max(up, 0)
        return self.fitted(quotient(number, count << max(-up, 0), self.rounding), out)

    def sigmoid(self, node, inputs, formats, out):
        """Return a function of codes."""
        return self.looked_up(lambda v: 1 / (1 + math.exp(-v)), inputs[0], formats[0], out)

    def tanh(self, node, inputs, formats, out):
        """Return a function of codes."""
        return self.looked_up(math.tanh, inputs[0], formats[0], out)

    def looked_up(self, function, x, fmt, out):
        """Return a function of codes, rounded once."""
        each = {
            int(c): encoded(function(int(c) * 2.0**-fmt.fraction), out.fraction, self.rounding) for c in np.unique(x)
        }
        return self.fitted(np.vectorize(each.__getitem__, otypes=[np.int64])(x), out)

    def concat(self, node, inputs, formats, out):
        """Return the codes one after the other, each brought to the output's format."""
        pairs = zip(inputs, formats, strict=True)
        return np.concatenate([self.requantized(x, f.fraction - out.fraction, out, node) for x, f in pairs], axis=1)


class ApFixed(Plain):
    """AMD's ap_fixed with its defaults: AP_TRN cuts, AP_WRAP wraps, constants as well."""

    rounding = constants = "floor"
    wraps = True

    def bias(self, values, fmt, w_fmt):
        """Return the codes of a bias of 32 bits, which is cut."""
        return wrapped(encoded(values, fmt.fraction + w_fmt.fraction, self.constants), 32)

    def mean(self, total, count, area, fmt, out):
        """Return a mean: the division cuts toward zero at the fraction bits of the input, then the result is cut."""
        cut = quotient(total, count, "trunc")
        return self.requantized(cut, fmt.fraction - out.fraction, out, None)


class AiEngine(Plain):
    """AMD's AI Engine: shift-round-saturate with the default modes, floor and no saturation."""

    rounding = "floor"
    wraps = True


class Max78000(Plain):
    """Analog Devices MAX78000: half up, sums of equal formats, means cut toward zero, biases of 8 bits << 7."""

    rounding = constants = "half_up"

    def bias(self, values, fmt, w_fmt):
        """Return the codes of a bias: 8 bits, which a shift by 7 brings to the sums."""
        fraction = fmt.fraction + w_fmt.fraction - 7
        return np.clip(encoded(values, fraction, self.constants), -128, 127) << 7

    def mean(self, total, count, area, fmt, out):
        """Return means as NumPy's mean of integers has them: cut toward zero."""
        assert fmt == out
        return quotient(total, count, "trunc")


class Gap(Plain):
    """GAP8 and GAP9, NNTool's kernels in fixed point: half up, means by a reciprocal of 16 bits, padding counted."""

    rounding = "half_up"
    bias_bits = 16

    def bias(self, values, fmt, w_fmt):
        """Return bias << NormBias; the word has the most fraction bits that hold it."""
        limit, most = 1 << (self.bias_bits - 1), fmt.fraction + w_fmt.fraction
        for fraction in range(most, most - 64, -1):
            codes = encoded(values, fraction, self.constants)
            if codes.min() >= -limit and codes.max() < limit:
                return codes << (most - fraction)
        raise AssertionError("no format holds the bias")

    def mean(self, total, count, area, fmt, out):
        """Return sum * (65536 / area) rounded by 16 bits."""
        assert fmt == out
        return saturated((total * ((1 << 16) // area) + (1 << 15)) >> 16, out)
