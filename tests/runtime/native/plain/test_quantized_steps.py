"""Linear steps between quantized tensors on native kernels, against sums of integers and the reference in float32."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, both
from runtime.native.plain.test_integer_products import codes

from qengine import InferenceSession

U, S = np.uint8, np.int8
f32 = np.float32
X_SCALE, Y_SCALE = f32(0.021), f32(0.83)


class Model:
    """DequantizeLinear, a linear operator and QuantizeLinear, and the same on integers."""

    def __init__(self, operator, x, w, *, axis=0, by_channel=False, w_zero=0, bias=False, relu=False, **attributes):
        channels = w.shape[axis]
        rng = np.random.default_rng(channels)
        self.x_zero, self.y_zero = x.dtype.type(7), x.dtype.type(20)
        scale = (0.01 * (1 + rng.random(channels if by_channel else ()))).astype(f32)
        zero = np.full(scale.shape, w_zero, w.dtype)
        nodes = [
            ("DequantizeLinear", "q xs xz", "x"),
            ("DequantizeLinear", "w ws wz", "wr", {"axis": axis}),
            (operator, "x wr" + (" br" if bias else ""), "real", attributes),
            *([("Relu", "real", "bounded")] if relu else []),
            ("QuantizeLinear", f"{'bounded' if relu else 'real'} ys yz", "y"),
        ]
        constants = {
            "xs": X_SCALE,
            "xz": self.x_zero,
            "w": w,
            "ws": scale,
            "wz": zero,
            "ys": Y_SCALE,
            "yz": self.y_zero,
        }
        self.bias = None
        if bias:
            self.bias = rng.integers(-3000, 3000, channels).astype(np.int32)
            constants |= {"b": self.bias, "bs": (X_SCALE * scale).astype(f32)}
            nodes.insert(2, ("DequantizeLinear", "b bs", "br", {"axis": 0}))
        self.nodes, self.constants, self.feeds, self.relu = nodes, constants, {"q": x}, relu
        self.scale, self.w_zero, self.axis = scale, w_zero, axis

    def bytes(self, outputs=("y",), extra=()):
        (x,) = self.feeds.values()
        inputs = {"q": (x.dtype, list(x.shape))}
        return network([*self.nodes, *extra], inputs=inputs, constants=self.constants, outputs=outputs, opset=17)

    def expected(self):
        """Return the integers of the exact sums."""
        (x,), node = self.feeds.values(), next(n for n in self.nodes if n[0] not in ("DequantizeLinear",))
        integers = network(
            [
                ("Cast", "q", "qi", {"to": 11}), ("Sub", "qi xz", "x"),
                (node[0], "x w" + (" b" if self.bias is not None else ""), "sums", node[3]),
            ],
            inputs={"q": (x.dtype, list(x.shape))},
            constants={
                "xz": np.float64(self.x_zero), "w": self.constants["w"].astype(np.float64) - self.w_zero,
                **({} if self.bias is None else {"b": self.bias.astype(np.float64)}),
            },
            outputs=["sums"],
        )  # fmt: skip
        (sums,) = InferenceSession(integers, isa="reference").run(None, self.feeds)
        factors = X_SCALE * self.scale / Y_SCALE
        if factors.ndim:
            axis = 1 if node[0] == "Conv" else -1
            factors = factors.reshape([-1 if i == axis % sums.ndim else 1 for i in range(sums.ndim)])
        y = np.rint(sums.astype(f32) * factors.astype(f32)) + f32(self.y_zero)
        limits = np.iinfo(self.y_zero.dtype)
        return np.clip(y, self.y_zero if self.relu else limits.min, limits.max).astype(self.y_zero.dtype)


JOINED = {
    "a convolution": Model("Conv", codes(U, 2, 3, 9, 8), codes(S, 20, 3, 3, 2), pads=[1, 0, 1, 1], strides=[1, 2]),
    "by channels": Model("Conv", codes(S, 2, 3, 9, 8), codes(S, 20, 3, 3, 2), by_channel=True, bias=True, relu=True),
    "groups": Model("Conv", codes(U, 1, 8, 9, 8), codes(S, 8, 1, 3, 3), by_channel=True, group=8, pads=[1, 1, 1, 1]),
    "one axis": Model("Conv", codes(U, 1, 3, 40), codes(S, 4, 3, 5), bias=True, dilations=[2]),
    "a matrix": Model("MatMul", codes(U, 2, 9, 37), codes(S, 37, 21), axis=1, by_channel=True),
    "a signed matrix": Model("MatMul", codes(S, 40, 64), codes(S, 64, 50), axis=1),
    "Gemm": Model("Gemm", codes(U, 5, 36), codes(S, 24, 36), transB=1, bias=True, relu=True, by_channel=True),
    "a zero point": Model("Gemm", codes(U, 5, 36), codes(U, 36, 24) // 2, axis=1, w_zero=60, bias=True),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("model", JOINED.values(), ids=JOINED.keys())
def test_sums_are_exact(model, isa):
    (got,), (reference,), kernels = both(model.bytes(), model.feeds, isa)
    assert "rescale" in kernels
    assert not {"quantize", "dequantize"}.intersection(kernels), kernels
    np.testing.assert_array_equal(got, model.expected())
    differs = np.abs(got.astype(int) - reference)
    assert differs.max() <= 1
    assert np.count_nonzero(differs) <= 0.01 * differs.size


ONE = Model("MatMul", codes(U, 5, 36), codes(S, 36, 24), axis=1)
APART = {
    "the product is an output": ONE.bytes(("y", "real")),
    "another operator reads the product": ONE.bytes(("y", "z"), [("Neg", "real", "z")]),
    "zero points beyond bytes": Model("MatMul", codes(U, 5, 36), codes(U, 36, 24), axis=1, w_zero=100).bytes(),
    "scales of rows": Model("MatMul", codes(U, 5, 36), codes(S, 36, 24), axis=0, by_channel=True).bytes(),
    "sums beyond 32 bits": Model("MatMul", codes(U, 5, 70_000), np.full((70_000, 1), 127, S), axis=1).bytes(),
}


@pytest.mark.parametrize("name", APART)
def test_other_steps_stay_apart(name):
    x = codes(U, 5, 70_000) if name == "sums beyond 32 bits" else codes(U, 5, 36)
    got, want, kernels = both(APART[name], {"q": x}, ISAS[0])
    assert "rescale" not in kernels
    for a, b in zip(got, want, strict=True):
        if a.dtype == U:
            assert np.abs(a.astype(int) - b).max() <= 1
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_another_reader_of_the_input_gets_real_numbers():
    got, want, kernels = both(ONE.bytes(("y", "z"), [("Neg", "x", "z")]), ONE.feeds, ISAS[0])
    assert {"rescale", "dequantize"} <= set(kernels)
    np.testing.assert_array_equal(got[0], ONE.expected())
    np.testing.assert_array_equal(got[1], want[1])
