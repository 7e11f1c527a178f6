"""Conv, Gemm, MatMul, and BatchNormalization, folded or alone."""

from __future__ import annotations

import math

import numpy as np

from .codes import Ambiguous, Codes, Fmt, Options, bias_code, finish, object_array, quantize_weights, total
from .windows import make_windows


def n_of(formats: list[Fmt], channel: int) -> int:
    return formats[channel if len(formats) > 1 else 0].n


def bias_of(bias, channel: int, n_acc: int, opt: Options) -> int:
    if bias is None:
        return 0
    n = n_acc if opt.accumulator_n is None else opt.accumulator_n
    return bias_code(bias[channel], min(n, n_acc), opt, bias) * 2 ** max(n - n_acc, 0)


def in_order(terms: list[tuple], opt: Options) -> list[int]:
    """Products, each with its place (channel, then the kernel's axes), in the order of the accumulator."""
    if opt.order == "channels_last":
        terms = sorted(terms, key=lambda term: (*term[0][1:], term[0][0]))
    return [product for _, product in terms]


def conv(x: Codes, weight, bias, attrs: dict, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    w = quantize_weights(weight, formats, 0, opt)
    out_channels, per_group = w.shape[:2]
    groups = attrs.get("group", 1)
    win = make_windows(x.shape, w.shape[2:], attrs)
    data = x.exact()
    y = object_array((x.shape[0], out_channels, *win.out))
    for b, m, *at in np.ndindex(y.shape):
        n_acc = x.fmt.n + n_of(formats, m)
        first = (m // (out_channels // groups)) * per_group
        terms = [
            ((c, *k), data[(b, first + c, *position)] * w[(m, c, *k)])
            for c in range(per_group)
            for k, position in win.positions(at)
            if win.inside(position)
        ]
        acc, n = total(in_order(terms, opt), bias_of(bias, m, n_acc, opt), n_acc, opt)
        y[(b, m, *at)] = finish(acc, n, fmt, opt)
    return Codes(y, fmt)


def gemm(x: Codes, weight, bias, attrs: dict, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    if attrs.get("alpha", 1.0) != 1.0 or attrs.get("beta", 1.0) != 1.0 or attrs.get("transA", 0):
        raise Ambiguous("an option of Gemm that this model leaves out")
    trans_b = attrs.get("transB", 0)
    w = quantize_weights(weight, formats, 0 if trans_b else 1, opt)
    data = x.exact()
    if trans_b:
        w = w.T
    rows, depth = data.shape
    columns = w.shape[1]
    full_bias = None if bias is None else np.broadcast_to(bias, (rows, columns))
    y = object_array((rows, columns))
    for i, j in np.ndindex(rows, columns):
        n_acc = x.fmt.n + n_of(formats, j)
        own = None if full_bias is None else full_bias[i]
        terms = [data[i, k] * w[k, j] for k in range(depth)]
        acc, n = total(terms, bias_of(own, j, n_acc, opt), n_acc, opt)
        y[i, j] = finish(acc, n, fmt, opt)
    return Codes(y, fmt)


def matmul(x: Codes, weight, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    w = quantize_weights(weight, formats, 1, opt)
    data = x.exact()
    y = object_array((*x.shape[:-1], w.shape[1]))
    for *row, j in np.ndindex(y.shape):
        terms = [data[(*row, k)] * w[k, j] for k in range(w.shape[0])]
        acc, n = total(terms, 0, x.fmt.n + n_of(formats, j), opt)
        y[(*row, j)] = finish(acc, n, fmt, opt)
    return Codes(y, fmt)


def batchnorm_scale(gamma, var, eps: float) -> list[float]:
    """gamma / sqrt(var + eps), in float64."""
    return [float(g) / math.sqrt(float(v) + eps) for g, v in zip(gamma, var, strict=True)]


def batchnorm_constants(gamma, beta, mean, var, eps: float):
    """The scale and the shift of a BatchNormalization that stands alone."""
    scale = batchnorm_scale(gamma, var, eps)
    shift = [float(b) - float(m) * s for b, m, s in zip(beta, mean, scale, strict=True)]
    return np.array(scale).astype(np.float32), np.array(shift).astype(np.float32)


def fold_batchnorm(weight, bias, gamma, beta, mean, var, eps: float):
    """The weights and the bias of a Conv that has taken the BatchNormalization after it."""
    scale = batchnorm_scale(gamma, var, eps)
    folded = np.empty(weight.shape, np.float32)
    for i in np.ndindex(weight.shape):
        folded[i] = np.float32(float(weight[i]) * scale[i[0]])
    old = [0.0] * len(scale) if bias is None else [float(b) for b in bias]
    rows = zip(old, mean, scale, beta, strict=True)
    return folded, np.array([(b - float(m)) * s + float(be) for b, m, s, be in rows]).astype(np.float32)


def batchnorm(x: Codes, scale, shift, formats: list[Fmt], fmt: Fmt, opt: Options) -> Codes:
    w = quantize_weights(scale, formats, 0, opt)
    data = x.exact()
    y = object_array(x.shape)
    for i in np.ndindex(x.shape):
        c = i[1]
        n_acc = x.fmt.n + n_of(formats, c)
        acc, n = total([data[i] * w[c]], bias_of(shift, c, n_acc, opt), n_acc, opt)
        y[i] = finish(acc, n, fmt, opt)
    return Codes(y, fmt)
