"""Sums and products of tensors element by element, one round + overflow; with one operand, codes to another format."""

from dataclasses import dataclass
from typing import Literal

from .epilogue import Epilogue

Stored = Literal["u8", "i16", "f32"]
"""How an element is stored; see `epilogue.stored_zero`."""

ITEMSIZE: dict[Stored, int] = {"u8": 1, "i16": 2, "f32": 4}

_ARGUMENTS = (
    "numbers", "scalars", "batch", "blocks", "rows", "vectors", "rest", "y", "y_batch", "y_block", "y_row", "y_step",
)  # fmt: skip
_OPERAND = ("", "_batch", "_block", "_row", "_step", "_shift", "_zero")


@dataclass(frozen=True)
class Elementwise:
    """What the kernel is compiled for.

    Attributes
    ----------
    operation : "add", "multiply", or "prelu": the first operand where it is not negative, elsewhere the product.
    operands : how each is stored.
    epilogue : None for float32.
    signs : of operands that are added, the first of them +1.
    """

    operation: Literal["add", "multiply", "prelu"]
    operands: tuple[Stored, ...]
    epilogue: Epilogue | None
    signs: tuple[int, ...] = ()

    emitter = "elementwise"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments' names: an operand x0 lies at "x0", "x0_row" is from a row of it to the next, and so on.

        A row is `vectors` of 16 elements, `y_step` apart, and `rest` more elements. What is added is
        (x0 - x0_zero) << x0_shift, and so on; zeros of sums are in `numbers` already. Of "prelu", x0_shift is of what
        is not negative, and x1 is shifted before it is multiplied.
        """
        return (*_ARGUMENTS, *(f"x{i}{name}" for i in range(len(self.operands)) for name in _OPERAND))


@dataclass(frozen=True)
class Lookup:
    """A table, entries in the order of stored codes.

    Attributes
    ----------
    source, target : how codes are stored.
    """

    source: Stored
    target: Stored

    emitter = "lookup"
    arguments = (
        "table", "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows",
        "items",
    )  # fmt: skip


@dataclass(frozen=True)
class Function:
    """A function of one variable, of float32; NaN stays.

    Attributes
    ----------
    name : see `emit/function.py`. Its numbers come as two float32 at "numbers".
    """

    name: str

    emitter = "function"
    arguments = (
        "numbers", "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows",
        "vectors", "rest",
    )  # fmt: skip
