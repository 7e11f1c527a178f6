"""Kernels around a product of matrices of 8-bit integers with zero points; the sums are those of the dot kernel.

The dot multiplies unsigned bytes of a left matrix by signed bytes of packed weights. With zero points p and q,

    sum over k of (a - p)(b - q) = sum of a b - p (sum of b) - q (sum of (a - p)),

so that what zero points add is a number for each column times one for each row. Signed a, and unsigned b, are stored
with 128 more, or less, and so are their zero points. All arithmetic is modulo 2^32, as ONNX wants it.

Where b is constant and q can be subtracted from it beforehand, only p is left: the sum of each column begins with
-p (sum of b), which costs nothing (`StartSums`). Else `CentreSums` goes over the result once more.
"""

from dataclasses import dataclass
from typing import Literal

from .dot import is_paired, is_split
from .isa import Isa

Form = Literal["bytes", "halves", "wide"]


@dataclass(frozen=True)
class PackRows:
    """Bytes of rows with room for whole taps of 4, which is 0; signed bytes as unsigned ones.

    Attributes
    ----------
    signed : whether the bytes are signed.
    """

    signed: bool

    emitter = "pack_rows"
    arguments = ("x", "y", "first", "end", "length", "y_row")


@dataclass(frozen=True)
class PackColumns:
    """Bytes of a right matrix as weights of the dot kernel, and the sum of each column.

    Attributes
    ----------
    form : weights of the instruction set; see `packed_form`.
    signed : whether the bytes are signed.
    """

    form: Form
    signed: bool

    emitter = "pack_columns"
    # Vectors `first` to `end` of 16 columns are packed; `sums` has an int32 for each column of whole vectors.
    arguments = ("x", "y", "sums", "first", "end", "length", "columns", "y_vector")


@dataclass(frozen=True)
class StartSums:
    """Numbers that sums of columns begin with: minus the zero point of the left matrix times the sum of the column.

    Attributes
    ----------
    signed : whether the left matrix is signed.
    """

    signed: bool

    emitter = "start_sums"
    arguments = ("zero", "sums", "y", "count")


@dataclass(frozen=True)
class StartReals:
    """Numbers of columns whose sums become real: where they begin, factors and addends (`epilogue.Sums`).

    The left matrix is unsigned; a factor is its scale times that of the column.
    """

    emitter = "start_reals"
    arguments = ("scale", "zero", "sums", "factors", "addends", "y", "vectors")


@dataclass(frozen=True)
class CentreSums:
    """Subtraction, in place, of the part of sums that zero points add.

    Attributes
    ----------
    signed_left, signed_right : whether the elements of the two matrices are signed.
    """

    signed_left: bool
    signed_right: bool

    emitter = "centre_sums"
    # `x` holds packed rows. Row i has zero point i modulo `zeros` of the left matrix, column j number j modulo
    # `right_zeros` of the right one. `sums` are those of the columns.
    arguments = (
        "y", "x", "x_row", "zero", "zeros", "right_zero", "right_zeros", "sums", "first", "end", "length", "columns",
    )  # fmt: skip


def packed_form(isa: Isa) -> Form:
    """Return the form of weights that a run packs.

    "bytes" are taps of 4 bytes. In "halves" a tap is two, each with 0 in the place of every second byte, as sums of two
    products might not fit 16 bits. "wide" has the even and the odd bytes in 16 bits each.
    """
    if is_paired("s8", isa):
        return "halves"
    return "wide" if is_split("s8", isa) else "bytes"


@dataclass(frozen=True)
class PackImages:
    """Bytes of images (N, C, H, W) in blocks of channels, with padding around them that is the zero point.

    Attributes
    ----------
    signed : whether the bytes are signed; they are stored as unsigned ones.
    """

    signed: bool

    emitter = "pack_images"
    # Rows `first` to `end` of the padded images are written; distances are in bytes.
    arguments = (
        "x", "zero", "y", "y_batch", "y_block", "y_row", "block", "batch", "channels", "height", "width", "top", "left",
        "padded", "first", "end",
    )  # fmt: skip


@dataclass(frozen=True)
class UnpackSums:
    """Sums of a convolution in blocks of channels as images (N, C, H, W), less the part that zero points add.

    Attributes
    ----------
    signed : whether the input is signed.
    has_points : whether filters have zero points: each group then has one more channel, the sums of its input.
    """

    signed: bool
    has_points: bool

    emitter = "unpack_sums"
    # `sums` are those of the filters, `points` their zero points and `bias` is added: int32 for each channel. `length`
    # is the number of products of a sum, and `group` the number of channels of a group.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "block", "zero", "sums", "points", "bias", "y", "channels", "group",
        "length", "height", "width", "first", "end",
    )  # fmt: skip
