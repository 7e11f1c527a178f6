"""Tensors as small pictures in PNG."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qengine.data.images import pixels_of
from qengine.data.preprocessing import Preprocessing
from qengine.errors import QEngineError
from qengine.html_report.facts import PictureFacts

_LARGEST_NORMALIZED = 8.0
_LONGEST_SIDE = 96  # pixels of a picture


def thumbnail(
    caption: str, tensor: NDArray[Any], preprocessing: Preprocessing, *, is_scaled: bool = False
) -> Iterator[PictureFacts]:
    """Yield a tensor as a small picture, if it is one.

    Parameters
    ----------
    caption
        Words under the picture.
    tensor
        The tensor.
    preprocessing
        Conversion of pixels to its numbers. Where nobody gave one and the numbers are hardly pixels, the picture shows
        all of their range.
    is_scaled
        Whether the numbers are pixels of 0..255 for certain.
    """
    plain = Preprocessing(layout=preprocessing.layout)
    try:
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            return
        if preprocessing == plain and not is_scaled and _is_normalized(tensor):
            tensor = _stretched(tensor)
        pixels = pixels_of(tensor, preprocessing)
    except QEngineError:
        return
    if pixels is None:
        return
    whole = np.rint(pixels).astype(np.uint8)
    image = Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole)
    longest = max(image.size)
    if longest > _LONGEST_SIDE:
        width, height = (max(1, round(n * _LONGEST_SIDE / longest)) for n in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    file = BytesIO()
    image.save(file, format="PNG", compress_level=9)
    yield PictureFacts(caption, image.width, image.height, base64.b64encode(file.getvalue()).decode("ascii"))


def _is_normalized(tensor: NDArray[Any]) -> bool:
    """Whether real numbers are hardly pixels of 0..255: some are negative, or all are small."""
    if tensor.dtype.kind != "f" or not tensor.size:
        return False
    return float(tensor.min()) < 0.0 or float(tensor.max()) <= _LARGEST_NORMALIZED


def _stretched(tensor: NDArray[Any]) -> NDArray[np.float32]:
    least, most = float(tensor.min()), float(tensor.max())
    return ((tensor - least) * (255.0 / (most - least or 1.0))).astype(np.float32)
