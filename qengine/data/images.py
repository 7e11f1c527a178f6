"""Image files and tensors: reading an image as a float32 tensor, and writing a tensor as an image."""

import os
import warnings
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from qengine.atomic_files import replacing
from qengine.data.channels import CHANNELS, channel_axis
from qengine.data.geometry import Size, changed, check_size, final_size, largest_size
from qengine.data.preprocessing import CONVERSIONS, Preprocessing
from qengine.errors import FeedError
from qengine.input_files import Encoded, open_input
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Dim
from qengine.model.pictures import READ_ERRORS, fault_of, has_all_rows, is_deep

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
"""Endings of the names of image files that are read."""

LOSSLESS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Image formats that are written, by the ending of the name: those that keep every pixel."""

# The content of a file decides its format, not its name. Pillow has other formats too, and runs programs for some.
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_STRIP_ELEMENTS = 1 << 16
_PNG_LEVEL = 4  # files as small as those of zlib's level 6, in a third of the time
_MOST_16_BITS = 0xFFFF
_OPAQUE = 255
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_AS_IT_IS = Preprocessing(convert=("grey", "alpha"))
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def read_image(
    path: str | os.PathLike[str] | Encoded,
    channels: int,
    max_elements: int = MAX_ELEMENTS,
    *,
    height: Dim = None,
    width: Dim = None,
    preprocessing: Preprocessing = _AS_IT_IS,
) -> NDArray[np.uint8]:
    """Return an image file as uint8 pixels (H, W, C), with 3 channels for RGB or 1 for grey.

    The image is turned upright as its EXIF orientation says, and then resized and cropped. Colours become grey where
    there is one channel.

    Parameters
    ----------
    path
        The file. Its content decides the image format, not its name.
    channels
        Number of channels, 3 or 1.
    max_elements
        Limit on the number of elements. A larger image is refused before it is decoded.
    height, width
        Size that the image must have then; a name or None for any. Another size is refused before decoding.
    preprocessing
        The resize, the crop, and what else may be changed. An image that needs another change is refused.

    Raises
    ------
    FeedError
        If the file is not an image or is damaged, needs a change that is not allowed, has several frames, is too large,
        or smaller than the crop.
    """
    convert = preprocessing.convert
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd but readable files
            with open_input(path) as file, Image.open(file, formats=IMAGE_FORMATS) as image:
                _check(image, f"image {path}", channels, max_elements, convert)
                size = upright_size(image)
                final = final_size(size, preprocessing, (height, width), f"image {path}")
                most = largest_size(size, preprocessing, final)
                check_size(most, channels, max_elements, f"image {path}, resized,")
                upright = _in_8_bits(ImageOps.exif_transpose(image), f"image {path}")
                _check_colours(upright, f"image {path}", channels, convert)
                plain = upright.convert("RGB" if channels == 3 else "L")
                pixels = np.asarray(changed(plain, preprocessing, final))
    except UnidentifiedImageError:
        raise FeedError(f"image {path} is not an image that can be read") from None
    except Image.DecompressionBombError:
        raise FeedError(f"image {path} has more pixels than Pillow unpacks; scale it down, or give .npy") from None
    except READ_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FeedError(f"image {path} cannot be read: {reason or 'not enough memory'}") from None
    return pixels.reshape(*pixels.shape[:2], channels)


def _check(image: ImageFile.ImageFile, label: str, channels: int, max_elements: int, convert: Collection[str]) -> None:
    """Raise FeedError for an image that is too large, or that Pillow would read only in part."""
    check_size(image.size[::-1], channels, max_elements, label)
    if is_deep(image) and ("depth" not in convert or image.mode == "F"):
        remedy = "convert it to .npy" if image.mode == "F" else f"{_allow('depth')}, or convert it to .npy"
        raise FeedError(f"{label} has more than 8 bits a channel: {remedy}")
    if fault := fault_of(image):
        raise FeedError(f"{label} {fault}")
    if not has_all_rows(image):
        raise FeedError(f"{label} cannot be read: rows of pixels are missing; make the file again")


def upright_size(image: Image.Image) -> Size:
    """Return the height and width that an image has when it is turned upright."""
    width, height = image.size
    return (width, height) if image.getexif().get(ExifTags.Base.Orientation, 1) in _ROTATED else (height, width)


def _allow(conversion: str) -> str:
    """Return the words that tell how to allow a conversion."""
    return f"give --convert {conversion}, with which {CONVERSIONS[conversion]}"


def _in_8_bits(image: Image.Image, label: str) -> Image.Image:
    """Return a grey image of 16 bits by its high 8; Pillow reads colours so itself."""
    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image).astype(np.int64)
    if deep.min(initial=0) < 0 or deep.max(initial=0) > _MOST_16_BITS:
        raise FeedError(f"{label} has more than 16 bits a channel: convert it to .npy")
    return Image.fromarray((deep >> 8).astype(np.uint8))


def _check_colours(image: Image.Image, label: str, channels: int, convert: Collection[str]) -> None:
    """Raise FeedError for a grey image where colours are needed, or one that is transparent somewhere."""
    if channels == 3 and image.mode in GREY_MODES and "grey" not in convert:
        raise FeedError(f"{label} is grey, and the input takes 3 channels: {_allow('grey')}")
    may_be_clear = "alpha" not in convert and image.has_transparency_data
    if may_be_clear and np.asarray(image.convert("RGBA"))[..., 3].min(initial=_OPAQUE) < _OPAQUE:
        raise FeedError(f"{label} is transparent, and the input takes no such channel: {_allow('alpha')}")


def planes_of(tensor: NDArray[Any], layout: str | None = None) -> NDArray[Any] | None:
    """Return a tensor that is one image as (C, H, W) with C = 1 or 3; None if it is not one image.

    Without a layout, a tensor whose channels may be first or last is none.
    """
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or 0 in tensor.shape:
        return None
    try:
        planes = np.moveaxis(tensor, channel_axis(tensor.shape, layout), 0)
    except FeedError:
        return None
    return planes if len(planes) in CHANNELS else None


def is_picture(tensor: NDArray[Any], layout: str | None = None) -> bool:
    """Whether a tensor is one image whose elements can be pixels: real numbers or uint8."""
    return planes_of(tensor, layout) is not None and (tensor.dtype.kind == "f" or tensor.dtype == np.uint8)


def pixels_of(tensor: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float64] | None:
    """Return a tensor as float64 pixels (H, W, C), clipped to 0..255 and not rounded; None if it is not one image.

    uint8 elements are pixels already and are not scaled.
    """
    strips = pixel_strips(tensor, preprocessing)
    return None if strips is None else np.concatenate([*strips])


def pixel_strips(tensor: NDArray[Any], preprocessing: Preprocessing) -> Iterator[NDArray[np.float64]] | None:
    """Return the pixels of `pixels_of` in strips of some rows, which stay in a cache; None if there are none."""
    planes = planes_of(tensor, preprocessing.layout)
    if planes is None or not is_picture(tensor, preprocessing.layout):
        return None
    own_scale = Preprocessing(bgr=preprocessing.bgr) if planes.dtype == np.uint8 else preprocessing
    channels, height, width = planes.shape
    rows = max(_STRIP_ELEMENTS // (channels * width), 1)
    return (own_scale.to_pixels(planes[:, first : first + rows]) for first in range(0, height, rows))


def write_image(path: str | os.PathLike[str], strips: Iterable[NDArray[np.float64]]) -> None:
    """Round pixels in 0..255 and write them, whole or not at all.

    Parameters
    ----------
    path
        File to write. The ending of its name is one of `LOSSLESS`.
    strips
        Float64 pixels (rows, W, C) of 1 or 3 channels, in strips from the top to the bottom.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    whole = np.concatenate([np.rint(pixels).astype(np.uint8) for pixels in strips])
    image = Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole)
    with replacing(path) as temporary:
        image.save(temporary, format=LOSSLESS[Path(path).suffix.lower()], compress_level=_PNG_LEVEL)
