"""Codes of pixels: what a camera's bytes become before they are fed, as firmware and test benches need it.

A pixel has 256 values, and a channel has one mean, one scale and one format: a table of 256 codes for each channel is
the whole conversion, exactly as the runtime computes it, and needs no arithmetic on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qengine.data.channels import CHANNELS, channel_axis
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError
from qengine.qformat import QFormat, quantize
from qengine.runtime.session import InferenceSession

_COLOURS = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class PixelCodes:
    """Conversion of the pixels of pictures to the codes of an input.

    Attributes
    ----------
    input : name of the input.
    format : format of the input.
    steps : changes of the picture, and the formula of a pixel, in words of one line.
    channels : colours in the order of the model's channels.
    codes : code of each pixel 0..255, for each channel.
    """

    input: str
    format: QFormat
    steps: str
    channels: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "input": self.input,
            "steps": self.steps,
            "channels": list(self.channels),
            "codes": [list(one) for one in self.codes],
        }

    @property
    def formula(self) -> str:
        """The formula of a code in one line."""
        bits = self.format.fraction_bits
        return f"code = overflow(round(value * 2^{bits})) with the value of a pixel as in: {self.steps}"


def pixel_codes(session: InferenceSession, preprocessing: Preprocessing | None) -> tuple[PixelCodes, ...]:
    """Return the conversions for the inputs in fixed point that can be pictures; none without a preprocessing."""
    if preprocessing is None:
        return ()
    found = []
    for value in session.graph.inputs:
        fmt, channels = session.formats.get(value.name), _channels(value.shape, preprocessing)
        is_real = value.dtype is None or value.dtype.kind == "f"
        if not isinstance(fmt, QFormat) or not is_real or channels is None or not preprocessing.fits(channels):
            continue
        pixels = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (1, 256, channels))
        modes = session.rules.modes("inputs", value.name)
        assert modes.rounding is not None
        assert modes.overflow is not None
        codes = quantize(preprocessing.to_numbers(pixels)[:, 0], fmt, modes.rounding, modes.overflow)
        colours = _COLOURS[channels][::-1] if preprocessing.bgr else _COLOURS[channels]
        rows = tuple(tuple(int(code) for code in row) for row in codes)
        found.append(PixelCodes(value.name, fmt, preprocessing.described(), colours, rows))
    return tuple(found)


def _channels(shape: Sequence[Any] | None, preprocessing: Preprocessing) -> int | None:
    """Return the number of channels of an input that can be a picture; None for one that cannot."""
    if shape is None or len(shape) not in (2, 3, 4):
        return None
    if len(shape) == 2:
        return 1
    try:
        channels = shape[channel_axis(shape, preprocessing.layout)]
    except FeedError:
        return None
    return channels if channels in CHANNELS else None
