"""Real numbers and integers of quantized models, on native kernels, bit for bit those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas

from qengine import InferenceSession
from qengine.errors import ModelError

f32 = np.float32


def numbers(shape, size=1.0, offset=0.3):
    return (size * (np.random.default_rng(len(shape)).normal(size=shape) + offset)).astype(f32)


def dynamic(x):
    model = network([("DynamicQuantizeLinear", "x", "y s z")], inputs={"x": list(x.shape)}, outputs=("y", "s", "z"))
    return PlainCase(model, {"x": x}, "quantize")


def convert(operator, x, scale, zero=None, *, axis=1, kernel=None, others=()):
    """QuantizeLinear or DequantizeLinear, and `others`: nodes that keep passes from reading integers as codes."""
    names, constants = "x s", {"s": np.asarray(scale, f32), "odd": f32(0.3)}
    if zero is not None:
        dtype = x.dtype if x.dtype.kind in "iu" else zero.dtype
        names, constants = "x s z", {**constants, "z": np.asarray(zero, dtype)}
    outputs = ["y", *(node[2] for node in others)]
    model = network(
        [(operator, names, "y", {"axis": axis}), *others],
        inputs={"x": (x.dtype, list(x.shape))},
        constants=constants,
        outputs=outputs,
        opset=21,
    )
    return PlainCase(model, {"x": x}, kernel or operator.removesuffix("Linear").lower())


def quantize(dtype, shape, scale, zero=None, *, special=(np.nan, np.inf, -np.inf, 1e30, 0.5, 1.5), **options):
    x = numbers(shape, 40.0)
    x.reshape(-1)[: len(special)] = special
    return convert("QuantizeLinear", x, scale, None if zero is None else np.array(zero, dtype), **options)


def dequantize(dtype, shape, scale, zero=None, **options):
    limits = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return convert("DequantizeLinear", x, scale, zero, **options)


SCALES = [0.1, 0.7, 1.3, 0.02, 3.0]
CASES = {
    **{f"range of {list(shape)} times {size}": dynamic(numbers(shape, size)) for shape, size in (
        ((5,), 1.0), ((3, 1000), 1e-3), ((7, 4097), 1.0), ((2, 3), 1e38), ((4,), 1e-44), ((), 1.0),
    )},
    "range of zeros": dynamic(np.zeros((3, 5), f32)),
    "range of positive numbers": dynamic(numbers((40,), 0.1, 9.0)),
    "range of negative numbers": dynamic(numbers((40,), 0.1, -9.0)),
    "quantize to uint8": quantize(np.uint8, (3, 50), 0.3, 100),
    "quantize to uint8 by default": quantize(np.uint8, (3, 50), 0.3),
    "quantize to int8": quantize(np.int8, (9000,), 0.3, -7, axis=0),
    "quantize to int16": quantize(np.int16, (3, 50), 0.003, 1000),
    "quantize to uint16": quantize(np.uint16, (3, 50), 0.003, 40000),
    "quantize by a power of two": quantize(
        np.int8, (3, 50), 0.25, 0, special=(np.inf, -np.inf, 1e30), others=[("QuantizeLinear", "x odd", "o")]
    ),
    "codes as integers": quantize(np.uint8, (3, 50), 0.25, 128, special=(np.inf,), kernel="add"),
    "quantize channels": quantize(np.int8, (2, 5, 3, 11), SCALES, [0, 3, -5, 7, 100]),
    "quantize columns": quantize(np.uint8, (7, 5), SCALES, [0, 3, 5, 7, 100], axis=-1),
    "quantize rows": quantize(np.uint8, (5, 37), SCALES, [0, 3, 5, 7, 100], axis=0),
    "dequantize uint8": dequantize(np.uint8, (3, 50), 0.3, 100),
    "dequantize int8": dequantize(np.int8, (9000,), 0.3, -7, axis=0),
    "dequantize int32": dequantize(np.int32, (3, 50), 0.3),
    "dequantize uint16": dequantize(np.uint16, (3, 50), 0.3, 40000),
    "dequantize int16": dequantize(np.int16, (3, 50), 0.3, 4),
    "dequantize by a power of two": dequantize(
        np.uint8, (3, 50), 0.25, 128, others=[("DequantizeLinear", "x odd", "o")]
    ),
    "integers as codes": dequantize(np.uint8, (3, 50), 0.25, 128, kernel="subtract"),
    "dequantize channels": dequantize(np.int8, (2, 5, 3, 11), SCALES, [0, 3, -5, 7, 100]),
    "dequantize columns": dequantize(np.uint8, (7, 5), SCALES, [0, 3, 5, 7, 100], axis=-1),
}  # fmt: skip


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_same(threads):
    check(dynamic(numbers((11, 9000))), ISAS[0], threads)
    check(quantize(np.int8, (20, 5, 300), SCALES, [0, 3, -5, 7, 100]), ISAS[0], threads)


@pytest.mark.parametrize("isa", [*ISAS, "reference"])
@pytest.mark.parametrize("place", [0, 4999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_has_no_range_is_an_error(value, place, isa):
    model, feeds, *_ = dynamic(numbers((5000,)))
    feeds["x"][place] = value
    with pytest.raises(ModelError, match=r"the_y.*x holds NaN or infinity, which has no scale"):
        InferenceSession(model, isa=isa).run(None, feeds)
