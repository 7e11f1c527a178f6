"""Builder of quantized models, and their comparison with onnx.reference."""

import numpy as np
from networks import network
from onnx.reference import ReferenceEvaluator

import qengine

RNG = np.random.default_rng(11)
STORED = {"int8": (-128, 127, 0), "uint8": (0, 255, 128), "int16": (-32768, 32767, 0), "uint16": (0, 65535, 32768)}


class Builder:
    """A model with QuantizeLinear and DequantizeLinear pairs, built tensor by tensor."""

    def __init__(self, stored="int8"):
        self.stored, self.nodes, self.constants = stored, [], {}
        self.zero = STORED[stored][2]

    def constant(self, name, value):
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, x, n, stored=None, zero=None):
        """Quantize and dequantize `x` with n fraction bits; return the name of the result."""
        stored = stored or self.stored
        zero = STORED[stored][2] if zero is None else zero
        scale = self.constant(f"{x}_scale", np.float32(2.0**-n))
        point = self.constant(f"{x}_zero", np.dtype(stored).type(zero))
        self.nodes.append(("QuantizeLinear", f"{x} {scale} {point}", f"{x}_q"))
        self.nodes.append(("DequantizeLinear", f"{x}_q {scale} {point}", f"{x}_dq"))
        return f"{x}_dq"

    def weights(self, name, codes, n, axis=0):
        """Dequantize stored weights, with one n or one per channel."""
        scale = self.constant(f"{name}_scale", np.exp2(-np.asarray(n, np.float32)))
        self.constant(f"{name}_q", codes)
        self.nodes.append(("DequantizeLinear", f"{name}_q {scale}", name, {"axis": axis} if np.ndim(n) else {}))
        return name

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append((operator, inputs, output, attributes))
        return output

    def model(self, **options):
        return network(self.nodes, constants=self.constants, opset=21, **options)


def codes(shape, dtype="int8", most=127):
    return RNG.integers(-most, most + 1, shape).astype(dtype)


def assert_bits_of_onnx(model, x, names=None, **options):
    """Compare outputs with onnx.reference, bit for bit, and return the session."""
    session = qengine.InferenceSession(model, **options)
    expected = ReferenceEvaluator(model).run(names, {"x": x})
    for ours, theirs in zip(session.run(names, {"x": x}), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    return session


def classifier(stored):
    """Return a small network of every common operator, whose sums float32 holds exactly."""
    b = Builder(stored)
    x = b.pair("x", 4)
    w = b.weights("w1", codes((4, 3, 3, 3), most=7), [3, 4, 5, 6])
    bias = b.weights("b1", codes(4, "int32", 200), [7, 8, 9, 10])
    b.node("Conv", f"{x} {w} {bias}", "c1", pads=[1, 1, 1, 1])
    b.node("Relu", "c1", "r1")
    r = b.pair("r1", 3)
    b.node("MaxPool", r, "m1", kernel_shape=[2, 2], strides=[2, 2])
    m = b.pair("m1", 3)  # of the same format: it does nothing
    b.node("Conv", f"{m} {b.weights('w2', codes((4, 4, 1, 1), most=7), 4)}", "c2")
    c = b.pair("c2", 2)
    b.node("Add", f"{c} {m}", "a1")
    a = b.pair("a1", 1)
    b.node("Concat", f"{a} {c}", "k1", axis=1)
    k = b.pair("k1", 1)  # the second comes in another format
    b.node("Flatten", k, "f1")
    f = b.pair("f1", 0)  # rounded once more
    b.node("Gemm", f"{f} {b.weights('w3', codes((5, 48), most=7), 5)}", "g1", transB=1)
    return b, b.pair("g1", 2)
