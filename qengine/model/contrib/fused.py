"""Linear operators with an activation, an addition or a transposition in them."""

from typing import Any

import numpy as np

from qengine.errors import ModelError
from qengine.model.contrib.activations import activated
from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.ops.operator import Floats, Ints


def _window(**given: Any) -> dict[str, Any]:
    """Return the attributes of a window that are given."""
    return {name: value for name, value in given.items() if value is not None}


@expansion("FusedConv")
def fused_conv(
    builder: Builder,
    x: str,
    w: str,
    b: str | None = None,
    z: str | None = None,
    *,
    activation: str = "",
    activation_params: Floats = (),
    auto_pad: str | None = None,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> str:
    """Conv, plus z, then an activation."""
    window = _window(
        auto_pad=auto_pad, dilations=dilations, kernel_shape=kernel_shape, pads=pads, strides=strides, group=group
    )
    y = builder.op("Conv", x, w, b or "", **window)
    if z:
        y = builder.op("Add", y, z)
    return activated(builder, y, activation, activation_params)


@expansion("NhwcFusedConv", "NhwcConv")
def nhwc_fused_conv(
    builder: Builder,
    x: str,
    w: str,
    b: str | None = None,
    z: str | None = None,
    *,
    activation: str = "",
    activation_params: Floats = (),
    auto_pad: str | None = None,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> str:
    """FusedConv of a tensor whose channels are the last axis; the weights are those of Conv."""
    rank = builder.rank(w)
    y = fused_conv(
        builder,
        channels_first(builder, x, rank),
        w,
        b,
        channels_first(builder, z, rank) if z else "",
        activation=activation,
        activation_params=activation_params,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return channels_last(builder, y, rank)


@expansion("NhwcMaxPool")
def nhwc_max_pool(
    builder: Builder,
    x: str,
    *,
    kernel_shape: Ints,
    auto_pad: str | None = None,
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> str:
    """MaxPool of a tensor whose channels are the last axis."""
    rank = len(kernel_shape) + 2
    window = _window(auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides)
    inner = channels_first(builder, x, rank)
    pooled = builder.op("MaxPool", inner, kernel_shape=kernel_shape, ceil_mode=ceil_mode, **window)
    return channels_last(builder, pooled, rank)


def channels_first(builder: Builder, x: str, rank: int) -> str:
    """Add the transposition of a tensor whose channels are the last of `rank` axes."""
    return builder.op("Transpose", x, perm=(0, rank - 1, *range(1, rank - 1)))


def channels_last(builder: Builder, x: str, rank: int) -> str:
    """Add the transposition of a tensor whose channels are the second of `rank` axes."""
    return builder.op("Transpose", x, perm=(0, *range(2, rank), 1))


@expansion("FusedGemm")
def fused_gemm(
    builder: Builder,
    a: str,
    b: str,
    c: str | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,  # of activations that ONNX Runtime does not fuse
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803 - ONNX's name
) -> str:
    """Gemm, then an activation."""
    del activation_gamma
    numbers = [activation_alpha, activation_beta]
    y = builder.op("Gemm", a, b, c or "", alpha=alpha, beta=beta, transA=transA, transB=transB)
    return activated(builder, y, activation, tuple(n for n in numbers if n is not None))


@expansion("FusedMatMul", "TransposeMatMul")
def fused_matmul(
    builder: Builder,
    a: str,
    b: str,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803 - ONNX's name
    transBatchA: int = 0,  # noqa: N803 - ONNX's name
    transBatchB: int = 0,  # noqa: N803 - ONNX's name
) -> str:
    """alpha * (A @ B), of matrices that are transposed first."""
    factors = [
        _transposed(builder, x, matrix=bool(matrix), batch=bool(batch))
        for x, matrix, batch in ((a, transA, transBatchA), (b, transB, transBatchB))
    ]
    y = builder.op("MatMul", *factors)
    return y if alpha == 1.0 else builder.op("Mul", y, builder.number(alpha, a))


def _transposed(builder: Builder, x: str, *, matrix: bool, batch: bool) -> str:
    """Add the transposition of a factor of FusedMatMul.

    `batch` moves the first axis behind the others but the last, `matrix` then swaps the last two. A vector stays.
    """
    if not (matrix or batch):
        return x
    rank = builder.rank(x)
    if rank < 2:
        if batch:
            raise ModelError(f"'{x}' has {rank} axes, and its batch cannot be transposed; it needs two or more")
        return x
    order = list(range(rank))
    if batch:
        order = [*order[1:-1], 0, order[-1]]
    if matrix:
        order[-2:] = order[:-3:-1]
    return x if order == sorted(order) else builder.op("Transpose", x, perm=tuple(order))


@expansion("MatMulInteger16")
def matmul_integer16(builder: Builder, a: str, b: str) -> str:
    """A @ B of integers of 16 bits, summed in 32."""
    whole = [builder.op("Cast", x, to=6) for x in (a, b)]
    return builder.op("MatMul", *whole)


@expansion("MatMulNBits")
def matmul_nbits(
    builder: Builder,
    a: str,
    b: str,
    scales: str,
    zero_points: str | None = None,
    g_idx: str | None = None,
    bias: str | None = None,
    *,
    K: int,  # noqa: N803 - ONNX Runtime's name
    N: int,  # noqa: N803 - ONNX Runtime's name
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> str:
    """A @ transposed W, of weights that are stored in blocks of a few bits and are decoded here."""
    del accuracy_level  # how coarsely a kernel may compute
    if weight_prepacked or g_idx:
        raise ModelError("has weights that were packed for one device, or g_idx; quantize the model again without")
    packed = builder.known(b, "the packed matrix")
    scale = builder.known(scales, "the scales")
    if bits not in (2, 4, 8) or block_size < 16 or block_size & (block_size - 1) or min(K, N) < 1:
        raise ModelError(f"has {bits} bits in blocks of {block_size} for {N} x {K} weights, which no model may have")
    blocks = -(-K // block_size)
    if packed.size != N * blocks * block_size * bits // 8 or scale.size != N * blocks:
        raise ModelError(f"has {packed.size} bytes and {scale.size} scales, not those of {N} x {K} weights")
    codes = _unpacked(packed.reshape(N, blocks, -1), bits)
    offset: Any = 1 << (bits - 1)
    if zero_points:
        given = builder.known(zero_points, "the zero points")
        if given.dtype == np.uint8:
            given = _unpacked(given.reshape(N, -1), bits)[:, :blocks]
        if given.size != N * blocks:
            raise ModelError(f"has {given.size} zero points, not {N * blocks}")
        offset = given.reshape(N, blocks, 1)
    real = (codes.astype(np.float32) - np.asarray(offset, np.float32)) * scale.reshape(N, blocks, 1).astype(np.float32)
    weights = real.reshape(N, -1)[:, :K].T.astype(scale.dtype)
    y = builder.op("MatMul", a, builder.constant(np.ascontiguousarray(weights)))
    return builder.op("Add", y, bias) if bias else y


def _unpacked(packed: Any, bits: int) -> Any:
    """Return the codes in the bytes of the last axis, the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(*packed.shape[:-1], -1)
