"""Evaluator of ImageDecoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.evaluator import evaluator

_MODES = {"RGB": "RGB", "BGR": "RGB", "Grayscale": "L"}
"""Modes of Pillow by pixel format."""


@evaluator("ImageDecoder")
def image_decoder(stream: NDArray[Any], *, pixel_format: str = "RGB") -> NDArray[np.uint8]:
    """Return the pixels [H, W, C] of an encoded image, 3 channels or 1; transparency is dropped."""
    from qengine.model import pictures  # Pillow is slow to import, and seldom needed

    if pixel_format not in _MODES:
        raise ModelError(f"pixel_format is '{pixel_format}'; it must be one of {', '.join(_MODES)}")
    if stream.ndim != 1:
        raise ModelError(f"its stream has the shape {list(stream.shape)}; a vector of bytes is needed")
    pixels = pictures.decode(stream.tobytes(), _MODES[pixel_format])
    if pixel_format == "Grayscale":
        return pixels[..., None]
    return pixels[..., ::-1] if pixel_format == "BGR" else pixels
