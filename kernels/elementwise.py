"""Specifications of kernels that work element by element: sums, products, tables and functions of one variable.

Sums and products of codes are exact and rounded once. With one operand a sum brings codes to another format.
"""

from dataclasses import dataclass
from typing import Literal

from .epilogue import FLAG_ARGUMENTS, Epilogue, flag_arguments

Stored = Literal["u8", "i16", "f32"]
"""Stored form of an element: an unsigned byte or signed 16 bits for a code (see `epilogue.stored_zero`), or float32."""

_ARGUMENTS = (
    "numbers", "scalars", "batch", "blocks", "rows", "vectors", "rest", "y", "y_batch", "y_block", "y_row", "y_step",
)  # fmt: skip
_OPERAND = ("", "_batch", "_block", "_row", "_step", "_shift", "_zero")


@dataclass(frozen=True)
class Elementwise:
    """Specification of sums and products.

    Attributes
    ----------
    operation : "add", "multiply", or "prelu": the first operand where it is not negative, elsewhere the product.
        "round" of one operand in float32 rounds to numbers of float16.
    operands : stored form of each operand.
    epilogue : epilogue of the results; None for float32.
    signs : +1 or -1 for each operand that is added; the first is +1.
    """

    operation: Literal["add", "multiply", "prelu", "round"]
    operands: tuple[Stored, ...]
    epilogue: Epilogue | None
    signs: tuple[int, ...] = ()

    emitter = "elementwise"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments; those of operand 0 begin with "x0": its address "x0", its distances "x0_row" etc.

        A row is `vectors` vectors of 16 elements, `y_step` bytes apart, and `rest` more elements. A sum adds
        (x0 - x0_zero) << x0_shift etc.; the bias in `numbers` already has its zeros. For "prelu" x0_shift applies to
        what is not negative, and x1 is shifted before it is multiplied.
        """
        operands = (f"x{i}{name}" for i in range(len(self.operands)) for name in _OPERAND)
        return (*_ARGUMENTS, *operands, *flag_arguments(self.epilogue))


_LOOKUP_ARGUMENTS = (
    "table", "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "items",
)  # fmt: skip


@dataclass(frozen=True)
class Lookup:
    """Specification of a table lookup; the table's entries are in the order of stored codes.

    Attributes
    ----------
    source, target : stored form of the codes before and after.
    counts : whether flags, from a table of their own, are stored with the codes.
    """

    source: Stored
    target: Stored
    counts: bool = False

    emitter = "lookup"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_LOOKUP_ARGUMENTS, *(("flags", *FLAG_ARGUMENTS) if self.counts else ()))


@dataclass(frozen=True)
class IntegerFunction:
    """Specification of a function of one signed integer, which wraps.

    Attributes
    ----------
    name : "negative", "abs" or "sign".
    element : type of the elements.
    """

    name: str
    element: str

    emitter = "integer_function"
    arguments = ("x", "y", "count")


_FUNCTION_ARGUMENTS = (
    "numbers", "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows",
    "vectors", "rest",
)  # fmt: skip


@dataclass(frozen=True)
class Function:
    """Specification of a function of one real variable; NaN stays.

    Attributes
    ----------
    name : name of the function in `emit.function`. Its two coefficients are at the address "numbers".
    element : type of the elements and of the coefficients.
    """

    name: str
    element: Literal["f32", "f64"] = "f32"

    emitter = "function"
    arguments = _FUNCTION_ARGUMENTS


@dataclass(frozen=True)
class Composed:
    """Specification of a function of one real variable that is composed of others.

    Attributes
    ----------
    stages : name of each operation and its operands: an earlier value by its place, where x is 0 and stage i gives
        i + 1, or the number n of the address "numbers" as -1 - n. A function of `emit.function` has its argument and
        its two coefficients.
    element : type of the elements and of the numbers.
    """

    stages: tuple[tuple[str, tuple[int, ...]], ...]
    element: Literal["f32", "f64"] = "f32"

    emitter = "composed"
    arguments = _FUNCTION_ARGUMENTS
