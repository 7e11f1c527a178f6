"""Tensors as the user has them, (N, C, H, W) one after the other, to and from the layout that kernels work on."""

from dataclasses import dataclass

from .elementwise import Stored


@dataclass(frozen=True)
class Pack:
    """What the kernel is compiled for.

    Attributes
    ----------
    source : "f32" to be quantized, or codes: "i8", "u8", "i16", "u16".
    stored : how elements are stored; "f32" copies.
    rounding, wraps, signed : of the quantization.
    """

    source: str
    stored: Stored
    rounding: str = ""
    wraps: bool = False
    signed: bool = False

    emitter = "pack"
    # Strides are in bytes. `scale` holds the bits of a float64 power of two. `nan` counts up where there is NaN.
    arguments = (
        "x", "x_batch", "x_channel", "x_row", "y", "y_batch", "y_block", "y_row", "block", "batch", "channels", "rows",
        "width", "scale", "low", "high", "zero", "bits", "nan",
    )  # fmt: skip


@dataclass(frozen=True)
class Unpack:
    """What the kernel is compiled for.

    Attributes
    ----------
    stored : how elements are stored.
    target : "f32" for real numbers, or codes: "i8", "u8", "i16", "u16".
    """

    stored: Stored
    target: str

    emitter = "unpack"
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_channel", "y_row", "block", "batch", "channels", "rows",
        "width", "scale", "zero",
    )  # fmt: skip


@dataclass(frozen=True)
class Relayout:
    """From one block to another, or from 8 to 16 bits, or channels moved into a wider tensor.

    Attributes
    ----------
    source, target : how elements are stored.
    """

    source: Stored
    target: Stored

    emitter = "relayout"
    # `skip` is the first channel in the target; `change` is added to every stored code.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "x_channels", "y", "y_batch", "y_block", "y_row", "y_channels", "skip",
        "batch", "channels", "rows", "width", "change",
    )  # fmt: skip


@dataclass(frozen=True)
class Fill:
    """One stored code in every element of some rows: itemsize 1, 2 or 4."""

    itemsize: int

    emitter = "fill"
    arguments = ("y", "y_plane", "planes", "items", "code")


@dataclass(frozen=True)
class Move:
    """Bytes of every plane to a lower address; source and target may overlap."""

    emitter = "move"
    arguments = ("x", "y", "plane", "planes", "size")
