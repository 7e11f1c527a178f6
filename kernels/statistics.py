"""Specifications of the kernels that count: figures of a tensor's codes and float32 values, and a sample.

A kernel that counts stores *flags* with its codes (see `epilogue`). `Statistics` reads both, and the same tensor in
float32, and writes one *record* of numbers for every row. A record depends on its row alone: it makes no difference
which thread writes it, or how often, and records that are added up in order give the same sums on any number of
threads.
"""

from dataclasses import dataclass

RECORD = (
    "saturated", "underflowed", "overflowed", "least", "largest", "signal", "noise", "minimum", "maximum",
)  # fmt: skip
"""The float64 numbers of a record: counts of flags, the smallest and the largest code, sums of f^2 and of (f - q)^2,
the smallest and the largest finite f."""

_ARGUMENTS = (
    "x", "x_batch", "x_block", "x_row", "batch", "blocks", "rows", "vectors", "rest", "last", "zero", "scale", "y",
    "y_row",
)  # fmt: skip


@dataclass(frozen=True)
class Statistics:
    """Specification of the records of rows.

    A row of a plane is `vectors` vectors of 16 elements and `rest` more; in the last plane only the first `last` lanes
    of a vector are channels. `scale` holds the bits of 2^-n as float64. What a kernel does not read is 0 in a record.

    Attributes
    ----------
    codes : type of a code: a stored form, or that of a user's array, "i8" or "u16".
    has_flags : whether there are flags, x_flags bytes from the codes.
    has_values : whether the tensor is there in float32 too, in blocks of the same size.
    """

    codes: str
    has_flags: bool
    has_values: bool

    emitter = "statistics"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        flags = ("x_flags",) if self.has_flags else ()
        return (*_ARGUMENTS, *flags, *(("f", "f_batch", "f_block", "f_row") if self.has_values else ()))


@dataclass(frozen=True)
class Sample:
    """Specification of the copy of every `step`-th element of a float32 tensor in the order (N, C, H, W)."""

    emitter = "sample"
    # The kernel copies what lies in `rows` rows from row `first` on, of `height`; `f` is row 0.
    arguments = (
        "f", "f_batch", "f_block", "f_row", "block", "batch", "channels", "first", "rows", "height", "width", "step",
        "y",
    )  # fmt: skip
