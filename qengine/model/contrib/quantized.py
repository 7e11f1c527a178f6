"""Products of integers with a scale, and quantized operators that are not in the table of `qlinear`."""

from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.ops.operator import Ints


@expansion("DynamicQuantizeMatMul")
def dynamic_quantize_matmul(
    builder: Builder, a: str, b: str, b_scale: str, b_zero_point: str | None = None, bias: str | None = None
) -> str:
    """A @ B of quantized B and of A, which is quantized as its range demands."""
    codes, scale, zero_point = builder.ops(3, "DynamicQuantizeLinear", a)
    return _scaled_product(builder, (codes, b, zero_point, b_zero_point or ""), scale, b_scale, bias)


@expansion("MatMulIntegerToFloat")
def matmul_integer_to_float(
    builder: Builder,
    a: str,
    b: str,
    a_scale: str,
    b_scale: str,
    a_zero_point: str | None = None,
    b_zero_point: str | None = None,
    bias: str | None = None,
) -> str:
    """A @ B of quantized tensors as real numbers, plus a bias."""
    return _scaled_product(builder, (a, b, a_zero_point or "", b_zero_point or ""), a_scale, b_scale, bias)


def _scaled_product(
    builder: Builder, operands: tuple[str, str, str, str], a_scale: str, b_scale: str, bias: str | None
) -> str:
    sums = builder.op("CastLike", builder.op("MatMulInteger", *operands), b_scale, since=15)
    y = builder.op("Mul", sums, builder.op("Mul", a_scale, b_scale))
    return builder.op("Add", y, bias) if bias else y


@expansion("MulInteger")
def mul_integer(
    builder: Builder,
    a: str,
    a_zero_point: str | None = None,
    b: str | None = None,
    b_zero_point: str | None = None,
) -> str:
    """(A - zero point) * (B - zero point) in int32."""
    builder.needs(B=b)
    factors = []
    for x, zero_point in ((a, a_zero_point), (b, b_zero_point)):
        whole = builder.op("Cast", x, to=6)
        factors.append(builder.op("Sub", whole, builder.op("Cast", zero_point, to=6)) if zero_point else whole)
    return builder.op("Mul", *factors)


@expansion("ReduceSumInteger")
def reduce_sum_integer(builder: Builder, x: str, *, axes: Ints, keepdims: int) -> str:
    """The sum of integers of 8 bits in 32."""
    return builder.op("ReduceSum", builder.op("Cast", x, to=6), builder.ints(*axes), keepdims=keepdims)


@expansion("QuantizeLinear")
def quantize_linear(builder: Builder, x: str, scale: str, zero_point: str | None = None, *, axis: int = 1) -> str:
    """QuantizeLinear of ONNX, which had it later for some element types."""
    return builder.op("QuantizeLinear", x, scale, zero_point or "", since=21, axis=axis)


@expansion("DequantizeLinear")
def dequantize_linear(builder: Builder, x: str, scale: str, zero_point: str | None = None, *, axis: int = 1) -> str:
    """DequantizeLinear of ONNX, which had it later for some element types."""
    return builder.op("DequantizeLinear", x, scale, zero_point or "", since=21, axis=axis)
