"""Operators on shapes and element types, and those whose output follows from shapes and constants."""

from math import ceil
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.ops.axes import whole_numbers
from qengine.model.ops.conversion import Converted, is_foreign
from qengine.model.ops.operator import ANY, Known, Shaped, Since, operator
from qengine.model.steps import Convert, FromIntegers, Island, Join, Tensor
from qengine.model.steps.forms import Concatenated

ELEMENTS = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
"""Element types by ONNX's numbers (TensorProto.DataType), as far as NumPy has the type."""


def known(value: NDArray[Any]) -> Island:
    """Return a step that gives known elements."""
    return Island((), lambda: value, value.shape, value.dtype)


@operator("Shape")
def shape_of(
    x: Shaped, *, start: Annotated[int, Since(15)] = 0, end: Annotated[int | None, Since(15)] = None
) -> Island:
    """The lengths of the axes from start to end; by default of all axes."""
    return known(np.array(x.shape[start:end], np.int64))


@operator("Size")
def size_of(x: Shaped) -> Island:
    """The number of elements."""
    return known(np.array(np.prod(x.shape, dtype=np.int64)))


@operator("ConstantOfShape", since=9)
def constant_of_shape(shape: Known, *, value: NDArray[Any] | None = None) -> Island:
    """A tensor of one value."""
    filler = np.zeros(1, np.float32) if value is None else value.ravel()
    lengths = whole_numbers(shape, "the lengths")
    if any(n < 0 for n in lengths) or filler.size != 1:
        raise ModelError(f"cannot fill shape {list(lengths)} with {filler.size} value(s)")
    return Island((), lambda: np.full(lengths, filler[0]), lengths, filler.dtype)


@operator("Range", since=11)
def range_of(
    start: Known,
    limit: Known,
    delta: Known,
    *,
    stash_type: Annotated[int, Since(27)] = 1,  # noqa: ARG001 - for sums of float16, and nothing is summed here
) -> Island:
    """start, start + delta, ... below limit."""
    first, end, step = start.item(), limit.item(), delta.item()
    if start.dtype.kind not in "fi":
        raise UnsupportedError(f"a range of {start.dtype} is not supported")
    if not start.dtype == limit.dtype == delta.dtype:
        raise ModelError(f"start is {start.dtype}, limit {limit.dtype} and delta {delta.dtype}")
    if not step or not np.isfinite([first, end, step]).all():
        raise ModelError(f"there is no range from {first} to {end} by {step}")
    # Integers divide exactly: a float64 quotient would be off by one beyond 2^53.
    count = max(-((first - end) // step) if isinstance(step, int) else ceil((end - first) / step), 0)

    def series() -> NDArray[Any]:
        return np.asarray(first + np.arange(count) * step, start.dtype)

    return Island((), series, (count,), start.dtype)


_REALS = ("float16", "float32", "float64")


def _cast(x: Tensor, dtype: np.dtype[Any]) -> Island | Convert | Join:
    if dtype.name in _REALS and x.dtype.kind in "biu" and not is_foreign(x.dtype):
        return FromIntegers(x, dtype)
    if dtype == x.dtype and x.format is not None:
        return Join((x,), Concatenated(0) if x.ndim else np.copy, x.shape)
    return Island((x,), Converted(dtype), x.shape, dtype)


@operator("Cast", elements=ANY)
def cast(
    x: Tensor,
    *,
    to: int,
    saturate: Annotated[int, Since(19)] = 1,  # noqa: ARG001 - for float8, which has no handler
    round_mode: Annotated[str, Since(24)] = "up",  # noqa: ARG001
) -> Island | Convert | Join:
    """x in another element type; real numbers are truncated toward zero."""
    if to not in ELEMENTS:
        raise UnsupportedError(f"a cast to ONNX element type {to} is not supported")
    return _cast(x, np.dtype(ELEMENTS[to]))


@operator("CastLike", since=15, elements=ANY)
def cast_like(
    x: Tensor,
    target_type: Shaped,
    *,
    saturate: Annotated[int, Since(19)] = 1,  # noqa: ARG001 - for float8, which has no handler
    round_mode: Annotated[str, Since(24)] = "up",  # noqa: ARG001
) -> Island | Convert | Join:
    """x in the element type of another tensor."""
    if target_type.dtype.name not in ELEMENTS.values():
        raise UnsupportedError(f"a cast to {target_type.dtype} is not supported")
    return _cast(x, target_type.dtype)
