"""Resizing and cropping of pictures, with the pixels of torchvision's Resize and CenterCrop.

A resize by one length keeps the proportions: the shorter side gets that length, and the longer one is cut to a whole
number. Pixels are weighted bilinearly, over all of those that a pixel of the result covers where the picture shrinks.
A crop takes the middle; where the border is odd, half a pixel goes to the even side.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qengine.data.preprocessing import CONVERSIONS, Preprocessing
from qengine.errors import FeedError
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Dim

Size = tuple[int, int]
"""Height and width in pixels."""


def changed_size(size: Size, preprocessing: Preprocessing, label: str) -> Size:
    """Return the height and width of a picture after the resize and the crop.

    Raises
    ------
    FeedError
        If the crop is larger than the picture.
    """
    size = _resized_size(size, preprocessing.resize)
    crop = preprocessing.crop
    if not crop:
        return size
    if crop[0] > size[0] or crop[1] > size[1]:
        after = " after the resize" if preprocessing.resize else ""
        raise FeedError(
            f"{label} is {by(size)} pixels{after}, and a crop of {by(crop)} is larger: give a smaller --crop, or a "
            f"--resize of {max(crop)} or more"
        )
    return crop[0], crop[1]


def final_size(size: Size, preprocessing: Preprocessing, needed: tuple[Dim, Dim], label: str) -> Size:
    """Return the height and width in which a picture is fed.

    Parameters
    ----------
    size
        Height and width of the upright picture.
    preprocessing
        The resize, the crop, and whether pictures may be resized to the needed size.
    needed
        Height and width that the model needs; a name or None for any.
    label
        Name of the picture in errors.

    Raises
    ------
    FeedError
        If the crop is larger than the picture, or the picture does not have the needed size.
    """
    found = changed_size(size, preprocessing, label)
    wanted = tuple(n if isinstance(n, int) else m for n, m in zip(needed, found, strict=True))
    if wanted != found and "size" not in preprocessing.convert:
        after = " as --resize and --crop make it" if preprocessing.resize or preprocessing.crop else ""
        asked = " x ".join(str(n) if isinstance(n, int) else "?" for n in reversed(needed))
        raise FeedError(
            f"{label} is {by(found)} pixels{after}, and {asked} are needed; give --convert size, with which "
            f"{CONVERSIONS['size']}, or --resize and --crop as in training"
        )
    return wanted[0], wanted[1]


def changed(image: Image.Image, preprocessing: Preprocessing, final: Size) -> Image.Image:
    """Return a picture resized and cropped, and then in the size that `final_size` gave."""
    image = _resized(image, _resized_size((image.height, image.width), preprocessing.resize))
    if preprocessing.crop:
        height, width = preprocessing.crop
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        image = image.crop((left, top, left + width, top + height))
    return _resized(image, final)


def changed_planes(
    planes: NDArray[np.uint8], preprocessing: Preprocessing, needed: tuple[Dim, Dim], label: str
) -> NDArray[np.uint8]:
    """Return uint8 planes (..., H, W) resized and cropped as pictures are; see `final_size`."""
    size = planes.shape[-2], planes.shape[-1]
    final = final_size(size, preprocessing, needed, label)
    if final == size and not preprocessing.resize:  # a crop of the whole changes nothing
        return planes
    flat = planes.reshape(-1, *size)
    check_size(_resized_size(size, preprocessing.resize), len(flat), MAX_ELEMENTS, label)
    found = np.stack([np.asarray(changed(Image.fromarray(plane), preprocessing, final)) for plane in flat])
    return found.reshape(*planes.shape[:-2], *final)


def largest_size(size: Size, preprocessing: Preprocessing, final: Size) -> Size:
    """Return the larger of the sizes that a picture has while it is changed."""
    return max(_resized_size(size, preprocessing.resize), final, key=lambda one: one[0] * one[1])


def check_size(size: Size, channels: int, max_elements: int, label: str) -> None:
    """Raise FeedError for a size that has too many elements."""
    if size[0] * size[1] * channels > max_elements:
        raise FeedError(
            f"{label} has {by(size)} pixels, {channels * size[0] * size[1]:,} elements, more than {max_elements:,}; "
            "raise the limit (--max-elements, max_elements=) if you need it"
        )


def by(size: Sequence[int]) -> str:
    """Return a height and width as people say it, the width first."""
    return f"{size[1]} x {size[0]}"


def _resized_size(size: Size, resize: Sequence[int]) -> Size:
    if not resize:
        return size
    if len(resize) == 2:
        return resize[0], resize[1]
    height, width = size
    long = int(resize[0] * max(size) / min(size)) if min(size) else resize[0]
    return (resize[0], long) if height <= width else (long, resize[0])


def _resized(image: Image.Image, size: Size) -> Image.Image:
    if size == (image.height, image.width) or not size[0] * size[1] or not image.height * image.width:
        return image
    return image.resize(size[::-1], Image.Resampling.BILINEAR)
