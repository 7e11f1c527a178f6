"""The largest value of windows of elements of any type, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas


def pool(dtype, shape, kernel, **attributes):
    rng = np.random.default_rng(len(shape))
    x = rng.uniform(0, 100, shape).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x.reshape(-1)[3] = np.nan
    node = ("MaxPool", "x", "y", {"kernel_shape": kernel, **attributes})
    return PlainCase(network([node], inputs={"x": (dtype, list(shape))}, opset=22), {"x": x}, "plain_max")


CASES = {
    "int8": pool(np.int8, (2, 3, 9, 37), [3, 3], pads=[1, 1, 1, 1]),
    "uint8, strides": pool(np.uint8, (2, 3, 9, 37), [2, 3], strides=[2, 2], pads=[1, 0, 0, 2]),
    "int8, dilations": pool(np.int8, (1, 2, 9, 8), [3, 2], dilations=[2, 3], strides=[1, 3]),
    "int8, windows without elements": pool(np.int8, (1, 2, 4, 3), [1, 2], pads=[0, 4, 0, 4], dilations=[1, 4]),
    "uint8, one axis": pool(np.uint8, (2, 3, 70), [4], strides=[3], ceil_mode=1),
    "float64": pool(np.float64, (1, 3, 9, 7), [3, 3], strides=[2, 2]),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_same(threads):
    check(pool(np.int8, (2, 30, 19, 37), [3, 3], pads=[1, 1, 1, 1]), ISAS[0], threads)
