"""Sizes and colours of picture files, read from their headers, and the resizing that a model needs of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qengine.data.images import GREY_MODES, IMAGE_FORMATS, SUFFIXES, upright_size
from qengine.input_files import open_input
from qengine.model.graph import Dim
from qengine.model.pictures import READ_ERRORS, is_deep

_MOST_FILES = 64
_MOST_LISTED = 20_000
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")

_USUAL_CROP, _LEAST_CROPPED = 0.875, 96
"""Share of the shorter side that networks for large pictures are usually tested on, as 224 of 256."""


@dataclass(frozen=True)
class Pictures:
    """Picture files, of which some headers were read.

    Attributes
    ----------
    sizes : height and width of those that were read, each once.
    conversions : names in `CONVERSIONS`: the changes that a model with some number of channels needs.
    """

    sizes: tuple[tuple[int, int], ...]
    conversions: tuple[str, ...]

    def described(self, count: int) -> str:
        """Return a number of pictures and their sizes in words, width first."""
        least = min(self.sizes, key=lambda size: size[0] * size[1])
        most = max(self.sizes, key=lambda size: size[0] * size[1])
        words = f"{least[1]} x {least[0]}" + (f" to {most[1]} x {most[0]}" if least != most else "")
        return f"{count:,} picture{'s' * (count != 1)}, {words}"


def read_pictures(data: str, channels: int | None) -> Pictures | None:
    """Return the picture files of data; None where it is none, or they cannot be read.

    Parameters
    ----------
    data
        A picture, or a folder of pictures or of folders of them.
    channels
        Number of channels that the model takes; None where it is open.
    """
    files = list(_files(Path(data)))
    sizes: dict[tuple[int, int], None] = {}
    needed: set[str] = set()
    for path in files[:: max(1, -(-len(files) // _MOST_FILES))]:
        header = _header(path)
        if header is None:
            continue
        size, mode, deep = header
        sizes[size] = None
        needed |= {"grey"} if mode in GREY_MODES and channels == 3 else set()
        needed |= {"alpha"} if mode in _ALPHA else set()
        needed |= {"depth"} if deep else set()
    order = ("grey", "alpha", "depth")
    return Pictures(tuple(sizes), tuple(name for name in order if name in needed)) if sizes else None


def _files(place: Path) -> Iterator[Path]:
    """Yield the picture files of a path, in order."""
    if place.is_file():
        yield from [place] if place.suffix.lower() in SUFFIXES else []
        return
    listed = 0
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122
                yield Path(folder) / name
                listed += 1
                if listed == _MOST_LISTED:
                    return


def _header(path: Path) -> tuple[tuple[int, int], str, bool] | None:
    """Return height and width of a picture turned upright, its mode, and whether it is deep; None for a damaged one."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd but readable files
            with open_input(path) as file, Image.open(file, formats=IMAGE_FORMATS) as image:
                return upright_size(image), image.mode, is_deep(image)
    except (*READ_ERRORS, Image.DecompressionBombError):
        return None


def fitting(sizes: Sequence[tuple[int, int]], height: Dim, width: Dim) -> tuple[str | None, str | None]:
    """Return --resize and --crop, as they are typed, for pictures of some sizes; None for what is not needed.

    A model that takes one size gets the middle of the pictures. Large ones are made somewhat larger than it first, as
    networks for photos are usually tested.

    Parameters
    ----------
    sizes
        Heights and widths of the pictures.
    height, width
        Size that the model takes; a name or None where it is open.
    """
    if not isinstance(height, int) or not isinstance(width, int) or set(sizes) == {(height, width)}:
        return None, None
    side = min(height, width)
    is_larger = all(h >= height and w >= width for h, w in sizes)
    is_photo = is_larger and side >= _LEAST_CROPPED and height == width
    if all(h * width == w * height for h, w in sizes) and not is_photo:
        return f"{height},{width}", None
    if height != width:
        return f"{height},{width}", None
    return str(round(side / _USUAL_CROP) if is_photo else side), str(side)
