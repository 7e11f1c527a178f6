"""Image files and tensors: reading an image as a float32 tensor, and writing a tensor as an image."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from qengine.atomic_files import replacing
from qengine.errors import FeedError, OptionError
from qengine.input_files import open_input
from qengine.model.graph import Dim
from qengine.model.pictures import READ_ERRORS, fault_of
from qengine.runtime.plan.plan import MAX_ELEMENTS

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
"""Endings of the names of image files that are read."""

LOSSLESS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Image formats that are written, by the ending of the name: those that keep every pixel."""

# The content of a file decides its format, not its name. Pillow has other formats too, and runs programs for some.
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_MAX_NUMBER = 1e30
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class PixelScale:
    """Conversion of pixels 0..255 to the numbers of a model: (pixel - mean) * scale.

    Attributes
    ----------
    scale, mean : number for all channels, or one number per channel in the model's order of channels.
    bgr : whether the model's channels are blue, green, red.

    Raises
    ------
    OptionError
        If a number is not finite or beyond 1e30, or a scale is 0.
    """

    scale: tuple[float, ...] = (1.0,)
    mean: tuple[float, ...] = (0.0,)
    bgr: bool = False

    def __post_init__(self) -> None:
        for number in self.scale:
            if not 1 / _MAX_NUMBER <= abs(number) <= _MAX_NUMBER:
                raise OptionError(f"scale {number:g} must be a finite number other than 0, such as 1/255")
        for number in self.mean:
            if not abs(number) <= _MAX_NUMBER:
                raise OptionError(f"mean {number:g} must be a finite number, in pixels 0..255")

    def fits(self, channels: int) -> bool:
        """Whether scale and mean have one number, or one for each of `channels` channels."""
        return all(len(numbers) in (1, channels) for numbers in (self.scale, self.mean))

    def to_numbers(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return uint8 pixels (H, W, C) as a float32 tensor (C, H, W); raise OptionError unless `fits(C)`."""
        planes = np.moveaxis(pixels, -1, 0)
        planes = planes[::-1] if self.bgr else planes
        numbers = zip(planes, *self._columns(len(planes)), strict=True)
        # Plane by plane: float64 for a whole large image would take more memory than the result.
        return np.stack([((plane.astype(np.float64) - m) * s).astype(np.float32) for plane, s, m in numbers])

    def to_pixels(self, planes: NDArray[Any]) -> NDArray[np.float64]:
        """Return a tensor (C, H, W) as float64 pixels (H, W, C), clipped to 0..255 and not rounded."""
        scale, mean = (column.reshape(-1, 1, 1) for column in self._columns(len(planes)))
        pixels = np.clip(planes.astype(np.float64) / scale + mean, 0.0, 255.0)
        return np.moveaxis(pixels[::-1] if self.bgr else pixels, 0, -1)

    def _columns(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scale and mean with one number per channel."""
        for name, numbers in (("scale", self.scale), ("mean", self.mean)):
            if len(numbers) not in (1, channels):
                raise OptionError(f"{name} has {len(numbers)} numbers, and the image {channels} channel(s)")
        return np.resize(self.scale, channels), np.resize(self.mean, channels)


def read_image(
    path: str | os.PathLike[str],
    channels: int,
    max_elements: int = MAX_ELEMENTS,
    *,
    height: Dim = None,
    width: Dim = None,
) -> NDArray[np.uint8]:
    """Return an image file as uint8 pixels (H, W, C), with 3 channels for RGB or 1 for grey.

    The image is turned upright as its EXIF orientation says. Transparency is dropped.

    Parameters
    ----------
    path
        The file. Its content decides the image format, not its name.
    channels
        Number of channels, 3 or 1.
    max_elements
        Limit on the number of elements. A larger image is refused before it is decoded.
    height, width
        Size that the image must have; a name or None for any. Another size is refused before decoding.

    Raises
    ------
    FeedError
        If the file is not an image or is damaged, has more than 8 bits a channel or several frames, or is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd but readable files
            with open_input(path) as file, Image.open(file, formats=_IMAGE_FORMATS) as image:
                _check(image, f"image {path}", channels, max_elements)
                _check_size(image, f"image {path}", height, width)
                upright = ImageOps.exif_transpose(image)
                pixels = np.asarray(upright.convert("RGB" if channels == 3 else "L"))
    except UnidentifiedImageError:
        raise FeedError(f"image {path} is not an image that can be read") from None
    except Image.DecompressionBombError:
        raise FeedError(f"image {path} has more pixels than Pillow unpacks; scale it down, or give .npy") from None
    except READ_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FeedError(f"image {path} cannot be read: {reason or 'not enough memory'}") from None
    return pixels.reshape(*pixels.shape[:2], channels)


def _check(image: Image.Image, label: str, channels: int, max_elements: int) -> None:
    """Raise FeedError for an image that is too large, or that Pillow would read only in part."""
    width, height = image.size
    if width * height * channels > max_elements:
        raise FeedError(
            f"{label} has {width} x {height} pixels, {channels * width * height:,} elements, more than "
            f"{max_elements:,}; raise the limit (--max-elements, max_elements=) if you need it"
        )
    if fault := fault_of(image):
        raise FeedError(f"{label} {fault}")


def _check_size(image: Image.Image, label: str, height: Dim, width: Dim) -> None:
    """Raise FeedError for an image that, turned upright, does not have the size that the model needs."""
    actual = image.size[::-1]
    if image.getexif().get(ExifTags.Base.Orientation, 1) in _ROTATED:
        actual = image.size
    if any(isinstance(n, int) and n != m for n, m in zip((height, width), actual, strict=True)):
        wanted = " x ".join(str(n) if isinstance(n, int) else "?" for n in (width, height))
        raise FeedError(f"{label} is {actual[1]} x {actual[0]} pixels, and {wanted} are needed; resize it first")


def planes_of(tensor: NDArray[Any]) -> NDArray[Any] | None:
    """Return a tensor that is one image as (C, H, W) with C = 1 or 3; None if it is not one image."""
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or 0 in tensor.shape:
        return None
    return tensor


def pixels_of(tensor: NDArray[Any], pixel_scale: PixelScale) -> NDArray[np.float64] | None:
    """Return a tensor as float64 pixels (H, W, C), clipped to 0..255 and not rounded; None if it is not one image.

    uint8 elements are pixels already and are not scaled.
    """
    planes = planes_of(tensor)
    if planes is None or not (planes.dtype.kind == "f" or planes.dtype == np.uint8):
        return None
    own_scale = PixelScale(bgr=pixel_scale.bgr) if planes.dtype == np.uint8 else pixel_scale
    return own_scale.to_pixels(planes)


def write_image(path: str | os.PathLike[str], pixels: NDArray[np.float64]) -> None:
    """Round pixels (H, W, C) in 0..255 and write them, whole or not at all.

    Parameters
    ----------
    path
        File to write. The ending of its name is one of `LOSSLESS`.
    pixels
        Float64 pixels, 1 or 3 channels.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    whole = np.rint(pixels).astype(np.uint8)
    image = Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole)
    with replacing(path) as temporary:
        image.save(temporary, format=LOSSLESS[Path(path).suffix.lower()])
