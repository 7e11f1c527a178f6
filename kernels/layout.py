"""Layout of a tensor in memory while native kernels work on it.

The problem: a kernel reads windows of pixels with vector instructions, at the edges too, and must not test for the
edge of the image at every pixel. The idea has two parts. Channels come in *blocks* of 16, or of all channels where
there are fewer: a block is a *plane* of pixels, row after row, and a pixel holds the block's channels side by side, so
that a vector holds channels of one pixel. And around the pixels lies a *halo* of the stored code of 0, so that a
window which reaches over the edge reads zeros: rows above and below, and a *gap* between one row and the next, which
is both the right margin of the one and the left margin of the other.

    block 0 of an image with 3 columns, with a halo of 1
      . . . . . | . . . . . | ...
        A B C . | D E F . |        A is the pixel (0, 0): `block` channels, side by side

A tap of a convolution is then one distance in bytes from a pixel, the same for every pixel.
"""

from dataclasses import dataclass
from functools import cached_property

LANES = 16
"""Channels of a block."""

SLACK = 4096
"""Bytes that kernels may read beyond the last row of a tensor: they read whole vectors and whole tiles of pixels."""


@dataclass(frozen=True)
class Halo:
    """Halo around every plane of a tensor.

    Attributes
    ----------
    top, bottom : number of rows above and below.
    gap : number of pixels between two rows.
    """

    top: int = 0
    bottom: int = 0
    gap: int = 0

    def covering(self, other: "Halo") -> "Halo":
        """Return the smallest halo that contains both."""
        return Halo(max(self.top, other.top), max(self.bottom, other.bottom), max(self.gap, other.gap))


@dataclass(frozen=True)
class Layout:
    """Layout of a tensor; all distances are in bytes.

    Attributes
    ----------
    batch, channels, height, width : shape of the tensor; one with a single spatial axis has height 1.
    itemsize : number of bytes of a stored element.
    block : number of channels of a pixel: 16, or all of them where there are fewer, or 1 for planes of one channel.
    halo : halo around every plane.
    flagged : whether the flags of the codes (see `epilogue`) follow them, as images of the same layout.
    """

    batch: int
    channels: int
    height: int
    width: int
    itemsize: int
    block: int
    halo: Halo = Halo()
    flagged: bool = False

    @property
    def planes(self) -> int:
        """The number of planes of all images, those of flags included."""
        return self.batch * self.blocks * (2 if self.flagged else 1)

    @property
    def flags(self) -> int:
        """The distance from a code to its flags; 0 where there are none."""
        return self.batch * self.image if self.flagged else 0

    @cached_property
    def blocks(self) -> int:
        """The number of planes of an image."""
        return -(-self.channels // self.block)

    @cached_property
    def pixel(self) -> int:
        """The distance from a pixel to the next."""
        return self.block * self.itemsize

    @cached_property
    def row(self) -> int:
        """The distance from a row to the next."""
        return (self.width + self.halo.gap) * self.pixel

    @cached_property
    def plane(self) -> int:
        """The distance from a plane to the next."""
        return (self.halo.top + self.height + self.halo.bottom) * self.row

    @cached_property
    def image(self) -> int:
        """The distance from an image of the batch to the next."""
        return self.blocks * self.plane

    @cached_property
    def origin(self) -> int:
        """The distance from the start of the memory to the first pixel."""
        return self.halo.top * self.row + self.halo.gap * self.pixel

    @property
    def size(self) -> int:
        """The number of bytes of the memory, including those that kernels may read beyond the last row."""
        return self.origin + self.planes * self.plane + self.row + SLACK

    @property
    def row_items(self) -> int:
        """The number of elements in a row, without the gap."""
        return self.width * self.block


def natural_block(channels: int) -> int:
    """Return the default number of channels of a pixel."""
    return min(channels, LANES)
