"""Arithmetic on several tensors, pools and reductions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .codes import Ambiguous, Codes, Fmt, Options, bring, object_array, quantize_value, scaled
from .windows import make_windows


def divide(a: Fraction, b: Fraction, fmt: Fmt, opt: Options) -> int:
    if b == 0:
        return 0 if a == 0 else quantize_value(math.copysign(math.inf, a), fmt, opt.rounding, opt.overflow)
    return opt.requantize(a / b * Fraction(2) ** fmt.n, fmt)


def arithmetic(op: str, inputs: list[Codes], fmt: Fmt, opt: Options) -> Codes:
    shape = np.broadcast_shapes(*(t.shape for t in inputs))
    spread = [np.broadcast_to(t.exact(), shape) for t in inputs]
    y = object_array(shape)
    ns = [t.fmt.n for t in inputs]
    shift = {"Mul": sum(ns), "PRelu": ns[0] + max(ns[-1], 0)}.get(op, max(ns)) - fmt.n
    aligned = opt.aligns_add and op in ("Add", "Sub", "Sum")
    if aligned:
        shift = 0
    for i in np.ndindex(shape):
        if aligned:
            own = [s[i] if t.fmt == fmt else bring(s[i], t.fmt, fmt, opt) for s, t in zip(spread, inputs, strict=True)]
            y[i] = opt.requantize(Fraction(own[0] - own[1] if op == "Sub" else sum(own)), fmt)
            continue
        values = [scaled(s[i], -t.fmt.n) for s, t in zip(spread, inputs, strict=True)]
        if op in ("Max", "Min"):
            codes = [bring(s[i], t.fmt, fmt, opt) for s, t in zip(spread, inputs, strict=True)]
            y[i] = max(codes) if op == "Max" else min(codes)
        elif op == "Div":
            y[i] = divide(*values, fmt, opt)
        else:
            if op in ("Add", "Sum"):
                v = sum(values)
            elif op == "PRelu":
                v = values[0] if values[0] >= 0 else values[0] * values[1]
            elif op == "Sub":
                v = values[0] - values[1]
            else:
                v = values[0] * values[1]
            y[i] = opt.requantize(scaled(v, fmt.n), fmt, shift)
    return Codes(y, fmt)


def concat(inputs: list[Codes], axis: int, fmt: Fmt, opt: Options) -> Codes:
    parts = []
    for t in inputs:
        part = object_array(t.shape)
        for i in np.ndindex(t.shape):
            part[i] = bring(t.exact()[i], t.fmt, fmt, opt)
        parts.append(part)
    return Codes(np.concatenate(parts, axis), fmt)


def max_pool(x: Codes, attrs: dict) -> Codes:
    win = make_windows(x.shape, attrs["kernel_shape"], attrs)
    data = x.exact()
    y = object_array((*x.shape[:2], *win.out))
    for b, c, *at in np.ndindex(y.shape):
        read = [data[(b, c, *p)] for _, p in win.positions(at) if win.inside(p)]
        if not read:
            raise Ambiguous("a window that holds padding only")
        y[(b, c, *at)] = max(read)
    return Codes(y, x.fmt)


def mean_code(total: int, count: int, x: Fmt, fmt: Fmt, opt: Options) -> int:
    return opt.requantize(scaled(Fraction(total, count), fmt.n - x.n), fmt)


def average_pool(x: Codes, attrs: dict, fmt: Fmt, opt: Options) -> Codes:
    win = make_windows(x.shape, attrs["kernel_shape"], attrs)
    data = x.exact()
    y = object_array((*x.shape[:2], *win.out))
    for b, c, *at in np.ndindex(y.shape):
        read = [p for _, p in win.positions(at)]
        total = sum(data[(b, c, *p)] for p in read if win.inside(p))
        pads = attrs.get("count_include_pad", 0) if opt.counts_pads is None else opt.counts_pads
        counted = win.inside_padded if pads else win.inside
        count = sum(counted(p) for p in read)
        if not any(win.inside(p) for p in read):
            raise Ambiguous("a window that holds padding only")
        y[(b, c, *at)] = mean_code(total, count, x.fmt, fmt, opt)
    return Codes(y, fmt)


def reduce(x: Codes, axes, keepdims: int, mean: bool, fmt: Fmt, opt: Options) -> Codes:
    rank = len(x.shape)
    axes = {a % rank for a in axes} if axes is not None else set(range(rank))
    kept = tuple(1 if a in axes else size for a, size in enumerate(x.shape))
    groups: dict[tuple, list[int]] = {}
    data = x.exact()
    for i in np.ndindex(x.shape):
        groups.setdefault(tuple(0 if a in axes else j for a, j in enumerate(i)), []).append(data[i])
    y = object_array(kept)
    for i, codes in groups.items():
        y[i] = mean_code(sum(codes), len(codes) if mean else 1, x.fmt, fmt, opt)
    if not keepdims:
        y = y.reshape([size for a, size in enumerate(kept) if a not in axes])
    return Codes(y, fmt)
