"""A device with a fault: networks in plain NumPy integers, written apart from qengine and from its hypotheses.

`run` interprets an ONNX file in the formats that it is given and returns the codes of every tensor. `Fault(operator,
name)` makes one operator do one thing wrong. Nothing of qengine is called here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Fault:
    operator: str  # name of its output
    name: str


@dataclass(frozen=True)
class Fmt:
    bits: int
    n: int
    signed: bool

    @classmethod
    def parse(cls, text):
        u, m, n = re.fullmatch(r"(U?)Q(-?\d+)\.(-?\d+)", str(text)).groups()
        return cls(int(m) + int(n) + (not u), int(n), not u)

    @property
    def low(self):
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self):
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1


def divided(a, by, mode="half_even"):
    """a / by in whole numbers, elementwise; by > 0."""
    q = np.floor_divide(a, by)
    r = a - q * by
    up = 2 * r > by
    tie = 2 * r == by
    if mode == "floor":
        return q
    if mode == "trunc":
        return np.where((a < 0) & (r != 0), q + 1, q)
    if mode == "half_up":
        return q + (up | tie)
    if mode == "half_away":
        return q + (up | (tie & (a > 0)))
    if mode == "ceil":
        return q + (r != 0)
    return q + (up | (tie & (q % 2 != 0)))


def shifted(a, s, mode="half_even"):
    s = np.broadcast_to(np.asarray(s), np.shape(a))
    out = np.where(s <= 0, a * 2 ** np.maximum(-s, 0), 0)
    if mode == "tflite":
        first = (a + 1) >> 1
        second = np.where(s > 1, divided(first, 2 ** np.maximum(s - 1, 0), "half_away"), first)
        return np.where(s > 0, second, out)
    return np.where(s > 0, divided(a, 2 ** np.maximum(s, 0), mode), out)


def fitted(v, fmt, mode="saturate"):
    if mode == "wrap":
        low = np.mod(v, 2**fmt.bits)
        return np.where(low > fmt.high, low - 2**fmt.bits, low)
    return np.clip(v, fmt.low, fmt.high)


def register(v, bits, saturates):
    if saturates:
        return np.clip(v, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    low = np.mod(v, 2**bits)
    return np.where(low >= 2 ** (bits - 1), low - 2**bits, low)


def real_codes(values, fmt):
    return np.clip(np.rint(np.asarray(values, np.float64) * 2.0**fmt.n), fmt.low, fmt.high).astype(np.int64)


class Device:
    """The interpreter of one network with at most one fault."""

    def __init__(self, model, formats, fault=None):
        self.graph = onnx.load_from_string(model).graph
        self.formats = formats
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.fault = fault

    def is_at(self, *names):
        return self.fault is not None and self.fault.operator == self.at and self.fault.name in names

    def fmt(self, name):
        return Fmt.parse(self.formats[name])

    def run(self, feeds, before=None):
        """Return codes by tensor; `before` has those of the frame before."""
        self.codes = {name: real_codes(x, self.fmt(name)) for name, x in feeds.items()}
        self.before = before or {}
        readers = {}
        for node in self.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        for node in self.graph.node:
            read = readers.get(node.output[0], [])
            activation = None
            if node.op_type in ("Conv", "Gemm", "Add") and len(read) == 1 and read[0].op_type in ("Relu", "Clip"):
                activation = read[0]
            if node.op_type in ("Relu", "Clip") and node.input[0] not in self.codes:
                continue  # fused
            self.at = activation.output[0] if activation is not None else node.output[0]
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            reads = [self.read(i, name) for i, name in enumerate(node.input)]
            self.codes[self.at] = getattr(self, node.op_type.lower())(node, reads, attributes, activation)
        return self.codes

    def read(self, index, name):
        """An operand as the operator reads it: codes, or None for a constant."""
        if name not in self.codes:
            return None
        x = self.codes[name]
        if index == 0:
            fmt = self.fmt(name)
            if self.is_at("input sign"):
                x = (
                    np.where(x < 0, x + 2**fmt.bits, x)
                    if fmt.signed
                    else np.where(x > fmt.high // 2, x - 2**fmt.bits, x)
                )
            if self.is_at("input channels reversed"):
                x = x[:, ::-1]
            if self.is_at("input a row late"):
                moved = np.zeros_like(x)
                moved[..., 1:, :] = x[..., :-1, :]
                x = moved
            if self.is_at("input a column early"):
                moved = np.zeros_like(x)
                moved[..., :-1] = x[..., 1:]
                x = moved
            if self.is_at("input of the frame before"):
                x = self.before[name]
            if self.is_at("input bytes swapped") and fmt.bits > 8:
                x = x.astype(np.int16).byteswap().astype(np.int64)
            if self.is_at("input nhwc"):
                n, c, h, w = x.shape
                x = x.reshape(n, h, w, c).transpose(0, 3, 1, 2)
        return x

    def end(self, acc, shift, name, activation, bias=0):
        """From sums to codes."""
        fmt = self.fmt(self.at)
        mode, over = "half_even", "saturate"
        for rounding in ("floor", "half_up", "half_away", "trunc", "ceil", "tflite"):
            if self.is_at(f"rounding {rounding}"):
                mode = rounding
        if self.is_at("overflow wrap"):
            over = "wrap"
        late = None
        if self.is_at("bias after the shift"):
            late = shifted(np.broadcast_to(bias, acc.shape), shift, mode)
        elif self.is_at("activation before the bias") and activation is not None:
            acc = np.maximum(acc, 0) + bias
        else:
            acc = acc + bias
        for bits in (14, 16, 18):
            if self.is_at(f"accumulator {bits} wraps"):
                acc = register(acc, bits, False)
            if self.is_at(f"accumulator {bits} saturates"):
                acc = register(acc, bits, True)
        for by in (1, -1, 2):
            if self.is_at(f"shift {by:+d}"):
                shift = np.asarray(shift) + by
        if self.is_at("shift of the next channel"):
            shift = np.roll(np.asarray(shift), -1, 1 if np.ndim(shift) == 4 else -1)
        y = shifted(acc, shift, mode)
        if late is not None:
            y = y + late
        y = fitted(y, fmt, over)
        return self.bounded(y, fmt, activation)

    def bounded(self, y, fmt, activation):
        if activation is None or self.is_at("activation missing", "activation before the bias"):
            return y
        if activation.op_type == "Relu":
            return np.maximum(y, 0)
        low, high = (int(real_codes(self.constants[name], fmt)) for name in activation.input[1:3])
        if self.is_at("bound +1"):
            high += 1
        if self.is_at("bound -1"):
            high -= 1
        return np.clip(y, low, min(high, fmt.high))

    def bias(self, node, n, shape):
        if len(node.input) < 3 or self.is_at("bias missing"):
            return 0
        b = np.rint(self.constants[node.input[2]].astype(np.float64).reshape(shape) * 2.0**n).astype(np.int64)
        if self.is_at("bias 8 bits"):
            b = np.clip(b, -128, 127)
        if self.is_at("bias shifted left"):
            b = b * 2
        if self.is_at("bias shifted right"):
            b = b >> 2
        if self.is_at("bias of the next channel"):
            b = np.roll(b.reshape(-1), -1).reshape(b.shape)
        return b

    def weights(self, node):
        name = node.input[1]
        w = self.constants[name]
        formats = self.formats[name]
        if hasattr(formats, "formats"):
            each = [Fmt.parse(f) for f in formats.formats]
            codes = np.stack([real_codes(w.take(i, formats.axis), f) for i, f in enumerate(each)], formats.axis)
            return codes, np.array([f.n for f in each])
        fmt = Fmt.parse(formats)
        codes = real_codes(w, fmt)
        return codes, np.array([fmt.n] * 1)

    def conv(self, node, reads, attributes, activation):
        x, (w, n) = reads[0], self.weights(node)
        o, i, kh, kw = w.shape
        if self.is_at("weights read as OHWI"):
            w = w.reshape(o, kh, kw, i).transpose(0, 3, 1, 2)
        if self.is_at("weights stored as OHWI"):
            w = np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(o, i, kh, kw)
        if self.is_at("weights read as HWIO"):
            w = w.reshape(kh, kw, i, o).transpose(3, 2, 0, 1)
        if self.is_at("kernel flipped"):
            w = w[:, :, ::-1, ::-1]
        if self.is_at("kernel flipped left to right"):
            w = w[:, :, :, ::-1]
        if self.is_at("kernel transposed"):
            w = w.transpose(0, 1, 3, 2)
        pads = attributes.get("pads", [0, 0, 0, 0])
        strides = attributes.get("strides", [1, 1])
        dilations = attributes.get("dilations", [1, 1])
        groups = attributes.get("group", 1)
        padded = self.padded(x, pads, self.fmt(node.input[0]))
        high = (padded.shape[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
        wide = (padded.shape[3] - dilations[1] * (kw - 1) - 1) // strides[1] + 1
        if self.is_at("dilation ignored"):
            dilations = [1, 1]
        if self.is_at("stride phase"):
            padded = np.pad(padded, ((0, 0), (0, 0), (0, 1), (0, 1)))[:, :, 1:, 1:]
        acc = np.zeros((x.shape[0], o, high, wide), np.int64)
        each = o // groups
        for out in range(o):
            group = out // each
            if self.is_at("groups interleaved"):
                channels = [group + groups * k for k in range(i)]
            elif self.is_at("groups read the next"):
                channels = [((group + 1) % groups) * i + k for k in range(i)]
            else:
                channels = [group * i + k for k in range(i)]
            for k, y, z in product(range(i), range(kh), range(kw)):
                top, left = y * dilations[0], z * dilations[1]
                plane = padded[:, channels[k], top:, left:][:, :: strides[0], :: strides[1]][:, :high, :wide]
                acc[:, out] += plane * w[out, k, y, z]
        n_acc = (self.fmt(node.input[0]).n + n).reshape(1, -1, 1, 1)
        return self.end(acc, n_acc - self.fmt(self.at).n, node, activation, self.bias(node, n_acc, (1, -1, 1, 1)))

    def padded(self, x, pads, fmt, fill=0):
        top, left, bottom, right = pads
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        if self.is_at("padding of the edge"):
            return np.pad(x, around, mode="edge")
        if self.is_at("padding of the least code"):
            fill = fmt.low
        if self.is_at("padding of 0"):
            fill = 0
        return np.pad(x, around, constant_values=fill)

    def gemm(self, node, reads, attributes, activation):
        x, (w, n) = reads[0], self.weights(node)
        if self.is_at("weights transposed"):
            w = w.reshape(w.shape[::-1]).T
        w = w.T if attributes.get("transB", 0) else w
        n_acc = (self.fmt(node.input[0]).n + n).reshape(1, -1)
        return self.end(x @ w, n_acc - self.fmt(self.at).n, node, activation, self.bias(node, n_acc, (1, -1)))

    def add(self, node, reads, attributes, activation):
        (a, b), (fa, fb) = reads, (self.fmt(name) for name in node.input)
        n = max(fa.n, fb.n)
        a, b = a * 2 ** (n - fa.n), b * 2 ** (n - fb.n)
        if self.is_at("add not aligned"):
            a, b = reads
        if self.is_at("add aligned first"):
            f = self.fmt(self.at)
            parts = [fitted(shifted(part, n - f.n), f) for part in (a, b)]
            return self.bounded(fitted(parts[0] + parts[1], f), f, activation)
        if self.is_at("add without the second"):
            b = 0 * b
        return self.end(a + b, n - self.fmt(self.at).n, node, activation)

    def concat(self, node, reads, attributes, activation):
        f = self.fmt(self.at)
        n = [self.fmt(name).n for name in node.input]
        parts = [fitted(shifted(x, m - f.n), f) for x, m in zip(reads, n, strict=True)]
        if self.is_at("concat order"):
            parts = parts[::-1]
        if self.is_at("concat not rescaled"):
            parts = [fitted(x, f) for x in reads]
        return np.concatenate(parts, attributes["axis"])

    def windows(self, x, attributes, padded):
        kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
        high = (padded.shape[2] - kernel[0]) // strides[0] + 1
        wide = (padded.shape[3] - kernel[1]) // strides[1] + 1
        return [
            padded[:, :, y:, z:][:, :, :: strides[0], :: strides[1]][:, :, :high, :wide]
            for y in range(kernel[0])
            for z in range(kernel[1])
        ]

    def maxpool(self, node, reads, attributes, activation):
        pads = attributes.get("pads", [0, 0, 0, 0])
        fmt = self.fmt(node.input[0])
        padded = self.padded(reads[0], pads, fmt, -(10**6))
        return np.max(self.windows(reads[0], attributes, padded), axis=0)

    def averagepool(self, node, reads, attributes, activation):
        pads = attributes.get("pads", [0, 0, 0, 0])
        total = sum(self.windows(reads[0], attributes, self.padded(reads[0], pads, None)))
        inside = np.pad(np.ones_like(reads[0]), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
        count = sum(self.windows(reads[0], attributes, inside))
        if self.is_at("mean counts pads"):
            count = np.full_like(count, math.prod(attributes["kernel_shape"]))
        return self.mean(total, count, node)

    def globalaveragepool(self, node, reads, attributes, activation):
        total = reads[0].sum((2, 3), keepdims=True)
        return self.mean(total, np.full_like(total, reads[0].shape[2] * reads[0].shape[3]), node)

    def mean(self, total, count, node):
        f = self.fmt(self.at)
        s = self.fmt(node.input[0]).n - f.n
        mode = next((r for r in ("floor", "half_up", "half_away", "trunc") if self.is_at(f"rounding {r}")), "half_even")
        return fitted(divided(total * 2 ** max(-s, 0), count * 2 ** max(s, 0), mode), f)

    def sigmoid(self, node, reads, attributes, activation):
        x, fx, fy = reads[0], self.fmt(node.input[0]), self.fmt(self.at)
        every = np.arange(fx.low, fx.high + 1)
        exact = 1 / (1 + np.exp(-every * 2.0**-fx.n)) * 2.0**fy.n
        mode = next((r for r in ("floor", "ceil") if self.is_at(f"rounding {r}")), "half_even")
        entries = {"floor": np.floor, "ceil": np.ceil}.get(mode, np.rint)(exact)
        index = x - fx.low
        if self.is_at("table one off"):
            index = np.clip(index + 1, 0, len(every) - 1)
        if self.is_at("table index of the other sign"):
            index = (index + len(every) // 2) % len(every)
        if self.is_at("table index cut"):
            index = index >> 2 << 2
        return np.clip(entries, fy.low, fy.high).astype(np.int64)[index]

    def relu(self, node, reads, attributes, activation):
        return reads[0] if self.is_at("activation missing") else np.maximum(reads[0], 0)

    def flatten(self, node, reads, attributes, activation):
        return reads[0].reshape(reads[0].shape[0], -1)
