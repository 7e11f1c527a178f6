"""Decoding of images by Pillow: in memory, with its exceptions, and without images that it would decode wrongly."""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from qengine.errors import ModelError, UnsupportedError, first_line

MAX_PIXELS = 89_478_485
"""Largest number of pixels that ImageDecoder unpacks; Pillow's own bound, above which it warns of a bomb."""

_PNG_HEADER = 8
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced image, and the steps to the next ones."""
_PIECE = 1 << 20
# Formats that ONNX lists. Pillow has others too, and runs programs for some.
_FORMATS = ("BMP", "JPEG", "JPEG2000", "TIFF", "PNG", "WEBP", "PPM")

READ_ERRORS = (
    *(OSError, EOFError, MemoryError, ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
"""Exceptions that Pillow raises for damaged files, in addition to errors of its own."""

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its errors say the same


def decode(stream: bytes, mode: str) -> NDArray[np.uint8]:
    """Return the pixels of an encoded image in a mode of Pillow, such as RGB.

    Raises
    ------
    ModelError
        If the bytes are not an image, or damaged.
    UnsupportedError
        If it has too many pixels, or Pillow would decode it wrongly.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd but readable images
            with Image.open(io.BytesIO(stream), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise UnsupportedError(
                        f"the image has {width} x {height} pixels, more than {MAX_PIXELS:,}; scale it down"
                    )
                if is_deep(image):
                    raise UnsupportedError("the image has more than 8 bits a channel; convert it to 8 bits")
                if fault := fault_of(image):
                    raise UnsupportedError(f"the image {fault}")
                if not has_all_rows(image):
                    raise ModelError("the image cannot be decoded: rows of pixels are missing")
                return np.array(image.convert(mode))
    except UnidentifiedImageError:
        raise ModelError(f"its stream is not an image of {', '.join(_FORMATS)}") from None
    except Image.DecompressionBombError:
        raise UnsupportedError(f"the image has more than {MAX_PIXELS:,} pixels; scale it down") from None
    except READ_ERRORS as error:
        raise ModelError(f"the image cannot be decoded: {first_line(error)}") from None


def fault_of(image: Image.Image) -> str | None:
    """Return why Pillow would decode an image wrongly or only in part, and what to do; None where it would not."""
    if any(tile[0] == "libtiff" for tile in getattr(image, "tile", ())):
        # libtiff decodes damaged data to wrong pixels without an error, and writes to standard error.
        return "is a compressed TIFF, which is not read; save it as PNG, or without compression"
    # A photograph of a phone (MPO) may hold the same scene twice, for depth or as a preview.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        return f"has {frames} frames; save one of them as a file"
    return None


def is_deep(image: Image.Image) -> bool:
    """Whether the image has more than 8 bits a channel; Pillow drops the low bits of colours without an error."""
    if image.mode.startswith(("I", "F")):
        return True
    for codec, _, _, arguments in getattr(image, "tile", ()):
        parts = arguments if isinstance(arguments, tuple) else (arguments,)
        if any(isinstance(part, str) and re.search(r";(16|32)[BLN]", part) for part in parts):
            return True
        if codec.startswith("ppm") and any(isinstance(part, int) and part > 255 for part in parts):
            return True
    return False


def has_all_rows(image: ImageFile.ImageFile) -> bool:
    """Whether an image has the data of all its pixels, asked before it is loaded.

    Pillow takes rows that are missing in a PNG file for black; for other formats it raises.
    """
    if image.format != "PNG":
        return True
    file = image.fp
    assert file is not None, "the image is loaded already"
    place = file.tell()
    file.seek(0)
    png = file.read()
    file.seek(place)
    needed, count, at = 0, 0, _PNG_HEADER
    unpacker = zlib.decompressobj()
    while at + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        chunk = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            needed = _png_bytes(chunk)
        elif kind == b"IDAT":
            while chunk and count < needed:
                count += len(unpacker.decompress(chunk, _PIECE))
                chunk = unpacker.unconsumed_tail
        at += length + 12
    return count >= needed


def _png_bytes(header: bytes) -> int:
    """Return the number of bytes of unpacked rows, each with its filter, by the header of a PNG file."""
    width, height, depth, colours, _, _, is_interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _PNG_CHANNELS[colours]
    passes = _ADAM7 if is_interlaced else ((0, 0, 1, 1),)
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total
