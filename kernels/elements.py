"""Types of elements as kernels name them: a kind and a number of bits, such as "f32", "i64", "b8" and "bf16"."""

from typing import Literal

ELEMENT_BYTES = {
    **{"b8": 1, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "f16": 2, "bf16": 2, "i32": 4, "u32": 4, "f32": 4},
    **{"i64": 8, "u64": 8, "f64": 8},
}
"""The bytes of an element by its type."""

Real = Literal["f32", "f64"]
"""Types that processors compute with; elements of other float types are converted first."""

VECTOR_BYTES = 64
"""The bytes of a vector: one register of AVX-512."""


def lanes_of(element: Real) -> int:
    """Return the number of elements of a vector."""
    return VECTOR_BYTES // ELEMENT_BYTES[element]
