import itertools

import numpy as np
import pytest
import torch
from model.contrib.cases import Draws, RuntimeCase, each, refused

from qengine.errors import ModelError, UnsupportedError

DRAWS = Draws(4)
real, codes = DRAWS.real, DRAWS.codes


ACTIVATIONS = {
    "Relu": [],
    "Tanh": [],
    "Sigmoid": [],
    "HardSwish": [],
    "LeakyRelu": [0.2],
    "HardSigmoid": [0.3, 0.4],
    "Clip": [-0.5, 0.7],
}


def conv(activation, numbers):
    given = {"activation": activation, **({"activation_params": numbers} if numbers else {})}
    x, w, b, z = real(1, 4, 7, 6), real(6, 4, 3, 3), real(6), real(1, 6, 5, 4)
    return [
        RuntimeCase("FusedConv", (x, w, b), {**given, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 1, 0]}),
        RuntimeCase("FusedConv", (x, w, b, z), given),
        RuntimeCase("FusedConv", (x, w, None, z), given),
    ]


def gemm(activation, *numbers):
    given = dict(zip(("activation_alpha", "activation_beta"), numbers, strict=False))
    attributes = {"activation": activation, "transB": 1, "alpha": 0.5, "beta": 2.0, **given}
    return RuntimeCase("FusedGemm", (real(3, 4), real(5, 4), real(5)), attributes)


def before(x, matrix, batch):
    """Return the array whose transposition is x."""
    x = np.swapaxes(x, -1, -2) if matrix else x
    return np.ascontiguousarray(np.moveaxis(x, -2, 0) if batch else x)


def matmul(of_a, of_b):
    flags = {"transA": of_a[0], "transBatchA": of_a[1], "transB": of_b[0], "transBatchB": of_b[1]}
    a, b = before(real(2, 3, 4, 5), *of_a), before(real(2, 3, 5, 6), *of_b)
    return RuntimeCase("FusedMatMul", (a, b), {**flags, "alpha": 0.3})


def nbits(bits, k, n, block_size, zero_points):
    blocks = -(-k // block_size)
    packed = codes(np.uint8, n, blocks, block_size * bits // 8)
    scales = np.abs(real(n, blocks))
    zeros = {
        "none": None,
        "packed": codes(np.uint8, n, -(-blocks * bits // 8)),
        "real": np.float32(np.random.default_rng(1).integers(0, 15, (n, blocks))),
    }[zero_points]
    inputs = [real(2, 3, k), packed, scales, zeros, None, real(n)]
    sizes = {"K": k, "N": n, "bits": bits, "block_size": block_size}
    constants = (1, 2, 5) if zeros is None else (1, 2, 3, 5)
    return RuntimeCase("MatMulNBits", tuple(inputs), sizes, constants=constants, rtol=1e-4, atol=1e-4)


def nhwc(operator):
    x, w, b, z = real(1, 5, 6, 4), real(8, 2, 3, 3), real(8), real(1, 5, 6, 8)
    y = torch.conv2d(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(w), torch.tensor(b), padding=1, groups=2)
    y = y.numpy().transpose(0, 2, 3, 1)
    attributes = {"pads": [1, 1, 1, 1], "group": 2}
    if operator == "NhwcConv":
        return RuntimeCase(operator, (x, w, b), attributes, expected=(y,))
    return RuntimeCase(operator, (x, w, b, z), {**attributes, "activation": "Relu"}, expected=(np.maximum(y + z, 0),))


CASES = [
    *(case for name, numbers in ACTIVATIONS.items() for case in conv(name, numbers)),
    RuntimeCase("FusedConv", (real(1, 4, 9), real(6, 2, 3)), {"group": 2, "auto_pad": "SAME_UPPER"}),
    gemm("Relu"),
    gemm("Tanh"),
    gemm("LeakyRelu", 0.3),
    gemm("HardSigmoid", 0.3, 0.4),
    RuntimeCase("FusedGemm", (real(4, 3), real(4, 5)), {"transA": 1, "activation": "Sigmoid"}),
    *(
        matmul(of_a, of_b)
        for of_a, of_b in itertools.product(itertools.product((0, 1), repeat=2), repeat=2)
    ),
    RuntimeCase("FusedMatMul", (real(4), real(4, 5)), {"transA": 1}),
    RuntimeCase("FusedMatMul", (real(3, 4), real(4)), {"transB": 1, "alpha": 2.0}),
    RuntimeCase("FusedMatMul", (real(3, 4).astype(np.float64), real(4, 5).astype(np.float64)), {"alpha": 0.5}),
    RuntimeCase("TransposeMatMul", (real(2, 4, 3), real(2, 5, 4)), {"transA": 1, "transB": 1, "alpha": 2.0}),
    RuntimeCase("MatMulInteger16", (codes(np.int16, 3, 4) // 8, codes(np.int16, 4, 5) // 8)),
    nbits(4, 32, 5, 16, "packed"),
    nbits(4, 40, 3, 32, "none"),
    nbits(8, 32, 4, 16, "packed"),
    nbits(2, 48, 3, 16, "packed"),
    nbits(4, 48, 3, 16, "real"),
    nhwc("NhwcConv"),
    nhwc("NhwcFusedConv"),
    *(
        RuntimeCase("NhwcMaxPool", (codes(dtype, *shape),), attributes)
        for dtype in (np.uint8, np.int8)
        for shape, attributes in (
            ((1, 6, 7, 4), {"kernel_shape": [2, 2]}),
            ((1, 6, 7, 4), {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2], "ceil_mode": 1}),
            ((1, 6, 7, 4), {"kernel_shape": [2, 3], "dilations": [1, 2]}),
            ((1, 6, 4), {"kernel_shape": [2], "auto_pad": "SAME_UPPER"}),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def test_a_stack_of_matrices_and_a_vector():
    # ONNX Runtime takes the matrices for one without the transposition.
    a, b = real(2, 4, 3), real(4)
    RuntimeCase("FusedMatMul", (a, b), {"transA": 1}, expected=(np.swapaxes(a, 1, 2) @ b,)).check()


def test_weights_that_do_not_fit_are_refused():
    whole = nbits(4, 32, 5, 16, "packed")
    refused(
        RuntimeCase("MatMulNBits", whole.inputs, whole.attributes, constants=()), "constant", error=UnsupportedError
    )
    for change, word in (({"K": 48}, "48"), ({"bits": 3}, "3 bits"), ({"block_size": 24}, "24"), ({"N": 0}, "0 x 32")):
        case = RuntimeCase("MatMulNBits", whole.inputs, whole.attributes | change, constants=whole.constants)
        refused(case, word, error=ModelError)
    refused(RuntimeCase("FusedMatMul", (real(4), real(4, 5)), {"transBatchA": 1}), "1 axes", error=ModelError)
