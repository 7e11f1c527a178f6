"""How a tensor lies in memory while native kernels work on it.

Channels come in blocks: a block is a plane of pixels, row after row, and a pixel holds the block's channels side by
side. Around the pixels lies a halo of code 0, so that a window may reach over the edge: rows above and below, and a
gap between one row and the next that is the right margin of the one and the left margin of the other.

    block 0, of an image with 3 columns, a halo of 1
      . . . . . | . . . . . | ...
        A B C . | D E F . |        A is the pixel (0, 0): `block` channels, side by side

A convolution's tap is then one distance in bytes from a pixel, the same everywhere.
"""

from dataclasses import dataclass, replace

LANES = 16
SLACK = 4096
"""Bytes that kernels may read beyond the last row of a tensor: whole vectors, and whole tiles of pixels."""


@dataclass(frozen=True)
class Halo:
    """Rows above and below, and pixels between two rows."""

    top: int = 0
    bottom: int = 0
    gap: int = 0

    def covering(self, other: "Halo") -> "Halo":
        """Return what has room for both."""
        return Halo(max(self.top, other.top), max(self.bottom, other.bottom), max(self.gap, other.gap))


@dataclass(frozen=True)
class Layout:
    """A tensor's place, in bytes.

    Attributes
    ----------
    batch, channels, height, width : of the tensor; one with a single spatial axis has height 1.
    itemsize : bytes of a stored code or number.
    block : channels of a pixel: 16, or all of them where there are fewer, or 1 for planes of single channels.
    halo : around every plane.
    """

    batch: int
    channels: int
    height: int
    width: int
    itemsize: int
    block: int
    halo: Halo = Halo()

    @property
    def blocks(self) -> int:
        """Planes of an image."""
        return -(-self.channels // self.block)

    @property
    def pixel(self) -> int:
        """From a pixel to the next."""
        return self.block * self.itemsize

    @property
    def row(self) -> int:
        """From a row to the next."""
        return (self.width + self.halo.gap) * self.pixel

    @property
    def plane(self) -> int:
        """From a block of channels to the next."""
        return (self.halo.top + self.height + self.halo.bottom) * self.row

    @property
    def image(self) -> int:
        """From an image of the batch to the next."""
        return self.blocks * self.plane

    @property
    def origin(self) -> int:
        """From the start to the first pixel."""
        return self.halo.top * self.row + self.halo.gap * self.pixel

    @property
    def size(self) -> int:
        """All of it, and what kernels may read beyond."""
        return self.origin + self.batch * self.image + self.row + SLACK

    @property
    def row_items(self) -> int:
        """Codes or numbers in a row, without the gap."""
        return self.width * self.block

    def with_halo(self, halo: Halo) -> "Layout":
        """Return the same tensor with another halo."""
        return replace(self, halo=halo)


def natural_block(channels: int) -> int:
    """Return how many channels a pixel holds unless something else is asked for."""
    return min(channels, LANES)
