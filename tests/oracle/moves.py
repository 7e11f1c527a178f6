"""Operators that only move or clip codes."""

from __future__ import annotations

import numpy as np

from .codes import Codes, object_array, quantize_value


def clip(x: Codes, low: float | None, high: float | None, rounding: str) -> Codes:
    lo = x.fmt.low if low is None else quantize_value(low, x.fmt, rounding)
    hi = x.fmt.high if high is None else quantize_value(high, x.fmt, rounding)
    y = object_array(x.shape)
    for i in np.ndindex(x.shape):
        y[i] = min(max(x.exact()[i], lo), hi)
    return Codes(y, x.fmt)


def pad(x: Codes, pads, value: float, rounding: str) -> Codes:
    rank = len(x.shape)
    code = quantize_value(value, x.fmt, rounding)
    y = object_array(tuple(s + pads[d] + pads[d + rank] for d, s in enumerate(x.shape)))
    for i in np.ndindex(y.shape):
        at = [j - pads[d] for d, j in enumerate(i)]
        inside = all(0 <= p < s for p, s in zip(at, x.shape, strict=True))
        y[i] = x.exact()[tuple(at)] if inside else code
    return Codes(y, x.fmt)


def depth_to_space(data: np.ndarray, block: int, mode: str) -> np.ndarray:
    b, c, h, w = data.shape
    depth = c // (block * block)
    y = object_array((b, depth, h * block, w * block))
    for n, d, i, j in np.ndindex(y.shape):
        inner = (i % block) * block + j % block
        channel = inner * depth + d if mode == "DCR" else d * block * block + inner
        y[n, d, i, j] = data[n, channel, i // block, j // block]
    return y


def space_to_depth(data: np.ndarray, block: int) -> np.ndarray:
    b, c, h, w = data.shape
    y = object_array((b, c * block * block, h // block, w // block))
    for n, d, i, j in np.ndindex(y.shape):
        inner, channel = divmod(d, c)
        y[n, d, i, j] = data[n, channel, i * block + inner // block, j * block + inner % block]
    return y
