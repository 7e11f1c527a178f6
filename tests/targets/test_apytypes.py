"""apytypes executed: products and sums in its exact types, and a cast in each of its roundings."""

import numpy as np
import pytest
from targets.devices.arithmetic import linear_shape, windows
from targets.devices.catalogue import CATALOGUE
from targets.devices.comparison import Count, compare, networks
from targets.devices.plain import ApFixed

apytypes = pytest.importorskip("apytypes", reason="apytypes is not installed")

MODES = {
    "floor": "TO_NEG",
    "ceil": "TO_POS",
    "trunc": "TO_ZERO",
    "away": "TO_AWAY",
    "half_up": "TIES_POS",
    "half_down": "TIES_NEG",
    "half_even": "TIES_EVEN",
    "half_away": "TIES_AWAY",
    "half_zero": "TIES_ZERO",
}


class Apytypes(ApFixed):
    """Linear nodes, sums and products by apytypes."""

    def __init__(self, rounding, wraps):
        self.rounding, self.wraps = rounding, wraps
        self.quantization = getattr(apytypes.QuantizationMode, MODES[rounding])
        self.overflow = apytypes.OverflowMode.WRAP if wraps else apytypes.OverflowMode.SAT

    def number(self, codes, bits, fraction):
        """Return codes as an array of fixed-point numbers."""
        return apytypes.APyFixedArray(np.asarray(codes).tolist(), int_bits=bits - fraction, frac_bits=fraction)

    def cast(self, exact, out):
        """Return the codes of numbers in a format."""
        found = exact.cast(
            int_bits=out.bits - out.fraction,
            frac_bits=out.fraction,
            quantization=self.quantization,
            overflow=self.overflow,
        )
        bits = found.to_bits(numpy=True).astype(np.int64)
        return np.where(bits >> (out.bits - 1), bits - (1 << out.bits), bits)

    def linear(self, node, x, weights, bias, shift, out):
        """Return weights @ patches + bias, a product of whole numbers for each position."""
        found = np.zeros(linear_shape(x, weights, node), np.int64)
        scaled = type(out)(out.bits, -shift)
        filters = weights.reshape(len(weights), -1)
        starts = self.number(bias, 33, 0)
        if node.kind == "dense":
            found[0] = self.cast(self.number(filters, 8, 0) @ self.number(x[0], 8, 0) + starts, scaled)
            return found
        of_group = len(weights) // node.group
        for y, c, taps in windows(x.shape[2:], node.kernel, node.stride, node.pads):
            patch = np.zeros((x.shape[1], *node.kernel), np.int64)
            for ky, kx, iy, ix in taps:
                patch[:, ky, kx] = x[0, :, iy, ix]
            for g in range(node.group):
                rows = slice(g * of_group, (g + 1) * of_group)
                inputs = patch[g * weights.shape[1] : (g + 1) * weights.shape[1]].ravel()
                exact = self.number(filters[rows], 8, 0) @ self.number(inputs, 8, 0) + starts[rows]
                found[0, rows, y, c] = self.cast(exact, scaled)
        return found

    def add(self, node, inputs, formats, out, sign=1):
        """Return sums of numbers of two formats."""
        a, b = (self.number(x.ravel(), f.bits, f.fraction) for x, f in zip(inputs, formats, strict=True))
        return self.cast(a + b if sign > 0 else a - b, out).reshape(inputs[0].shape)

    def mul(self, node, inputs, formats, out):
        """Return products of numbers of two formats."""
        a, b = (self.number(x.ravel(), f.bits, f.fraction) for x, f in zip(inputs, formats, strict=True))
        return self.cast(a * b, out).reshape(inputs[0].shape)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("rounding", MODES)
def test_codes_are_those_of_apytypes(rounding, overflow):
    device, count = Apytypes(rounding, overflow == "wrap"), Count()
    rules = {"rounding": rounding, "overflow": overflow, "constants": {"rounding": "floor", "overflow": overflow}}
    kinds = ("conv", "depthwise", "dense", "add", "sub", "mul")
    for name, network, feeds in networks(CATALOGUE["ap-fixed"].limits, seeds=2, stream=3, kinds=kinds):
        compare(count, name, network, feeds, device.run(network, feeds), "ap-fixed", rules=rules)
    assert count.compared > 500
    assert not count.differing, "\n".join(count.where)
