"""A device: how it computes each kind of node, on codes. Subclasses write down what one device does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from targets.devices.arithmetic import encoded, output_size, per_channel, saturated, sums, windows


class Device:
    """The parts that all devices share: order of the nodes, max pools, ReLU, concatenations."""

    constants = "half_even"
    """Rounding of weights and biases."""

    def run(self, network, feeds):
        """Return the codes of every tensor of a network."""
        codes = {name: np.asarray(values, np.int64) for name, values in feeds.items()}
        for node in network.nodes:
            formats = [network.formats[name] for name in node.inputs]
            inputs = [codes[name] for name in node.inputs]
            out = network.formats[node.output]
            if node.kind in ("conv", "dense"):
                found = self.linear_node(network, node, inputs[0], formats[0], out)
            elif node.kind == "transposed":
                found = self.transposed(node, inputs, formats, out, network.formats[f"{node.output}_w"])
            else:
                found = getattr(self, {"global": "global_"}.get(node.kind, node.kind))(node, inputs, formats, out)
            codes[node.output] = np.asarray(found, np.int64)
        return codes

    def linear_node(self, network, node, x, fmt, out):
        """Return a convolution or a dense layer."""
        w_fmt = network.formats[f"{node.output}_w"]
        if isinstance(w_fmt, list):
            return self.by_channel(network, node, x, fmt, out)
        weights = self.weights(node.weights, w_fmt)
        fraction = fmt.fraction + w_fmt.fraction
        bias = np.zeros(len(weights), np.int64) if node.bias is None else self.bias(node.bias, fmt, w_fmt)
        return self.linear(node, x, weights, bias, fraction - out.fraction, out)

    def by_channel(self, network, node, x, fmt, out):
        """Return a linear node whose output channels have formats of their own: one node for each of them."""
        found = []
        for o, w_fmt in enumerate(network.formats[f"{node.output}_w"]):
            of_channel = network.copy_with(f"{node.output}_w", w_fmt)
            weights, part = node.weights[o : o + 1], x
            if node.kind == "conv":
                first = o // (len(node.weights) // node.group) * weights.shape[1]
                part = x[:, first : first + weights.shape[1]]
            bias = None if node.bias is None else node.bias[o : o + 1]
            one = replace(node, weights=weights, bias=bias, group=1)
            found.append(self.linear_node(of_channel, one, part, fmt, out))
        return np.concatenate(found, axis=1)

    def weights(self, values, fmt):
        """Return the codes of weights."""
        return saturated(encoded(values, fmt.fraction, self.constants), fmt)

    def bias(self, values, fmt, w_fmt):
        """Return the codes of a bias in units of the sums."""
        limit = 1 << 31
        return np.clip(encoded(values, fmt.fraction + w_fmt.fraction, self.constants), -limit, limit - 1)

    def constant_codes(self, network):
        """Return the codes of all weights, and of biases in units of the sums, by name."""
        found = {}
        for node in network.nodes:
            if node.weights is None:
                continue
            w_fmt, fmt = network.formats[f"{node.output}_w"], network.formats[node.inputs[0]]
            each = w_fmt if isinstance(w_fmt, list) else [w_fmt]
            channels = range(len(each)) if len(each) > 1 else [slice(None)]
            parts = [self.weights(node.weights[c], one) for c, one in zip(channels, each, strict=True)]
            found[f"{node.output}_w"] = np.stack(parts) if len(each) > 1 else parts[0]
            if node.bias is not None:
                biases = [
                    self.bias(np.atleast_1d(node.bias[c]), fmt, one) for c, one in zip(channels, each, strict=True)
                ]
                found[f"{node.output}_b"] = np.concatenate(biases)
        return found

    def linear(self, node, x, weights, bias, shift, out):
        """Return the result of a linear node; `shift` is n_x + n_w - n_y."""
        found = sums(x, weights, node)
        return self.requantized(found + per_channel(bias, found.shape), shift, out, node)

    def requantized(self, number, shift, out, node):
        """Return sums as codes."""
        raise NotImplementedError

    def transposed(self, node, inputs, formats, out, w_fmt):
        """Return a transposed convolution: each input adds its product with the kernel to a window of the output."""
        x, weights = inputs[0], self.weights(node.weights, w_fmt)
        (height, width), (rows, columns) = x.shape[2:], node.kernel
        shape = ((height - 1) * node.stride[0] + rows, (width - 1) * node.stride[1] + columns)
        total = np.zeros((1, weights.shape[1], *shape), np.int64)
        for y in range(height):
            for c in range(width):
                top, left = y * node.stride[0], c * node.stride[1]
                total[0, :, top : top + rows, left : left + columns] += np.tensordot(x[0, :, y, c], weights, 1)
        return self.requantized(total, formats[0].fraction + w_fmt.fraction - out.fraction, out, node)

    def matmul(self, node, inputs, formats, out):
        """Return the product of two computed matrices."""
        shift = formats[0].fraction + formats[1].fraction - out.fraction
        return self.requantized(inputs[0] @ inputs[1], shift, out, node)

    def relu(self, node, inputs, formats, out):
        """Return codes that are not negative."""
        return np.maximum(inputs[0], 0)

    def flatten(self, node, inputs, formats, out):
        """Return the codes in one row."""
        return inputs[0].reshape(1, -1)

    def maximum(self, node, inputs, formats, out):
        """Return the greatest codes of windows; padding counts for nothing."""
        x = inputs[0]
        found = np.zeros((*x.shape[:2], *output_size(x.shape[2:], node.kernel, node.stride, node.pads)), np.int64)
        for y, c, taps in windows(x.shape[2:], node.kernel, node.stride, node.pads):
            found[:, :, y, c] = np.max([x[:, :, iy, ix] for _, _, iy, ix in taps], axis=0)
        return found

    def average(self, node, inputs, formats, out):
        """Return means of windows."""
        x = inputs[0]
        found = np.zeros((*x.shape[:2], *output_size(x.shape[2:], node.kernel, node.stride, node.pads)), np.int64)
        for y, c, taps in windows(x.shape[2:], node.kernel, node.stride, node.pads):
            total = np.sum([x[:, :, iy, ix] for _, _, iy, ix in taps], axis=0)
            found[:, :, y, c] = self.mean(total, len(taps), node.kernel[0] * node.kernel[1], formats[0], out)
        return found

    def global_(self, node, inputs, formats, out):
        """Return the mean of each channel."""
        count = inputs[0].shape[2] * inputs[0].shape[3]
        return self.mean(inputs[0].sum((2, 3), keepdims=True), count, count, formats[0], out)

    def mean(self, total, count, area, fmt, out):
        """Return a sum over a count; `area` is the count with the padding."""
        raise NotImplementedError

    def concat(self, node, inputs, formats, out):
        """Return the codes one after the other; the formats are equal."""
        assert all(fmt == out for fmt in formats)
        return np.concatenate(inputs, axis=1)
