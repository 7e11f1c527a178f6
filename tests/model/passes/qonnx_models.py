"""Networks with the roundings of QONNX, and what its definitions make of them, written apart from the product.

The definitions: https://github.com/fastmachinelearning/qonnx/tree/main/docs/qonnx-custom-ops. ONNX's own operators are
computed by onnx.reference, on numbers whose sums float32 holds.
"""

import numpy as np
import onnx
from networks import network
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

DOMAIN = "qonnx.custom_op.general"

ROUND = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)),
    "DOWN": np.fix,
    "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
    "HALF_DOWN": lambda v: np.sign(v) * np.ceil(np.abs(v) - 0.5),
}


def limits(bits, signed, narrow):
    bits = int(bits.item())
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


class Quant(OpRun):
    op_domain = DOMAIN

    def _run(self, x, scale, zero_point, bits, narrow=None, rounding_mode="ROUND", signed=None):
        assert not np.any(zero_point)
        codes = x / scale
        if bits.item() == 1 and signed:
            return (np.where(codes >= 0, scale, -scale).astype(np.float32) * np.ones_like(x),)
        return (np.float32(ROUND[rounding_mode](np.clip(codes, *limits(bits, signed, narrow))) * scale),)


class BipolarQuant(OpRun):
    op_domain = DOMAIN

    def _run(self, x, scale):
        return (np.float32(np.where(x >= 0, 1, -1) * scale),)


class Trunc(OpRun):
    op_domain = DOMAIN

    def _run(self, x, scale, zero_point, bits, *rest, narrow=0, rounding_mode="FLOOR", signed=1):
        assert not np.any(zero_point)
        codes = np.round(x / scale)
        if len(rest) == 1:
            return (np.float32(ROUND[rounding_mode](codes / 2.0 ** (bits - rest[0])) * scale),)
        out_scale, out_bits = rest
        codes = codes / 2 ** np.round(np.log2(out_scale / scale))
        return (np.float32(ROUND[rounding_mode](np.clip(codes, *limits(out_bits, signed, narrow))) * out_scale),)


def expected(model, feeds, names=None):
    """Return the tensors that the definitions give, of any names."""
    proto = onnx.load_from_string(model)
    if names is not None:
        del proto.graph.output[:]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    evaluator = ReferenceEvaluator(proto, new_ops=[Quant, BipolarQuant, Trunc])
    return evaluator.run(names, feeds)


class Builder:
    """A model, built tensor by tensor; `quantized` has the names of what its nodes round."""

    def __init__(self, domain=DOMAIN):
        self.domain, self.nodes, self.constants, self.quantized = domain, [], {}, []

    def constant(self, name, value):
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def quant(self, x, n, bits=8, *, signed=1, narrow=0, mode="ROUND", operator="Quant", out=None):
        """Round `x` to integers of some bits times 2^-n, one n or an array of them; return the name of the result."""
        out = out or f"{x}_q{len(self.nodes)}"
        scale, zero = self.constant(f"{out}_s", np.exp2(-np.float32(n))), self.constant(f"{out}_z", 0)
        width = self.constant(f"{out}_b", bits)
        given = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
        self.nodes.append((f"{self.domain}.{operator}", f"{x} {scale} {zero} {width}", out, given))
        self.quantized.append(out)
        return out

    def bipolar(self, x, n):
        out = f"{x}_bipolar"
        self.nodes.append(
            (f"{self.domain}.BipolarQuant", f"{x} {self.constant(f'{out}_s', np.exp2(-np.float32(n)))}", out)
        )
        self.quantized.append(out)
        return out

    def trunc(self, x, n, bits, out_n, out_bits, **attributes):
        """Drop bits, of integers times 2^-n; the older version for out_n of None."""
        out = f"{x}_trunc"
        parts = [
            ("s", 2.0**-n),
            ("z", 0),
            ("b", bits),
            ("os", None if out_n is None else 2.0**-out_n),
            ("ob", out_bits),
        ]
        names = [self.constant(f"{out}_{key}", value) for key, value in parts if value is not None]
        self.nodes.append((f"{self.domain}.Trunc", " ".join([x, *names]), out, attributes))
        self.quantized.append(out)
        return out

    def weights(self, name, array, n, bits=4, **options):
        """Round a constant; return the name of the result."""
        return self.quant(self.constant(name, array), n, bits, **options)

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append((operator, inputs, output, attributes))
        return output

    def model(self, **options):
        return network(self.nodes, constants=self.constants, **{"opset": 17, **options})


