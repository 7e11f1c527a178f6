"""Qm.n fixed-point formats, rounding and overflow modes, and conversion of arrays to codes and back."""

from qengine.qformat.arrays import dequantize, holds, quantize
from qengine.qformat.channels import ChannelFormats, channel_formats
from qengine.qformat.choice import exact_format, finest_format, finest_per_channel, largest_scale, largest_scales
from qengine.qformat.modes import Overflow, Rounding, overflow_mode, rounding_mode
from qengine.qformat.parts import Format, PartFormats, fraction_bits_of, joined_format
from qengine.qformat.single import FRACTION_BITS, QFormat

__all__ = [
    "FRACTION_BITS",
    "ChannelFormats",
    "Format",
    "Overflow",
    "PartFormats",
    "QFormat",
    "Rounding",
    "channel_formats",
    "dequantize",
    "exact_format",
    "finest_format",
    "finest_per_channel",
    "fraction_bits_of",
    "holds",
    "joined_format",
    "largest_scale",
    "largest_scales",
    "overflow_mode",
    "quantize",
    "rounding_mode",
]
