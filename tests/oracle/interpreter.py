"""Every node evaluated in order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx

from .arithmetic import arithmetic, average_pool, concat, max_pool, reduce
from .codes import Ambiguous, Codes, Fmt, Options, auto_format, beside_bias, constant_formats, quantize_array
from .functions import UNARY, table
from .linear import batchnorm, batchnorm_constants, conv, fold_batchnorm, gemm, matmul
from .moves import clip, depth_to_space, pad, space_to_depth
from .net import Net, attributes
from .resizing import resize
from .rows import normalize, softmax


def run(model: onnx.ModelProto, feeds: dict, options: Options, formats: dict[str, Fmt] | None = None):
    """Every activation of the model as `Codes`, by name."""
    net = Net(model)
    formats = formats or {}
    values: dict[str, Codes] = {}

    def fmt_of(name):
        return net.format_of(name, formats, options.qformat)

    for name in net.inputs:
        fmt = fmt_of(name)
        own = options.of("inputs", name)
        values[name] = Codes(quantize_array(feeds[name], fmt, own.rounding, own.overflow), fmt)
    hidden = {node.output[0] for node in net.folded.values()}
    for node in net.nodes:
        if node.output[0] in hidden:
            continue  # evaluated with its Conv
        if node.output[0] in net.folded:
            bn = net.folded[node.output[0]]
            values[bn.output[0]] = evaluate(net, node, values, fmt_of(bn.output[0]), options, bn)
            continue
        result = evaluate(net, node, values, fmt_of(node.output[0]), options)
        if node.op_type == "Split":
            values.update(zip(node.output, result, strict=True))
        else:
            values[node.output[0]] = result
    return values


KINDS = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul", "BatchNormalization"), "linear"),
    **dict.fromkeys(("Add", "Sub", "Sum"), "add"),
    **dict.fromkeys(("Mul", "Div", "PRelu"), "mul"),
    **dict.fromkeys(("Max", "Min", "Concat"), "convert"),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"), "mean"),
    **dict.fromkeys(UNARY, "table"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "softmax"),
    **{"LayerNormalization": "norm", "Resize": "resize"},
}


def linear_formats(x: Codes, weight, bias, axis: int, opt: Options) -> list[Fmt]:
    """Formats of weights whose bias, if there is one, has channels along its last axis or is added to all."""
    formats = constant_formats(weight, opt.qformat.bits, axis if opt.per_channel else None)
    if bias is None:
        return formats
    if len(formats) == 1:
        return [beside_bias(formats[0], bias, x.fmt.n)]
    own = np.broadcast_to(bias, (*np.shape(bias)[:-1], len(formats)))
    return [beside_bias(fmt, own[..., c], x.fmt.n) for c, fmt in enumerate(formats)]


def evaluate(net: Net, node, values: dict, fmt: Fmt, opt: Options, bn=None):
    op, attrs, k = node.op_type, attributes(node), net.constants
    is_function = op == "PRelu" and k[node.input[1]].size == 1 if op == "PRelu" and node.input[1] in k else False
    x = values.get(node.input[0])

    def constant(i):
        return k[node.input[i]] if len(node.input) > i and node.input[i] else None

    kind = "table" if is_function else KINDS.get(op, "convert")
    if op == "Conv" and attrs.get("group", 1) > 1 and constant(1).shape[1] == 1:
        kind = "depthwise"
    if op in ("Gemm", "MatMul") and node.input[1] in k:
        kind = "dense"
    opt = opt.of(kind, (bn or node).output[0])

    def operand(name) -> Codes:
        if name in values:
            return values[name]
        own = auto_format(k[name], opt.qformat.bits)
        return Codes(quantize_array(k[name], own, *opt.constants), own)

    if op == "Conv":
        weight, bias = constant(1), constant(2)
        if bn is not None:
            stats = [k[name] for name in bn.input[1:5]]
            weight, bias = fold_batchnorm(weight, bias, *stats, attributes(bn)["epsilon"])
        return conv(x, weight, bias, attrs, linear_formats(x, weight, bias, 0, opt), fmt, opt)
    if op == "Gemm":
        axis = 0 if attrs.get("transB", 0) else 1
        formats = linear_formats(x, constant(1), constant(2), axis, opt)
        return gemm(x, constant(1), constant(2), attrs, formats, fmt, opt)
    if op == "MatMul":
        return matmul(x, constant(1), linear_formats(x, constant(1), None, 1, opt), fmt, opt)
    if op == "BatchNormalization":
        scale, shift = batchnorm_constants(*(k[name] for name in node.input[1:5]), attrs["epsilon"])
        return batchnorm(x, scale, shift, linear_formats(x, scale, shift, 0, opt), fmt, opt)
    if op == "PRelu" and constant(1).size == 1:  # a function of one variable
        return table(x, "LeakyRelu", {"alpha": float(constant(1).item())}, fmt, opt)
    if op in ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "PRelu"):
        return arithmetic(op, [operand(name) for name in node.input], fmt, opt)
    if op == "Concat":
        return concat([values[name] for name in node.input], attrs["axis"], fmt, opt)
    if op == "AveragePool":
        return average_pool(x, attrs, fmt, opt)
    if op == "GlobalAveragePool":
        return reduce(x, range(2, len(x.shape)), 1, True, fmt, opt)
    if op in ("ReduceMean", "ReduceSum"):
        axes = attrs.get("axes", constant(1))
        return reduce(x, axes, attrs.get("keepdims", 1), op == "ReduceMean", fmt, opt)
    if op == "Pow":
        attrs["exponent"] = float(constant(1))
        return table(x, op, attrs, fmt, opt)
    if op in UNARY:
        return table(x, op, attrs, fmt, opt)
    if op in ("Softmax", "LogSoftmax"):
        old = net.opset < 13
        return softmax(x, attrs.get("axis", 1 if old else -1), old, fmt, opt, op == "LogSoftmax")
    if op == "LayerNormalization":
        axes = range(attrs.get("axis", -1) % len(x.shape), len(x.shape))
        epsilon = attrs.get("epsilon", float(np.float32(1e-5)))
        return normalize(x, axes, "variance", epsilon, operand(node.input[1]), constant(2), fmt, opt)
    if op == "Resize":
        roi, scales, sizes = constant(1), constant(2), constant(3)
        sizes = None if sizes is None or not sizes.size else sizes
        if "axes" in attrs:  # those that are not named keep their length
            full_scales, full_sizes, rank = [1.0] * len(x.shape), list(x.shape), len(x.shape)
            full_roi = [0.0] * rank + [1.0] * rank
            for i, axis in enumerate(attrs["axes"]):
                if sizes is None:
                    full_scales[axis] = scales[i]
                else:
                    full_sizes[axis] = sizes[i]
                if roi is not None and roi.size:
                    full_roi[axis], full_roi[axis + rank] = roi[i], roi[i + len(attrs["axes"])]
            roi, scales, sizes = full_roi, full_scales, sizes if sizes is None else full_sizes
        return resize(x, roi, scales, sizes, attrs, fmt, opt)
    return move(node, x, attrs, constant, opt.constants[0])


def move(node, x: Codes, attrs: dict, constant, rounding: str):
    op, rank, data = node.op_type, len(x.shape), x.exact()
    if op == "Identity":
        return x
    if op == "Relu":
        return clip(x, 0.0, None, rounding)
    if op == "Clip":
        low, high = constant(1), constant(2)
        return clip(x, None if low is None else float(low), None if high is None else float(high), rounding)
    if op == "MaxPool":
        return max_pool(x, attrs)
    if op == "Pad":
        if attrs.get("mode", "constant") != "constant":
            raise Ambiguous("a mode of Pad that this model leaves out")
        value = 0.0 if constant(2) is None else float(constant(2))
        return pad(x, [int(p) for p in constant(1)], value, rounding)
    if op == "Flatten":
        axis = attrs.get("axis", 1)
        axis = axis + rank if axis < 0 else axis
        y = data.reshape(math.prod(x.shape[:axis]), -1)
    elif op == "Reshape":
        y = data.reshape([x.shape[i] if s == 0 else int(s) for i, s in enumerate(constant(1))])
    elif op == "Transpose":
        y = data.transpose(attrs.get("perm", list(range(rank))[::-1]))
    elif op == "Squeeze":
        axes = attrs.get("axes", constant(1))
        y = data.reshape([s for i, s in enumerate(x.shape) if i not in {int(a) % rank for a in axes}])
    elif op == "Unsqueeze":
        axes = [int(a) for a in attrs.get("axes", constant(1))]
        y = np.expand_dims(data, tuple(axes))
    elif op == "Slice":
        starts, ends, axes, steps = (constant(i) for i in range(1, 5))
        cut = [slice(None)] * rank
        for a, s, e, t in zip(axes, starts, ends, steps, strict=True):
            # ONNX and Python agree but for an end below -length at a negative step, which is None in Python.
            cut[int(a)] = slice(int(s), None if t < 0 and e < -x.shape[int(a)] else int(e), int(t))
        y = data[tuple(cut)]
    elif op == "DepthToSpace":
        y = depth_to_space(data, attrs["blocksize"], attrs.get("mode", "DCR"))
    elif op == "SpaceToDepth":
        y = space_to_depth(data, attrs["blocksize"])
    elif op == "Expand":
        y = np.broadcast_to(data, np.broadcast_shapes(x.shape, tuple(int(s) for s in constant(1))))
    elif op == "Tile":
        y = np.tile(data, [int(r) for r in constant(1)])
    elif op == "Gather":
        y = data.take(constant(1), attrs.get("axis", 0))
    elif op == "Split":
        cuts = list(itertools.accumulate(int(s) for s in attrs.get("split", constant(1))))[:-1]
        return [Codes(part, x.fmt) for part in np.split(data, cuts, attrs.get("axis", 0))]
    else:
        raise Ambiguous(op)
    return Codes(y, x.fmt)
