"""Small random ONNX models: a Conv with random attributes, then a random operator, and sometimes another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from oracle import Fmt, Net

OPSETS = (11, 13, 17, 18, 21)


@dataclass
class Builder:
    """A graph under construction; shapes are followed by ONNX's own inference."""

    rng: np.random.Generator
    opset: int
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)
    trail: list = field(default_factory=list)

    def feed(self, *shape: int) -> str:
        name = "xyzuvw"[len(self.inputs)]
        self.inputs[name] = self.numbers(*shape)
        return name

    def constant(self, array, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def node(self, op: str, inputs: list[str], outputs: int = 1, **attributes) -> str:
        names = [f"t{len(self.nodes)}" if outputs == 1 else f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        shown = ", ".join(f"{k}={v}" for k, v in attributes.items())
        self.trail.append(f"{op}({shown})")
        return names[0]

    def model(self, outputs: list[str], shape: tuple[int, ...] | None = None) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in self.inputs.items()]
        out = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in outputs]
        initializers = [numpy_helper.from_array(a, n) for n, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "random", infos, out, initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def shape(self, name: str) -> tuple[int, ...]:
        inferred = onnx.shape_inference.infer_shapes(self.model([name]), strict_mode=True, data_prop=True)
        (info,) = (o for o in inferred.graph.output if o.name == name)
        return tuple(d.dim_value for d in info.type.tensor_type.shape.dim)

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def numbers(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)


def conv(b: Builder, x: str) -> str:
    shape = b.shape(x) if x not in b.inputs else b.inputs[x].shape
    channels, size = shape[1], shape[2:]
    group = channels if b.rng.random() < 0.2 else b.pick(*[g for g in (1, 2, 3) if channels % g == 0])
    filters = group * b.whole(1, max(1, 6 // group))
    kernel, strides, dilations, pads = [], [], [], ([], [])
    for n in size:
        k, d = b.whole(1, 4), b.whole(1, 2)
        before, after = b.whole(0, 2), b.whole(0, 2)
        while (k - 1) * d + 1 > n + before + after:
            k, d = k - 1, 1
        kernel.append(k)
        dilations.append(d)
        strides.append(b.whole(1, 3))
        pads[0].append(before)
        pads[1].append(after)
    attributes = {"strides": strides, "dilations": dilations, "group": group, "kernel_shape": kernel}
    auto = b.pick("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto == "NOTSET" or (auto == "VALID" and any(e > n for e, n in zip(extents, size, strict=True))):
        attributes["pads"] = [*pads[0], *pads[1]]
    else:
        attributes["auto_pad"] = auto
        if auto.startswith("SAME"):
            attributes["dilations"] = [1] * len(size)
    terms = channels // group * int(np.prod(kernel))
    inputs = [x, b.constant(b.numbers(filters, channels // group, *kernel, scale=b.pick(0.3, 1.0) / np.sqrt(terms)))]
    if b.rng.random() < 0.7:
        inputs.append(b.constant(b.numbers(filters, scale=b.pick(0.1, 1.0))))
    return b.node("Conv", inputs, **attributes)


def batchnorm(b: Builder, x: str) -> str:
    channels = b.shape(x)[1]
    stats = [b.numbers(channels) for _ in range(3)] + [np.abs(b.numbers(channels)) + 0.05]
    return b.node("BatchNormalization", [x, *(b.constant(s) for s in stats)], epsilon=b.pick(1e-5, 1e-3))


def batchnorm_alone(b: Builder, x: str) -> str:
    return batchnorm(b, b.node("Relu", [x]))


def relu(b: Builder, x: str) -> str:
    return b.node("Relu", [x])


def batchnorm_relu(b: Builder, x: str) -> str:
    return relu(b, batchnorm(b, x))


def clip(b: Builder, x: str) -> str:
    low, high = sorted(b.numbers(2, scale=1.5).tolist())
    bounds = b.pick(["low", "high"], ["low", ""], ["", "high"])
    values = {"low": low, "high": high}
    return b.node("Clip", [x, *(b.constant(values[n]) if n else "" for n in bounds)])


def pool(op: str) -> Callable[[Builder, str], str]:
    def build(b: Builder, x: str) -> str:
        size = b.shape(x)[2:]
        kernel = [b.whole(1, min(3, n)) for n in size]
        attributes = {"kernel_shape": kernel, "strides": [b.whole(1, 3) for _ in size]}
        if b.rng.random() < 0.6:
            attributes["pads"] = [b.whole(0, k - 1) for k in kernel] + [b.whole(0, k - 1) for k in kernel]
        else:
            attributes["auto_pad"] = b.pick("SAME_UPPER", "SAME_LOWER", "VALID")
        if "pads" in attributes and b.rng.random() < 0.4:
            attributes["ceil_mode"] = 1
        if op == "AveragePool":
            attributes["count_include_pad"] = b.whole(0, 1)
        return b.node(op, [x], **attributes)

    return build


def simple(op: str, **attributes) -> Callable[[Builder, str], str]:
    return lambda b, x: b.node(op, [x], **attributes)


def parametrized(op: str, **ranges) -> Callable[[Builder, str], str]:
    def build(b: Builder, x: str) -> str:
        given = {name: float(b.rng.uniform(*r)) for name, r in ranges.items() if b.rng.random() < 0.7}
        return b.node(op, [x], **given)

    return build


def reduced(op: str) -> Callable[[Builder, str], str]:
    def build(b: Builder, x: str) -> str:
        axes = b.pick([1], [2], [1, 2], [0, 1])
        keepdims = b.whole(0, 1)
        as_input = b.opset >= (13 if op == "ReduceSum" else 18)
        if as_input:
            return b.node(op, [x, b.constant(axes, np.int64)], keepdims=keepdims)
        return b.node(op, [x], axes=axes, keepdims=keepdims)

    return build


def binary(op: str) -> Callable[[Builder, str], str]:
    """With a constant that broadcasts, or with another activation."""

    def build(b: Builder, x: str) -> str:
        shape = b.shape(x)
        kind = b.pick("constant", "activation", "itself")
        if kind == "constant":
            other = b.constant(b.numbers(*b.pick((), (shape[1], *[1] * (len(shape) - 2)), shape)))
        elif kind == "activation":
            made = len(b.nodes)
            if b.rng.random() < 0.3:
                other = b.node("Relu" if op == "Div" else "Identity", [conv(b, "x")])
                if b.shape(other) != shape:
                    b.nodes[made:], other = [], x
            else:
                other = b.feed(*shape)
        else:
            other = x
        return b.node(op, [x, other] if b.rng.random() < 0.5 else [other, x])

    return build


def concat(b: Builder, x: str) -> str:
    shape = b.shape(x)
    return b.node("Concat", [x, b.feed(shape[0], b.whole(1, 3), *shape[2:]), x], axis=1)


def resize(mode: str) -> Callable[[Builder, str], str]:
    def build(b: Builder, x: str) -> str:
        size = b.shape(x)[2:]
        modes = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
        attributes = {"mode": mode, "coordinate_transformation_mode": b.pick(*modes)}
        if mode == "nearest":
            attributes["nearest_mode"] = b.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        if mode == "cubic":
            attributes["cubic_coeff_a"] = b.pick(-0.75, -0.5)
            attributes["exclude_outside"] = b.whole(0, 1)
        factors = [b.pick(1.0, 2.0, 3.0, 1.5, 0.5, 2.25) for _ in size]
        factors = [f if int(n * f) >= 1 else 1.0 for n, f in zip(size, factors, strict=True)]
        empty = b.constant(np.zeros(0, np.float32))
        if b.rng.random() < 0.5:
            return b.node("Resize", [x, empty, b.constant([1, 1, *factors])], **attributes)
        sizes = [*b.shape(x)[:2], *(max(1, int(n * f)) for n, f in zip(size, factors, strict=True))]
        scales = empty if b.opset < 13 else ""  # before 13 it was not optional
        return b.node("Resize", [x, empty, scales, b.constant(sizes, np.int64)], **attributes)

    return build


def flatten_gemm(b: Builder, x: str) -> str:
    flat = b.node("Flatten", [x], axis=1)
    inner, transposed, columns = b.shape(flat)[1], b.whole(0, 1), b.whole(1, 5)
    w = b.numbers(*((columns, inner) if transposed else (inner, columns)), scale=1 / np.sqrt(inner))
    inputs = [flat, b.constant(w)]
    if b.rng.random() < 0.7:
        inputs.append(b.constant(b.numbers(*b.pick((columns,), (1, columns)))))
    return b.node("Gemm", inputs, transB=transposed)


def matmul(b: Builder, x: str) -> str:
    inner = b.shape(x)[-1]
    return b.node("MatMul", [x, b.constant(b.numbers(inner, b.whole(1, 4), scale=1 / np.sqrt(inner)))])


def reshape(b: Builder, x: str) -> str:
    return b.node("Reshape", [x, b.constant([0, -1], np.int64)])


def transpose(b: Builder, x: str) -> str:
    return b.node("Transpose", [x], perm=b.rng.permutation(len(b.shape(x))).tolist())


def pad(b: Builder, x: str) -> str:
    rank = len(b.shape(x))
    pads = [0, 0, *(b.whole(0, 2) for _ in range(rank - 2))] * 2
    return b.node("Pad", [x, b.constant(pads, np.int64), b.constant(b.numbers(1)[0])])


def power(b: Builder, x: str) -> str:
    exponent = b.pick(2.0, 3.0, 0.5)
    return b.node("Pow", [relu(b, x) if exponent == 0.5 else x, b.constant(exponent)])


def sqrt(b: Builder, x: str) -> str:
    return b.node("Sqrt", [relu(b, x)])


def log(b: Builder, x: str) -> str:
    return b.node("Log", [b.node("Clip", [x, b.constant(1.0)])])


def softmax(b: Builder, x: str) -> str:
    return b.node("Softmax", [x], axis=1)


OPERATORS: dict[str, Callable[[Builder, str], str]] = {
    "BatchNormalization folded": batchnorm,
    "BatchNormalization alone": batchnorm_alone,
    "BatchNormalization and Relu": batchnorm_relu,
    "Relu": relu,
    "Clip": clip,
    "MaxPool": pool("MaxPool"),
    "AveragePool": pool("AveragePool"),
    "GlobalAveragePool": simple("GlobalAveragePool"),
    "ReduceMean": reduced("ReduceMean"),
    "ReduceSum": reduced("ReduceSum"),
    **{op: binary(op) for op in ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min")},
    "Concat": concat,
    **{f"Resize {mode}": resize(mode) for mode in ("nearest", "linear", "cubic")},
    "Gemm": flatten_gemm,
    "MatMul": matmul,
    "Flatten": simple("Flatten"),
    "Reshape": reshape,
    "Transpose": transpose,
    "Pad": pad,
    "Conv": conv,
    "Softmax": softmax,
    "Pow": power,
    "Sqrt": sqrt,
    "Log": log,
    **{op: simple(op) for op in ("Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Erf", "Softplus")},
    "LeakyRelu": parametrized("LeakyRelu", alpha=(0.01, 0.5)),
    "Elu": parametrized("Elu", alpha=(0.5, 1.5)),
    "HardSigmoid": parametrized("HardSigmoid", alpha=(0.1, 0.4), beta=(0.3, 0.7)),
    "HardSwish": simple("HardSwish"),
}

# What may follow another operator on a tensor of any rank from three up.
FOLLOWERS = ("Relu", "Clip", "Add", "Mul", "Max", "Transpose", "Conv", "MaxPool", "AveragePool")


@dataclass
class Case:
    """A model, what it is fed, and how it is to be run."""

    seed: int
    operator: str
    trail: list[str]
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    names: list[str]
    options: dict
    formats: dict[str, str]


def random_format(rng: np.random.Generator, bits: int | None = None) -> str:
    """Wide enough for most values, and too narrow for some."""
    word = int(rng.choice([2, 3, 4, 5, 6, 7, 8, 8, 8, 9, 10, 12, 14, 16, 16])) if bits is None else bits
    signed = rng.random() < 0.8
    m = int(rng.integers(-1, 4))
    return f"{'' if signed else 'U'}Q{m}.{word - signed - m}"


def random_case(seed: int, attempt: int = 0) -> Case:
    """Return the case of a seed; each attempt is another graph with the same operator."""
    rng = np.random.default_rng([seed, attempt])
    name = list(OPERATORS)[seed % len(OPERATORS)]
    opset = int(rng.choice([o for o in OPSETS if o >= (14 if name == "HardSwish" else 11)]))
    b = Builder(rng, opset)
    images = name.startswith("Resize") or rng.random() < 0.7
    sizes = (b.whole(2, 8) for _ in range(2 if images else 1))
    first = conv(b, b.feed(b.whole(1, 2), b.pick(1, 2, 3, 4, 6), *sizes))
    last = OPERATORS[name](b, first)
    ranked = len(b.shape(last)) >= 3
    if ranked and rng.random() < 0.5:
        last = OPERATORS[b.pick(*FOLLOWERS)](b, last)
    model = b.model([last], b.shape(last))
    net = Net(model)
    formats = {}
    for group in {id(g): g for g in net.group.values()}.values():
        if rng.random() < 0.5:
            formats[str(rng.choice(sorted(group)))] = random_format(rng)
    options = {
        "qformat": random_format(rng),
        "rounding": b.pick("half_even", "half_up", "half_away", "floor", "trunc"),
        "overflow": b.pick("saturate", "saturate", "wrap"),
        "accumulator_bits": b.pick(None, None, 12, 16, 24, 32),
        "per_channel": b.pick(False, True),
    }
    feeds = {n: a.copy() for n, a in b.inputs.items()}
    if rng.random() < 0.2:
        feeds["x"].flat[int(rng.integers(feeds["x"].size))] = np.inf * rng.choice([-1, 1])
    return Case(seed, name, b.trail, model, feeds, net.observable(), options, formats)


def expected_options(case: Case) -> dict:
    """The options as the oracle takes them."""
    return {**case.options, "qformat": Fmt.parse(case.options["qformat"])}
