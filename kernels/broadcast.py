"""Specification of operations on elements of tensors that broadcast: arithmetic, comparisons, conversions."""

from dataclasses import dataclass

from .reference.word import Fitting


@dataclass(frozen=True)
class Broadcast:
    """An operation, element by element, along outer axes and two inner ones; see `strided_copy`.

    The table of the outer axes has for each the length, and the distance in bytes in y and in every operand. Rows first
    .. end - 1 of `mid`, of all outer places, are computed. Along `inner` elements are contiguous, or one is repeated.
    The result is brought between the two elements at `bounds`. `fault` becomes 1 where an integer is divided by 0.

    Attributes
    ----------
    operation : name of the operation in `emit.broadcast`.
    operands, result : types of the elements.
    repeats : whether one element of each operand is repeated along `inner`.
    is_bounded : whether there are bounds.
    rounding : rounding of exact results on codes, or on whole real numbers, which are computed in 64 bits and
        requantized; empty for numbers.
        There is then a table of int64 at `bounds`: the least and the largest code, the shift to the right and the one
        to the left of the result, the number of bits above a code, and the shift of each operand.
    fitting, signed : `Word.fitting` and `Word.keeps_sign` of the codes.
    """

    operation: str
    operands: tuple[str, ...]
    result: str
    repeats: tuple[bool, ...]
    is_bounded: bool = False
    rounding: str = ""
    fitting: Fitting = "saturate"
    signed: bool = False

    emitter = "broadcast"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments; those of operand 0 begin with "x0"."""
        operands = tuple(f"x{i}{name}" for i in range(len(self.operands)) for name in ("", "_mid"))
        return ("y", "y_mid", *operands, "axes", "outer", "first", "end", "mid", "inner", "bounds", "fault")