class RandomNetwork:
    """A network of random layers, each with a rounding of its own.

    The spread of what is rounded follows the formats, so that codes saturate and tie, but not all do.
    """

    def __init__(self, seed, *, rounds_output=True):
        self.rounds_output = rounds_output
        self.rng = np.random.default_rng(seed)
        self.b = Builder()
        self.channels, self.size = int(self.rng.integers(1, 4)), 8
        self.shape = [1, self.channels, self.size, self.size]
        self.tensor, self.n = self.rounded("x", 2)
        self.count = 0

    def build(self):
        layers = [self.conv, self.conv, self.depthwise, self.max_pool, self.average, self.add, self.concat, self.sign]
        for layer in self.rng.choice(np.array(layers, object), self.rng.integers(2, 6)):
            self.count += 1
            layer()
        self.dense()
        return self.b.model(inputs={"x": self.shape}, outputs=[self.tensor], values={self.tensor: (np.float32, [1, 5])})

    def feeds(self):
        # Multiples of a fraction of the step: ties and rails occur.
        return {"x": np.float32(self.rng.integers(-64, 65, self.shape) / 16)}

    def rounded(self, x, spread, unsigned=False):
        """Round a tensor with numbers up to some size; return its name and n."""
        rng = self.rng
        bits = int(rng.integers(2, 9))
        signed = 0 if unsigned else int(rng.random() < 0.8)
        n = bits - signed - int(np.ceil(np.log2(spread))) + int(rng.integers(-1, 2))
        mode, narrow = str(rng.choice(list(ROUND))), int(rng.random() < 0.4)
        return self.b.quant(x, n, bits, signed=signed, narrow=narrow, mode=mode), n

    def filters(self, shape, channels, axis, ndim):
        """Return the names of rounded weights, and n of each channel."""
        bits, per_channel = int(self.rng.integers(2, 7)), self.rng.random() < 0.6
        n = self.rng.integers(bits - 2, bits + 2, channels if per_channel else ())
        given = n.reshape([-1 if i == axis else 1 for i in range(ndim)]) if per_channel else n
        array = self.rng.integers(-24, 25, shape) / 16
        mode, narrow = str(self.rng.choice(list(ROUND))), int(self.rng.random() < 0.7)
        name = self.b.weights(f"w{self.count}", array, given, bits, mode=mode, narrow=narrow)
        return name, np.broadcast_to(n, channels)

    def bias(self, channels, n):
        """Return the name of a bias: of the scale of the sums, of a finer one, or without one, with a few fractions."""
        array = self.rng.integers(-64, 65, channels) / 16
        if self.rng.random() < 0.4:
            finer = self.rng.integers(-4096, 4097, channels) / 1024
            return self.b.constant(f"bias{self.count}", np.where(self.rng.random(channels) < 0.7, finer, array))
        return self.b.quant(self.b.constant(f"b{self.count}", array), n + self.n, 24, out=f"bias{self.count}")

    def after(self, name, spread):
        if relu := self.rng.random() < 0.5:
            name = self.b.node("Relu", name, f"{name}_relu")
        self.tensor, self.n = self.rounded(name, spread, unsigned=relu and self.rng.random() < 0.7)

    def conv(self):
        out = int(self.rng.integers(1, 5))
        w, n = self.filters((out, self.channels, 3, 3), out, 0, 4)
        inputs = f"{self.tensor} {w}" + (f" {self.bias(out, n)}" if self.rng.random() < 0.6 else "")
        self.b.node("Conv", inputs, f"c{self.count}", pads=[1, 1, 1, 1])
        self.channels = out
        self.after(f"c{self.count}", 4)

    def depthwise(self):
        w, n = self.filters((self.channels, 1, 3, 3), self.channels, 0, 4)
        inputs = f"{self.tensor} {w} {self.bias(self.channels, n)}"
        self.b.node("Conv", inputs, f"d{self.count}", pads=[1, 1, 1, 1], group=self.channels)
        self.after(f"d{self.count}", 4)

    def max_pool(self):
        if self.size > 2:
            self.b.node("MaxPool", self.tensor, f"m{self.count}", kernel_shape=[2, 2], strides=[2, 2])
            self.tensor, self.size = f"m{self.count}", self.size // 2

    def average(self):
        if self.size <= 2:
            return
        name = self.b.node("AveragePool", self.tensor, f"a{self.count}", kernel_shape=[2, 2], strides=[2, 2])
        self.size //= 2
        if self.rng.random() < 0.5:
            bits, mode = int(self.rng.integers(2, 7)), str(self.rng.choice(list(ROUND)))
            out_n = self.n + int(self.rng.integers(-2, 2))
            self.tensor, self.n = self.b.trunc(name, self.n + 2, 10, out_n, bits, rounding_mode=mode), out_n
        else:
            self.tensor, self.n = self.rounded(name, 2)

    def add(self):
        one, other = self.tensor, self.n
        w, _ = self.filters((self.channels, self.channels, 1, 1), self.channels, 0, 4)
        self.b.node("Conv", f"{one} {w}", f"e{self.count}")
        self.after(f"e{self.count}", 4)
        self.b.node("Add", f"{self.tensor} {one}", f"s{self.count}")
        self.after(f"s{self.count}", 4)
        del other

    def concat(self):
        again, _ = self.rounded(self.tensor, 2)
        self.b.node("Concat", f"{self.tensor} {again}", f"k{self.count}", axis=1)
        self.channels *= 2
        self.tensor, self.n = self.rounded(f"k{self.count}", 2)

    def sign(self):
        w, _ = self.filters((2, self.channels, 1, 1), 2, 0, 4)
        self.b.node("Conv", f"{self.tensor} {w}", f"g{self.count}")
        self.channels, self.n = 2, int(self.rng.integers(-1, 3))
        self.tensor = self.b.bipolar(f"g{self.count}", self.n)

    def dense(self):
        self.count += 1
        self.b.node("Flatten", self.tensor, f"f{self.count}")
        inputs = self.channels * self.size**2
        transposed = self.rng.random() < 0.5
        w, n = self.filters((5, inputs), 5, 0, 2)
        if transposed:
            w = self.b.node("Transpose", w, f"t{self.count}", perm=[1, 0])
            self.b.node("MatMul", f"f{self.count} {w}", f"p{self.count}")
            self.b.node("Add", f"p{self.count} {self.bias(5, n)}", f"y{self.count}")
        else:
            self.b.node("Gemm", f"f{self.count} {w} {self.bias(5, n)}", f"y{self.count}", transB=1)
        self.tensor = f"y{self.count}"
        if self.rounds_output:
            self.tensor, self.n = self.rounded(self.tensor, 16)
