"""Writing of the outputs of a run to a file: .npy, .npz or an image."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.atomic_files import check_writable, replacing
from qengine.data.channels import channel_axis
from qengine.data.images import LOSSLESS, SUFFIXES, pixel_strips, write_image
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, OptionError

_UNIX = 3  # the system that an archive names
_MAX_NAME = 0xFFFF  # bytes of a name in a zip file


def check_out(path: Path, codes: bool = False) -> None:
    """Check before a run that `write_outputs` can write any outputs to a path.

    Parameters
    ----------
    path
        File to write the outputs to.
    codes
        Whether the outputs are integer codes, which cannot be an image.

    Raises
    ------
    OptionError
        If the ending of the name is not supported, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES - set(LOSSLESS):
        raise OptionError(f"cannot write {path}: {suffix} would change the pixels; use .png")
    if suffix not in {".npy", ".npz", *LOSSLESS}:
        kinds = ", ".join(LOSSLESS)
        raise OptionError(f"cannot write {path}: the name must end in .npy, .npz or, for an image, {kinds}")
    if codes and suffix in LOSSLESS:
        raise OptionError(f"cannot write {path}: codes are not an image; use .npy or .npz")
    check_writable(path)


def write_outputs(path: Path, outputs: Mapping[str, NDArray[Any]], preprocessing: Preprocessing) -> tuple[str, ...]:
    """Write outputs to a file, whole or not at all, and return the names of the outputs that are not in it.

    Parameters
    ----------
    path
        File to write: .npz for all outputs, .npy for a single output, or an image for the first output that is one,
        clipped and rounded.
    outputs
        Arrays by tensor name.
    preprocessing
        Conversion of the numbers of the model to pixels.

    Raises
    ------
    OptionError
        If `check_out` refuses the path, the outputs do not fit it, or writing fails.
    """
    check_out(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        if len(outputs) != 1:
            raise OptionError(f"cannot write {path}: there are {len(outputs)} outputs; use .npz")
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, _plain(path, *next(iter(outputs.items()))), allow_pickle=False)
    elif suffix == ".npz":
        with replacing(path) as temporary:
            _write_npz(temporary, outputs)
    else:
        name, strips = _first_image(path, outputs, preprocessing)
        write_image(path, strips)
        return tuple(other for other in outputs if other != name)
    return ()


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as np.savez does, which takes names as keyword arguments and so does not allow every name."""
    for name in arrays:
        if "\0" in name or len(f"{name}.npy".encode(errors="surrogatepass")) > _MAX_NAME:
            raise OptionError(f"an .npz file cannot hold a tensor of the name '{name}'; use .npy")
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.create_system = _UNIX  # the same bytes on every system
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _plain(path, name, array), allow_pickle=False)


def _plain(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that NumPy writes without pickling: text as NumPy's own, which drops NUL at its end."""
    if array.dtype != object:
        return array
    if any(isinstance(element, str) and element.endswith("\0") for element in array.flat):
        raise OptionError(f"cannot write {path}: '{name}' holds text that ends with NUL")
    return array.astype(str)


def _first_image(
    path: Path, outputs: Mapping[str, NDArray[Any]], preprocessing: Preprocessing
) -> tuple[str, Iterator[NDArray[np.float64]]]:
    for name, array in outputs.items():
        strips = pixel_strips(array, preprocessing)
        if strips is None:
            if array.ndim in (3, 4) and array.dtype.kind in "fu" and array.shape[0] in (1, 3):
                _tell_layout(path, name, array, preprocessing.layout)
            continue
        if np.isnan(array).any():
            raise OptionError(f"cannot write {path}: '{name}' holds NaN, which is not a pixel value; use .npz")
        return name, strips
    shapes = ", ".join(f"'{name}' {list(array.shape)}" for name, array in outputs.items())
    raise OptionError(f"cannot write {path}: no output is one image of 1 or 3 channels: {shapes}; use .npz")


def _tell_layout(path: Path, name: str, array: NDArray[Any], layout: str | None) -> None:
    """Raise OptionError for an output whose channels may be first or last."""
    try:
        channel_axis(array.shape, layout)
    except FeedError as error:
        raise OptionError(f"cannot write {path}: output '{name}': {error}") from None
