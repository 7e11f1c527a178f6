"""Operators that the oracle has no model of, or not in this form, with random attributes.

Each adds nodes to a graph and answers with a tensor, as those of `operators` do. Comparisons between two
implementations of the package take both tables together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .builder import Builder
from .operators import conv, parametrized, simple

Operator = Callable[[Builder, str], str]


def unsqueezed(b: Builder, x: str, axis: int) -> str:
    if b.opset < 13:
        return b.node("Unsqueeze", [x], axes=[axis])
    return b.node("Unsqueeze", [x, b.constant([axis], np.int64)])


def conv_with(b: Builder, x: str, kernel: int, filters: int, group: int = 1, stride: int = 1) -> str:
    """A convolution as networks have it: odd kernel, padded to the same size."""
    shape = b.shape(x)
    channels, axes = shape[1], len(shape) - 2
    w = b.numbers(filters, channels // group, *[kernel] * axes, scale=(channels // group * kernel**axes) ** -0.5)
    inputs = [x, b.constant(w)]
    if b.rng.random() < 0.7:
        inputs.append(b.constant(b.numbers(filters, scale=0.3)))
    pads = [kernel // 2] * (2 * axes)
    y = b.node("Conv", inputs, group=group, pads=pads, strides=[stride] * axes)
    return b.node(b.pick("Relu", "LeakyRelu", "HardSwish"), [y]) if b.opset >= 14 and b.rng.random() < 0.5 else y


def conv_3x3(b: Builder, x: str) -> str:
    return conv_with(b, x, 3, b.whole(1, 9), stride=b.pick(1, 1, 2))


def pointwise(b: Builder, x: str) -> str:
    return conv_with(b, x, 1, b.whole(1, 12))


def depthwise(b: Builder, x: str) -> str:
    channels = b.shape(x)[1]
    return conv_with(b, x, b.pick(1, 3, 3, 5), channels * b.pick(1, 1, 2), channels, b.pick(1, 1, 2))


def conv_3d(b: Builder, x: str) -> str:
    while len(b.shape(x)) < 5:
        x = unsqueezed(b, x, len(b.shape(x)))
    return conv(b, x)


def conv_transpose(b: Builder, x: str) -> str:
    shape = b.shape(x)
    channels, axes = shape[1], len(shape) - 2
    group = b.pick(*[g for g in (1, 1, 2, channels) if channels % g == 0])
    filters = group * b.whole(1, 3)
    kernel = [b.whole(1, 4) for _ in range(axes)]
    strides = [b.whole(1, 3) for _ in range(axes)]
    dilations = [b.pick(1, 1, 2) for _ in range(axes)]
    pads = [b.whole(0, min(1, (k - 1) * d)) for k, d in zip(kernel, dilations, strict=True)]
    sizes = zip(shape[2:], kernel, strides, dilations, pads, strict=True)
    pads = [p if (n - 1) * s + (k - 1) * d + 1 - 2 * p > 0 else 0 for n, k, s, d, p in sizes]
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": group}
    attributes["pads"] = [*pads, *pads]
    if b.rng.random() < 0.4:
        more = [b.whole(0, max(s, d) - 1) for s, d in zip(strides, dilations, strict=True)]
        attributes["output_padding"] = more
    w = b.numbers(channels, filters // group, *kernel, scale=(channels // group * np.prod(kernel)) ** -0.5)
    inputs = [x, b.constant(w)]
    if b.rng.random() < 0.6:
        inputs.append(b.constant(b.numbers(filters, scale=0.3)))
    return b.node("ConvTranspose", inputs, **attributes)


def matmul_of_two(b: Builder, x: str) -> str:
    axes = list(range(len(b.shape(x))))
    turned = b.node("Transpose", [x], perm=[*axes[:-2], axes[-1], axes[-2]])
    return b.node("MatMul", [x, turned] if b.rng.random() < 0.5 else [turned, x])


def gemm_of_two(b: Builder, x: str) -> str:
    flat = b.node("Flatten", [x], axis=b.whole(1, len(b.shape(x)) - 1))
    rows, columns = b.shape(flat)
    if max(rows, columns) > 24:
        return flat
    is_turned = b.rng.random() < 0.5
    n = rows if is_turned else columns
    inputs = [flat, flat] + ([b.constant(b.numbers(n))] if b.rng.random() < 0.5 else [])
    other = {"transB": 1} if is_turned else {"transA": 1}
    return b.node("Gemm", inputs, alpha=b.pick(1.0, 0.5), beta=b.pick(1.0, 2.0), **other)


def matmul_left(b: Builder, x: str) -> str:
    inner = b.shape(x)[-2]
    return b.node("MatMul", [b.constant(b.numbers(b.whole(1, 4), inner, scale=inner**-0.5)), x])


def attention(b: Builder, x: str) -> str:
    axes = list(range(len(b.shape(x))))
    d = b.shape(x)[-1]
    parts = [b.node("MatMul", [x, b.constant(b.numbers(d, d, scale=d**-0.5))]) for _ in range(3)]
    turned = b.node("Transpose", [parts[1]], perm=[*axes[:-2], axes[-1], axes[-2]])
    scores = b.node("Mul", [b.node("MatMul", [parts[0], turned]), b.constant(d**-0.5)])
    return b.node("MatMul", [b.node("Softmax", [scores], axis=-1), parts[2]])


def softmax(op: str) -> Operator:
    def build(b: Builder, x: str) -> str:
        rank = len(b.shape(x))
        return b.node(op, [x], axis=b.pick(-1, 1, rank - 1) if b.opset < 13 else b.whole(-rank, rank - 1))

    return build


def layer_normalization(b: Builder, x: str) -> str:
    shape = b.shape(x)
    axis = b.whole(1, len(shape) - 1)
    inputs = [x, b.constant(b.numbers(*shape[axis:]))]
    if b.rng.random() < 0.5:
        inputs.append(b.constant(b.numbers(*shape[axis:])))
    return b.node("LayerNormalization", inputs, axis=axis, epsilon=b.pick(1e-5, 1e-3))


def instance_normalization(b: Builder, x: str) -> str:
    channels = b.shape(x)[1]
    return b.node("InstanceNormalization", [x, b.constant(b.numbers(channels)), b.constant(b.numbers(channels))])


def recurrent(op: str) -> Operator:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]

    def build(b: Builder, x: str) -> str:
        shape = b.shape(x)
        if len(shape) != 3:
            x = b.node("Reshape", [x, b.constant([shape[0], shape[1], -1], np.int64)])
            shape = b.shape(x)
        x = b.node("Transpose", [x], perm=[1, 0, 2])
        direction = b.pick("forward", "forward", "reverse", "bidirectional")
        directions, hidden = 1 + (direction == "bidirectional"), b.whole(1, 4)
        w = b.numbers(directions, gates * hidden, shape[2], scale=shape[2] ** -0.5)
        r = b.numbers(directions, gates * hidden, hidden, scale=hidden**-0.5)
        inputs = [x, b.constant(w), b.constant(r)]
        if b.rng.random() < 0.7:
            inputs.append(b.constant(b.numbers(directions, 2 * gates * hidden, scale=0.3)))
        attributes = {"linear_before_reset": b.whole(0, 1)} if op == "GRU" else {}
        b.node(op, inputs, 2, hidden_size=hidden, direction=direction, **attributes)
        first, last = b.nodes[-1].output
        return first if b.rng.random() < 0.5 else last

    return build


def pad_of(mode: str) -> Operator:
    def build(b: Builder, x: str) -> str:
        shape = b.shape(x)
        most = [0, 0, *(min(2, n - 1) if mode == "reflect" else 2 for n in shape[2:])]
        pads = [b.whole(0, m) for m in most] + [b.whole(0, m) for m in most]
        return b.node("Pad", [x, b.constant(pads, np.int64)], mode=mode)

    return build


def where(b: Builder, x: str) -> str:
    shape = b.shape(x)
    other = b.pick(b.constant(b.numbers(*b.pick((), shape))), b.node("Tanh", [x]))
    if b.rng.random() < 0.5:
        condition = b.constant(b.rng.random(b.pick(shape, shape[-1:])) < 0.5, bool)
    else:
        condition = b.node(b.pick("Greater", "Less"), [x, b.constant(b.numbers(1)[0])])
    return b.node("Where", [condition, x, other] if b.rng.random() < 0.5 else [condition, other, x])


def split_and_join(b: Builder, x: str) -> str:
    axis = int(np.argmax(b.shape(x)))
    n = b.shape(x)[axis]
    if n < 2:
        return b.node("Concat", [x, x], axis=axis)
    first = b.whole(1, n - 1)
    lengths = [first, n - first]
    if b.opset < 13:
        b.node("Split", [x], 2, axis=axis, split=lengths)
    else:
        b.node("Split", [x, b.constant(lengths, np.int64)], 2, axis=axis)
    left, right = b.nodes[-1].output
    if b.rng.random() < 0.6:
        left = b.node(b.pick("Tanh", "Relu", "Neg"), [left])
    return b.node("Concat", [left, right] if b.rng.random() < 0.5 else [right, left, right], axis=axis)


def squeeze_and_excite(b: Builder, x: str) -> str:
    mean = b.node("GlobalAveragePool", [x])
    return b.node("Mul", [x, b.node(b.pick("Sigmoid", "HardSigmoid"), [pointwise_like(b, mean, b.shape(x)[1])])])


def pointwise_like(b: Builder, x: str, filters: int) -> str:
    channels, axes = b.shape(x)[1], len(b.shape(x)) - 2
    w = b.numbers(filters, channels, *[1] * axes, scale=channels**-0.5)
    return b.node("Conv", [x, b.constant(w)])


def residual(b: Builder, x: str) -> str:
    channels = b.shape(x)[1]
    middle = b.node("Relu", [pointwise_like(b, x, b.whole(1, 6))])
    y = b.node(b.pick("Add", "Add", "Sub", "Mul"), [x, pointwise_like(b, middle, channels)])
    return b.node("Relu", [y]) if b.rng.random() < 0.5 else y


def extreme(op: str) -> Operator:
    def build(b: Builder, x: str) -> str:
        axes, keepdims = b.pick([1], [2], [1, 2], [0]), b.whole(0, 1)
        if b.opset >= 18:
            return b.node(op, [x, b.constant(axes, np.int64)], keepdims=keepdims)
        return b.node(op, [x], axes=axes, keepdims=keepdims)

    return build


def max_pool_dilated(b: Builder, x: str) -> str:
    size = b.shape(x)[2:]
    kernel = [2 if n >= 3 else 1 for n in size]
    return b.node("MaxPool", [x], kernel_shape=kernel, dilations=[2] * len(size), strides=[b.whole(1, 2) for _ in size])


def several(op: str) -> Operator:
    def build(b: Builder, x: str) -> str:
        shape = b.shape(x)
        others = [b.node("Tanh", [x]), b.feed(*shape), b.constant(b.numbers(shape[-1]))]
        return b.node(op, [x, *others[: b.whole(1, 3)]])

    return build


def index_of_largest(b: Builder, x: str) -> str:
    axis = b.whole(0, len(b.shape(x)) - 1)
    found = b.node(b.pick("ArgMax", "ArgMin"), [x], axis=axis, keepdims=1, select_last_index=b.whole(0, 1))
    return b.node("Where", [b.node("Equal", [found, b.constant(0, np.int64)]), x, b.constant(0.5)])


def gather_elements(b: Builder, x: str) -> str:
    shape = b.shape(x)
    axis = b.whole(0, len(shape) - 1)
    return b.node("GatherElements", [x, b.constant(b.rng.integers(0, shape[axis], shape), np.int64)], axis=axis)


def compared(b: Builder, x: str) -> str:
    truth = b.node(b.pick("Greater", "Less"), [x, b.node("Tanh", [x])])
    return b.node("Where", [b.node("Not", [truth]), x, b.node("Neg", [x])])


def clip_of_six(b: Builder, x: str) -> str:
    return b.node("Clip", [x, b.constant(0.0), b.constant(6.0)])


def largest_of_axis(b: Builder, x: str) -> str:
    axis = b.whole(0, len(b.shape(x)) - 1)
    count = b.whole(1, b.shape(x)[axis])
    b.node("TopK", [x, b.constant([count], np.int64)], 2, axis=axis, largest=b.whole(0, 1))
    return b.nodes[-1].output[0]


def cumulative(b: Builder, x: str) -> str:
    axis = b.constant(b.whole(0, len(b.shape(x)) - 1), np.int64)
    return b.node("CumSum", [x, axis], exclusive=b.whole(0, 1), reverse=b.whole(0, 1))


def scattered(b: Builder, x: str) -> str:
    shape = b.shape(x)
    axis = b.whole(0, len(shape) - 1)
    part = tuple(b.whole(1, n) for n in shape)
    columns = [b.rng.permutation(shape[axis])[: part[axis]] for _ in range(int(np.prod(part) // part[axis]))]
    others = [n for a, n in enumerate(part) if a != axis]
    index = np.moveaxis(np.reshape(columns, [*others, part[axis]]), -1, axis)
    return b.node("ScatterElements", [x, b.constant(index, np.int64), b.constant(b.numbers(*part))], axis=axis)


def group_normalization(b: Builder, x: str) -> str:
    channels = b.shape(x)[1]
    groups = b.pick(*[g for g in (1, 2, 3, channels) if channels % g == 0])
    flat = b.node("Reshape", [x, b.constant([0, groups, -1], np.int64)])
    scaled = b.node("InstanceNormalization", [flat, b.constant(np.ones(groups)), b.constant(np.zeros(groups))])
    y = b.node("Reshape", [scaled, b.constant(b.shape(x), np.int64)])
    weights = (channels, *[1] * (len(b.shape(x)) - 2))
    return b.node("Add", [b.node("Mul", [y, b.constant(b.numbers(*weights))]), b.constant(b.numbers(*weights))])


def gelu(b: Builder, x: str) -> str:
    half = b.node("Mul", [x, b.constant(0.5)])
    inner = b.node("Erf", [b.node("Div", [x, b.constant(1.41421)])])
    return b.node("Mul", [half, b.node("Add", [inner, b.constant(1.0)])])


def silu(b: Builder, x: str) -> str:
    return b.node("Mul", [x, b.node("Sigmoid", [x])])


MORE: dict[str, Operator] = {
    "TopK": largest_of_axis,
    "CumSum": cumulative,
    "ScatterElements": scattered,
    "group normalization": group_normalization,
    "gelu": gelu,
    "silu": silu,
    "LpNormalization": simple("LpNormalization", axis=1),
    "MeanVarianceNormalization": simple("MeanVarianceNormalization", axes=[-1]),
    **{op: extreme(op) for op in ("ReduceL1", "ReduceSumSquare")},
    "Hardmax": simple("Hardmax", axis=-1),
    "Conv 3x3": conv_3x3,
    "Conv 1x1": pointwise,
    "Conv depthwise": depthwise,
    "Conv 3-D": conv_3d,
    "ConvTranspose": conv_transpose,
    "MatMul of two": matmul_of_two,
    "MatMul left": matmul_left,
    "Gemm of two": gemm_of_two,
    "attention": attention,
    **{op: softmax(op) for op in ("Softmax", "LogSoftmax")},
    "LayerNormalization": layer_normalization,
    "InstanceNormalization": instance_normalization,
    **{op: recurrent(op) for op in ("LSTM", "GRU", "RNN")},
    **{f"Pad {mode}": pad_of(mode) for mode in ("reflect", "edge")},
    "Where": where,
    "Split and Concat": split_and_join,
    "squeeze and excite": squeeze_and_excite,
    "residual": residual,
    **{op: extreme(op) for op in ("ReduceMax", "ReduceMin")},
    "GlobalMaxPool": simple("GlobalMaxPool"),
    "MaxPool dilated": max_pool_dilated,
    **{f"{op} of several": several(op) for op in ("Sum", "Mean", "Max", "Min")},
    "ArgMax": index_of_largest,
    "GatherElements": gather_elements,
    "compared": compared,
    "Relu6": clip_of_six,
    **{op: simple(op) for op in ("Selu", "Sign", "Round", "Sin", "Reciprocal")},
    "Celu": parametrized("Celu", alpha=(0.5, 1.5)),
    "ThresholdedRelu": parametrized("ThresholdedRelu", alpha=(0.1, 1.0)),
}
# The first opset of operators that are younger than 11.
FIRST = {"LayerNormalization": 17, "Celu": 12, "HardSwish": 14, "ArgMax": 12}
