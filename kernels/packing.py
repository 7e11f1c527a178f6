"""Specifications of the kernels that move tensors into the layout that kernels work on, out of it, and within it.

Outside, a tensor is an array (N, C, H, W) of the user's, one element after the other. Inside it has blocks of channels,
a halo and stored codes; see `layout`.
"""

from dataclasses import dataclass

from .elementwise import Stored
from .epilogue import FLAG_ARGUMENTS
from .reference.word import Fitting

# Distances are in bytes. `scale` holds the bits of a float64 power of two. `nan` is the address of an int64 that
# becomes 1 if there is NaN.
_PACK_ARGUMENTS = (
    "x", "x_batch", "x_channel", "x_row", "y", "y_batch", "y_block", "y_row", "block", "batch", "channels", "rows",
    "width", "scale", "low", "high", "zero", "bits", "nan",
)  # fmt: skip


@dataclass(frozen=True)
class Pack:
    """Specification of the copy from a user's array into the layout, which may quantize the elements.

    Attributes
    ----------
    source : element type of the array: "f32", which is quantized unless `stored` is "f32" too, or codes: "i8", "u8",
        "i16", "u16".
    stored : stored form of the elements.
    rounding : rounding of the quantization.
    fitting, signed : `Word.fitting` and `Word.keeps_sign` of the codes; infinities saturate in every case.
    counts : whether flags are stored with the codes.
    """

    source: str
    stored: Stored
    rounding: str = ""
    fitting: Fitting = "saturate"
    signed: bool = False
    counts: bool = False

    emitter = "pack"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_PACK_ARGUMENTS, *(FLAG_ARGUMENTS if self.counts else ()))


@dataclass(frozen=True)
class Unpack:
    """Specification of the copy out of the layout into a user's array, which may dequantize the elements.

    Attributes
    ----------
    stored : stored form of the elements.
    target : element type of the array: "f32" for real numbers, or codes: "i8", "u8", "i16", "u16".
    """

    stored: Stored
    target: str

    emitter = "unpack"
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_channel", "y_row", "block", "batch", "channels", "rows",
        "width", "scale", "zero",
    )  # fmt: skip


_QUANTIZE_ARGUMENTS = (
    "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "vectors",
    "rest", "last", "scale", "low", "high", "zero", "bits", "nan",
)  # fmt: skip


@dataclass(frozen=True)
class QuantizeBlocks:
    """Specification of the quantization of float32 values within the layout; see `Pack`.

    A row is `vectors` vectors of 16 elements and `rest` more; in the last plane only the first `last` lanes of a vector
    are channels.

    Attributes
    ----------
    stored : stored form of the codes.
    rounding, fitting, signed, counts : see `Pack`.
    """

    stored: Stored
    rounding: str
    fitting: Fitting
    signed: bool
    counts: bool = False

    emitter = "quantize_blocks"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_QUANTIZE_ARGUMENTS, *(FLAG_ARGUMENTS if self.counts else ()))


@dataclass(frozen=True)
class DequantizeBlocks:
    """Specification of the float32 values of codes within the layout; see `Unpack`.

    Attributes
    ----------
    stored : stored form of the codes.
    """

    stored: Stored

    emitter = "dequantize_blocks"
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "vectors",
        "rest", "scale", "zero",
    )  # fmt: skip


@dataclass(frozen=True)
class Relayout:
    """Specification of the copy from one block size to another, from 8 to 16 bits, or into a wider tensor.

    Attributes
    ----------
    source, target : stored form of the elements before and after.
    """

    source: Stored
    target: Stored

    emitter = "relayout"
    # `x_channels` and `y_channels` are the block sizes. `skip` is the first channel in the target; `change` is added to
    # every stored code.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "x_channels", "y", "y_batch", "y_block", "y_row", "y_channels", "skip",
        "batch", "channels", "rows", "width", "change",
    )  # fmt: skip


@dataclass(frozen=True)
class Fill:
    """Specification of writing one stored code to all elements of some rows of every plane.

    Attributes
    ----------
    itemsize : number of bytes of an element: 1, 2 or 4.
    """

    itemsize: int

    emitter = "fill"
    arguments = ("y", "y_plane", "planes", "items", "code")


@dataclass(frozen=True)
class Move:
    """Specification of copying bytes of every plane to a lower address; source and target may overlap."""

    emitter = "move"
    arguments = ("x", "y", "plane", "planes", "size")
