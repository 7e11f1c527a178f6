"""Operators with random attributes, each a function that adds nodes to a graph and answers with a tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .builder import Builder


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
        shape = b.shape(x)
        modes = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize"]
        coordinates = b.pick(*modes, *(["half_pixel_symmetric"] if b.opset >= 19 else []))
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
        if mode == "nearest":
            attributes["nearest_mode"] = b.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        if mode == "cubic":
            attributes["cubic_coeff_a"] = b.pick(-0.75, -0.5)
            attributes["exclude_outside"] = b.whole(0, 1)
        if mode != "nearest" and b.opset >= 18:
            attributes["antialias"] = b.whole(0, 1)
        axes = list(range(len(shape)))
        if b.opset >= 18 and b.rng.random() < 0.5:
            axes = attributes["axes"] = axes[2:]
        roi = b.constant(np.zeros(0, np.float32))
        if coordinates == "tf_crop_and_resize":
            attributes["extrapolation_value"] = b.pick(0.0, 0.75, -1.5)
            edges = [(b.pick(0.0, 0.25, -0.5), b.pick(1.0, 0.75, 1.5)) if a > 1 else (0.0, 1.0) for a in axes]
            roi = b.constant([edge for column in zip(*edges, strict=True) for edge in column])
        factors = [b.pick(1.0, 2.0, 3.0, 1.5, 0.5, 2.25) if a > 1 else 1.0 for a in axes]
        factors = [f if int(shape[a] * f) >= 1 else 1.0 for a, f in zip(axes, factors, strict=True)]
        if b.rng.random() < 0.5:
            return b.node("Resize", [x, roi, b.constant(factors)], **attributes)
        sizes = [max(1, int(shape[a] * f)) for a, f in zip(axes, factors, strict=True)]
        scales = b.constant(np.zeros(0, np.float32)) if b.opset < 13 else ""  # before 13 it was not optional
        return b.node("Resize", [x, roi, scales, b.constant(sizes, np.int64)], **attributes)

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


def prelu(b: Builder, x: str) -> str:
    shape = b.shape(x)
    return b.node("PRelu", [x, b.constant(b.numbers(*b.pick((), (shape[1], *[1] * (len(shape) - 2)), shape)))])


def slice_(b: Builder, x: str) -> str:
    cuts = []
    for axis, n in enumerate(b.shape(x)):
        first, last, step = b.whole(0, n - 1), b.whole(0, n - 1), b.whole(1, 2)
        first, last = sorted((first, last))
        cuts.append((first, last + 1, axis, step) if b.rng.random() < 0.5 else (last, first - n - 1, axis, -step))
    return b.node("Slice", [x, *(b.constant(column, np.int64) for column in zip(*cuts, strict=True))])


def split(b: Builder, x: str) -> str:
    axis = int(np.argmax(b.shape(x)))
    first = b.whole(1, b.shape(x)[axis] - 1)
    lengths = [first, b.shape(x)[axis] - first]
    if b.opset < 13:
        return b.node("Split", [x], 2, axis=axis, split=lengths)
    return b.node("Split", [x, b.constant(lengths, np.int64)], 2, axis=axis)


def gather(b: Builder, x: str) -> str:
    axis = b.whole(0, len(b.shape(x)) - 1)
    n = b.shape(x)[axis]
    return b.node("Gather", [x, b.constant([b.whole(-n, n - 1) for _ in range(b.whole(1, 4))], np.int64)], axis=axis)


def tile(b: Builder, x: str, *repeats: int) -> str:
    return b.node("Tile", [x, b.constant(repeats or [b.whole(1, 2) for _ in b.shape(x)], np.int64)])


def expand(b: Builder, x: str) -> str:
    shape = b.shape(x)
    return b.node("Expand", [x, b.constant([2, *(b.whole(2, 3) if n == 1 else n for n in shape)], np.int64)])


def squeeze(b: Builder, x: str) -> str:
    def with_axes(op: str, source: str) -> str:
        if b.opset < 13:
            return b.node(op, [source], axes=[1])
        return b.node(op, [source, b.constant([1], np.int64)])

    return with_axes("Squeeze", relu(b, with_axes("Unsqueeze", x)))


def depth_to_space(b: Builder, x: str) -> str:
    if len(b.shape(x)) == 3:
        x = b.node("Unsqueeze", [x], axes=[3]) if b.opset < 13 else b.node("Unsqueeze", [x, b.constant([3], np.int64)])
    mode = b.pick("DCR", "CRD")
    return b.node("DepthToSpace", [tile(b, x, 1, 4, 1, 1)], blocksize=2, mode=mode)


def space_to_depth(b: Builder, x: str) -> str:
    return b.node("SpaceToDepth", [depth_to_space(b, x)], blocksize=2)


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
    "PRelu": prelu,
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "Tile": tile,
    "Expand": expand,
    "Squeeze": squeeze,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Conv": conv,
    "Softmax": softmax,
    "Pow": power,
    "Sqrt": sqrt,
    "Log": log,
    **{
        op: simple(op)
        for op in ("Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Erf", "Softplus", "Softsign", "Floor", "Ceil")
    },
    "LeakyRelu": parametrized("LeakyRelu", alpha=(0.01, 0.5)),
    "Elu": parametrized("Elu", alpha=(0.5, 1.5)),
    "HardSigmoid": parametrized("HardSigmoid", alpha=(0.1, 0.4), beta=(0.3, 0.7)),
    "HardSwish": simple("HardSwish"),
}
