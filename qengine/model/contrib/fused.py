"""Linear operators with an activation, an addition or a transposition in them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.contrib.activations import activated
from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.ops.operator import Floats, Ints


@dataclass(frozen=True)
class ConvAttributes:
    """The attributes of Conv."""

    auto_pad: str | None = None
    dilations: Ints | None = None
    group: int = 1
    kernel_shape: Ints | None = None
    pads: Ints | None = None
    strides: Ints | None = None


@dataclass(frozen=True)
class PoolAttributes:
    """The attributes of every kind of pool."""

    kernel_shape: Ints
    auto_pad: str | None = None
    ceil_mode: int = 0
    pads: Ints | None = None
    strides: Ints | None = None

    def __post_init__(self) -> None:
        if self.ceil_mode not in (0, 1):
            raise ModelError(f"ceil_mode is {self.ceil_mode}; 0 or 1 is needed")


@dataclass(frozen=True)
class _Activation:
    """The activation after a convolution, and its numbers."""

    activation: str = ""
    activation_params: Floats = ()


@expansion("FusedConv")
def fused_conv(
    builder: Builder,
    x: str,
    w: str,
    b: str | None = None,
    z: str | None = None,
    *,
    window: ConvAttributes,
    last: _Activation,
) -> str:
    """Conv, plus z, then an activation."""
    y = builder.op("Conv", x, w, b, **asdict(window))
    if z:
        y = builder.op("Add", y, z)
    return activated(builder, y, last.activation, last.activation_params)


@expansion("NhwcFusedConv", "NhwcConv")
def nhwc_fused_conv(
    builder: Builder,
    x: str,
    w: str,
    b: str | None = None,
    z: str | None = None,
    *,
    window: ConvAttributes,
    last: _Activation,
) -> str:
    """FusedConv of a tensor whose channels are the last axis; the weights are those of Conv."""
    rank = builder.rank(w)
    image, added = (channels_first(builder, one, rank) if one else None for one in (x, z))
    return channels_last(builder, fused_conv(builder, image or x, w, b, added, window=window, last=last), rank)


@expansion("NhwcMaxPool")
def nhwc_max_pool(builder: Builder, x: str, *, pool: PoolAttributes, dilations: Ints | None = None) -> str:
    """MaxPool of a tensor whose channels are the last axis."""
    rank = len(pool.kernel_shape) + 2
    inner = channels_first(builder, x, rank)
    return channels_last(builder, builder.op("MaxPool", inner, dilations=dilations, **asdict(pool)), rank)


def channels_first(builder: Builder, x: str, rank: int) -> str:
    """Add the transposition of a tensor whose channels are the last of `rank` axes."""
    return builder.op("Transpose", x, perm=(0, rank - 1, *range(1, rank - 1)))


def channels_last(builder: Builder, x: str, rank: int) -> str:
    """Add the transposition of a tensor whose channels are the second of `rank` axes."""
    return builder.op("Transpose", x, perm=(0, *range(2, rank), 1))


@dataclass(frozen=True)
class _GemmActivation:
    """The activation after a product of matrices, and its numbers; none that is fused has a third."""

    activation: str = ""
    activation_alpha: float | None = None
    activation_beta: float | None = None
    activation_gamma: float | None = None

    @property
    def numbers(self) -> Floats:
        """The numbers that are given."""
        return tuple(n for n in (self.activation_alpha, self.activation_beta) if n is not None)


@dataclass(frozen=True)
class GemmAttributes:
    """The attributes of every kind of Gemm."""

    alpha: float = 1.0
    transA: int = 0  # noqa: N815 - ONNX's name
    transB: int = 0  # noqa: N815 - ONNX's name


@expansion("FusedGemm")
def fused_gemm(
    builder: Builder,
    a: str,
    b: str,
    c: str | None = None,
    *,
    beta: float = 1.0,
    gemm: GemmAttributes,
    last: _GemmActivation,
) -> str:
    """Gemm, then an activation."""
    y = builder.op("Gemm", a, b, c, beta=beta, **asdict(gemm))
    return activated(builder, y, last.activation, last.numbers)


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
    """Add the transposition of a factor of FusedMatMul, except for a vector.

    `batch` moves the first axis to the place before the last, `matrix` then swaps the last two.
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


@dataclass(frozen=True)
class _Blocks:
    """The attributes of weights that are stored in blocks."""

    K: int
    N: int
    block_size: int
    bits: int = 4
    accuracy_level: int = 0  # how coarsely a kernel may compute
    weight_prepacked: int = 0

    def __post_init__(self) -> None:
        if self.bits not in (2, 4, 8) or self.block_size < 16 or self.block_size & (self.block_size - 1):
            raise ModelError(f"has {self.bits} bits in blocks of {self.block_size}, which no model may have")
        if min(self.K, self.N) < 1:
            raise ModelError(f"has {self.N} x {self.K} weights; N and K must be positive")


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
    stored: _Blocks,
) -> str:
    """A @ transposed W, of weights that are stored in blocks of a few bits and are decoded here."""
    if stored.weight_prepacked or g_idx:
        raise UnsupportedError("has weights that were packed for one device, or g_idx; quantize the model without them")
    rows, count = stored.N, -(-stored.K // stored.block_size)
    packed = builder.known(b, "the packed matrix")
    scale = builder.known(scales, "the scales")
    if packed.dtype != np.uint8 or scale.dtype.kind != "f":
        raise ModelError(f"has {packed.dtype} weights and {scale.dtype} scales; uint8 and real numbers are needed")
    if packed.size != rows * count * stored.block_size * stored.bits // 8 or scale.size != rows * count:
        raise ModelError(f"has {packed.size} bytes and {scale.size} scales, not those of {rows} x {stored.K} weights")
    codes = _unpacked(packed.reshape(rows, count, -1), stored.bits)
    offset: Any = 1 << (stored.bits - 1)
    if zero_points:
        offset = builder.known(zero_points, "the zero points")
        if offset.dtype == np.uint8 and offset.size == rows * -(-count * stored.bits // 8):
            offset = _unpacked(offset.reshape(rows, -1), stored.bits)[:, :count]
        if offset.size != rows * count:
            raise ModelError(f"has {offset.size} zero points, not {rows * count}")
        offset = offset.reshape(rows, count, 1)
    real = (codes.astype(np.float32) - np.asarray(offset, np.float32)) * scale.reshape(rows, count, 1).astype(
        np.float32
    )
    weights = real.reshape(rows, -1)[:, : stored.K].T.astype(scale.dtype)
    y = builder.op("MatMul", a, builder.constant(np.ascontiguousarray(weights)))
    return builder.op("Add", y, bias) if bias else y


def _unpacked(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return the codes in the bytes of the last axis, the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(*packed.shape[:-1], -1)
