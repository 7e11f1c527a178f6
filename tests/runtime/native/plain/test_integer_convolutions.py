"""Convolutions of 8-bit integers on native kernels, bit for bit those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas
from runtime.native.plain.test_integer_products import codes

U, S = np.uint8, np.int8


def node(operator, arrays, computed=(), **attributes):
    """A node of arrays by name; of those, `computed` are inputs of the model."""
    given = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    feeds = {name: array for name, array in given.items() if name in computed}
    model = network(
        [(operator, " ".join(name if name in given else "-" for name in arrays), "y", attributes)],
        inputs={name: (array.dtype, list(array.shape)) for name, array in feeds.items()},
        constants={name: array for name, array in given.items() if name not in computed},
    )
    return PlainCase(model, feeds, "unpack_sums")


def conv_integer(x, w, x_zero=None, w_zero=None, **attributes):
    return node("ConvInteger", {"x": x, "w": w, "x0": x_zero, "w0": w_zero}, ("x", "x0"), **attributes)


def qlinear_conv(x, w, *, w_scale=0.03, w_zero=3, bias=False, **attributes):
    scales = np.array(w_scale, np.float32)
    arrays = {"x": x, "xs": np.float32(0.02), "x0": x.dtype.type(5), "w": w, "ws": scales}
    arrays |= {"w0": np.array(w_zero, w.dtype), "ys": np.float32(0.9), "y0": x.dtype.type(7)}
    if bias:
        arrays["b"] = np.random.default_rng(0).integers(-5000, 5000, len(w)).astype(np.int32)
    return node("QLinearConv", arrays, ("x",), **attributes)


X, W = (2, 3, 9, 8), (20, 3, 3, 2)
CASES = {
    "unsigned": conv_integer(codes(U, *X), codes(S, *W)),
    "padding": conv_integer(codes(U, *X), codes(S, *W), U(77), S(3), pads=[1, 0, 2, 1], strides=[2, 1]),
    "signed": conv_integer(codes(S, *X), codes(S, *W), S(-9), codes(S, 20), auto_pad="SAME_UPPER", strides=[2, 2]),
    "filters with zero points": conv_integer(codes(S, *X), codes(U, *W), S(-9), codes(U, 20), pads=[1, 1, 1, 1]),
    "many channels": conv_integer(codes(U, 1, 37, 5, 6), codes(U, 33, 37, 3, 3), U(9), U(120), dilations=[2, 1]),
    "tiles of channels and columns": conv_integer(
        codes(S, 1, 37, 4, 35), codes(S, 43, 37, 2, 3), S(9), pads=[1, 2, 0, 1]
    ),
    "groups": conv_integer(codes(U, 2, 4, 6, 5), codes(S, 6, 2, 3, 2), U(9), group=2),
    "groups with zero points": conv_integer(codes(U, 2, 4, 6, 5), codes(U, 6, 2, 3, 2), U(9), U(100), group=2),
    "depthwise": conv_integer(codes(U, 1, 24, 6, 5), codes(U, 24, 1, 3, 3), U(9), U(100), group=24),
    "one axis": conv_integer(codes(U, 1, 3, 40), codes(S, 4, 3, 3), U(200), strides=[2], pads=[3, 0]),
    "one column": conv_integer(
        codes(S, 2, 5, 40, 1), codes(S, 18, 5, 3, 1), S(20), strides=[2, 1], pads=[3, 0, 0, 0], dilations=[2, 1]
    ),
    "one column, groups": conv_integer(codes(U, 2, 4, 40, 1), codes(U, 6, 2, 3, 1), U(20), U(100), group=2),
    "one column, padding beside": conv_integer(codes(U, 1, 4, 9, 1), codes(S, 6, 4, 3, 1), U(20), pads=[0, 1, 0, 1]),
    "one column, requantized": qlinear_conv(codes(U, 2, 3, 40, 1), codes(S, 20, 3, 5, 1), bias=True),
    "a constant zero point": node(
        "ConvInteger", {"x": codes(U, *X), "w": codes(S, *W), "x0": U(77)}, ("x",), pads=[1, 1, 1, 1]
    ),
    "requantized": qlinear_conv(codes(U, *X), codes(S, *W)),
    "requantized with a bias": qlinear_conv(codes(S, *X), codes(S, *W), bias=True, pads=[1, 1, 1, 1]),
    "requantized by channels": qlinear_conv(
        codes(U, *X), codes(U, *W), w_scale=np.linspace(0.01, 0.2, 20), w_zero=codes(U, 20), bias=True
    ),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_same(threads):
    check(qlinear_conv(codes(U, 1, 20, 40, 40), codes(U, 40, 20, 3, 3), pads=[1, 1, 1, 1]), ISAS[0], threads)
