"""Specifications of the kernels between real numbers and the integers of quantized models, on plain buffers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The least and the largest of some float32 and 0, for each chunk of them.

    `fault` becomes 1 where a number is not finite, and the two are NaN.
    """

    emitter = "range"
    # Chunk i begins `chunk` elements after chunk i - 1; its two numbers are float32 number 2 i and 2 i + 1 of y.
    arguments = ("x", "y", "first", "end", "chunk", "size", "fault")


@dataclass(frozen=True)
class RangeScale:
    """The scale (float32) and zero point (uint8) that DynamicQuantizeLinear gives the numbers of several ranges."""

    emitter = "range_scale"
    arguments = ("ranges", "count", "scale", "zero")


@dataclass(frozen=True)
class Quantize:
    """Float32 to integers: saturate(round(x / scale) + zero point), half to even; NaN as 0.

    Attributes
    ----------
    target : type of the integers, of at most 16 bits.
    by_column : whether scales and zero points belong to the elements of a row, and not to rows.
    """

    target: str
    by_column: bool = False

    emitter = "quantize"
    # Rows have `inner` elements. Row i has scale and zero point number i modulo `count`, unless `by_column`.
    arguments = ("x", "y", "scale", "zero", "first", "end", "inner", "count")


@dataclass(frozen=True)
class Dequantize:
    """Integers to float32: (x - zero point) * scale, each rounded.

    Attributes
    ----------
    source : type of the integers.
    by_column : see `Quantize`.
    """

    source: str
    by_column: bool = False

    emitter = "dequantize"
    arguments = ("x", "y", "scale", "zero", "first", "end", "inner", "count")


@dataclass(frozen=True)
class Rescale:
    """Sums in int32 to integers: saturate(round(x * scale) + zero point), half to even; x is rounded to float32.

    Attributes
    ----------
    target, by_column : see `Quantize`.
    """

    target: str
    by_column: bool = False

    emitter = "rescale"
    # Integers are brought between `low` and `high`, which are integers of the type.
    arguments = ("x", "y", "scale", "zero", "first", "end", "inner", "count", "low", "high")
