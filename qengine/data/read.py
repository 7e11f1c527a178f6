"""Reading of a VALUE, which a user gives for an input: an array, tensor or image file, or a literal."""

import io
import lzma
import math
import os
import struct
import sys
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qengine.data import audio
from qengine.data.audio import sound_for
from qengine.data.channels import CHANNELS, channel_axis
from qengine.data.images import SUFFIXES, read_image
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, first_line
from qengine.input_files import Encoded, NotAFileError, check_regular, open_input
from qengine.memory import MAX_ELEMENTS
from qengine.model.graph import Dim, Value
from qengine.model.loader.tensorfile import load_tensor
from qengine.near_files import missing_file

_FILES = SUFFIXES | audio.SUFFIXES | {".npy", ".npz", ".pb"}
_FILE_KINDS = "a .npy, .npz, .pb, .wav or image file"
_MAX_HEADER = 1 << 16
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError),
    *(UnicodeDecodeError, struct.error),
)
"""Exceptions that reading an .npz file raises if it is damaged, encrypted or of an unknown compression."""

ARRAY_ERRORS = (
    *(ValueError, TypeError, LookupError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError),
    *ARCHIVE_ERRORS,
)
"""Exceptions that NumPy raises for a damaged array file or archive of them."""


def read_value(
    text: str,
    declared: Value,
    preprocessing: Preprocessing,
    max_elements: int = MAX_ELEMENTS,
    label: str | None = None,
) -> NDArray[Any]:
    """Return the array that a VALUE gives.

    Parameters
    ----------
    text
        A .npy, .npz, .pb (TensorProto), .wav or image file, or a literal such as 1,1,3,3.
    declared
        The input. Its dtype and shape decide how a literal or an image is read.
    preprocessing
        Conversion of the pixels of an image to numbers.
    max_elements
        Limit on the number of elements. A larger array is refused before it is read.
    label
        Name of the value in errors; by default the name of the input.

    Raises
    ------
    FeedError
        If the file cannot be read, or the text is neither a file nor numbers.
    """
    try:
        return _read(text, declared, preprocessing, max_elements)
    except FeedError as error:
        label = label or f"input '{declared.name}'"
        raise FeedError(f"{label}: {error}") from None


def is_image(text: str) -> bool:
    """Whether a VALUE names an image file."""
    return _suffix(text) in SUFFIXES


def _suffix(text: str) -> str:
    return Path(text).suffix.lower()


def _read(text: str, declared: Value, preprocessing: Preprocessing, max_elements: int) -> NDArray[Any]:
    suffix = _suffix(text)
    if suffix not in _FILES:
        return _literal(text, declared)
    try:
        check_regular(os.stat(text).st_mode, text)  # noqa: PTH116 - pathlib raises for names that are too long
    except NotAFileError as error:
        raise FeedError(f"{text} {error.strerror}") from None
    except (OSError, ValueError):
        raise FeedError(f"there is no file {text}{missing_file(text)}") from None
    if suffix == ".npy":
        return _npy(Path(text), max_elements)
    if suffix == ".npz":
        return _npz(Path(text), declared.name, max_elements)
    if suffix == ".pb":
        return load_tensor(text)
    if suffix in audio.SUFFIXES:
        return sound_for(Path(text), declared, preprocessing.convert, max_elements)
    return picture_for(Path(text), declared, preprocessing, max_elements)


def _npy(path: Path, max_elements: int) -> NDArray[Any]:
    try:
        with open_input(path) as file:
            return array_of(file, path.stat().st_size, str(path), max_elements)
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror or error}") from None


def _npz(path: Path, name: str, max_elements: int) -> NDArray[Any]:
    """Return the array with the key `name`, or in:`name` as in golden files, or the only array of the file."""
    try:
        with open_input(path) as opened, zipfile.ZipFile(opened) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            key = next((key for key in (name, f"in:{name}") if key in entries), None)
            if key is None and len(entries) == 1:
                (key,) = entries
            if key is None:
                listed = ", ".join(f"'{other}'" for other in entries) or "nothing"
                raise FeedError(f"{path} has no array '{name}'; it holds {listed}")
            with archive.open(entries[key]) as file:
                return array_of(file, entries[key].file_size, f"{path} ['{key}']", max_elements)
    except ARCHIVE_ERRORS as error:
        raise FeedError(f"{path} is not an .npz file, or damaged: {first_line(error)}") from None


def read_entry(archive: zipfile.ZipFile, key: str, max_elements: int = sys.maxsize) -> NDArray[Any]:
    """Return an array of an open .npz file, all of whose bytes are read, so that their checksum is compared.

    Damage raises `ARCHIVE_ERRORS` as well.

    Raises
    ------
    FeedError
        If the entry holds something else than numbers, or another size than its header says.
    """
    entry = archive.getinfo(f"{key}.npy")
    with archive.open(entry) as file:
        return array_of(file, entry.file_size, f"{archive.filename} ['{key}']", max_elements)


def array_of(file: IO[bytes], size: int, label: str, max_elements: int = sys.maxsize) -> NDArray[Any]:
    """Return the array of a .npy file of `size` bytes, after a check of its header against that size."""
    shape, fortran, dtype = array_header(file, size, label)
    count = math.prod(shape)
    if count > max_elements:
        raise FeedError(f"{label} has {count:,} elements, more than {max_elements:,} (--max-elements)")
    expected = count * dtype.itemsize
    try:
        flat = np.empty(count, dtype)
        if file.readinto(flat.view(np.uint8)) != expected:  # type: ignore[attr-defined]
            raise FeedError(f"{label} is cut short")
        if dtype.kind == "b":  # NumPy expects no other bytes than 0 and 1 in a boolean array
            flat = flat.view(np.uint8) != 0
        return flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), copy=False)
    except ValueError:  # more axes than NumPy has, or a length beyond its index type with another length of 0
        raise FeedError(f"{label} has a shape that is too large, of {len(shape)} axes") from None
    except MemoryError:
        raise FeedError(f"{label} of shape {list(shape)} needs more memory than there is") from None


def array_header(file: IO[bytes], size: int, label: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of a .npy file of numbers, whether it is in Fortran order, and the dtype.

    Parameters
    ----------
    file
        The file. Its position is after the header when the function returns.
    size
        Size of the file in bytes, which must be exactly that of the header and the array.
    label
        Name of the file in errors.

    Raises
    ------
    FeedError
        If the file is damaged, or holds something else than numbers.
    """
    shape, fortran, dtype = _header(file, label)
    if dtype.hasobject:
        raise FeedError(f"{label} holds pickled Python objects, which are never loaded; save plain numbers")
    if dtype.kind not in "biuf":
        raise FeedError(f"{label} holds {dtype}; numbers are needed: save it with .astype('float32')")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise FeedError(f"{label} is not an array file: its header gives the shape {shape}")
    expected, actual = math.prod(shape) * dtype.itemsize, size - file.tell()
    if actual != expected:
        damage = "is cut short" if actual < expected else "has something after the array"
        raise FeedError(
            f"{label} {damage}: {list(shape)} of {dtype} takes {expected:,} bytes, and {actual:,} are there"
        )
    return shape, fortran, dtype


def _header(file: IO[bytes], label: str) -> tuple[tuple[Any, ...], bool, np.dtype[Any]]:
    """Return the shape, whether the array is in Fortran order, and the dtype, all unchecked."""
    # Of each version: the reader, and the bytes of the length of the header that comes first.
    readers = {
        (1, 0): (np.lib.format.read_array_header_1_0, 2),
        (2, 0): (np.lib.format.read_array_header_2_0, 4),
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            if version in readers:
                reader, digits = readers[version]
                length = file.read(digits)
                if int.from_bytes(length, "little") > _MAX_HEADER:  # which NumPy would read into memory first
                    raise ValueError("its header is too long")
                return reader(io.BytesIO(length + file.read(int.from_bytes(length, "little"))))
    except ARRAY_ERRORS as error:
        raise FeedError(f"{label} is not an array file: {first_line(error)}") from None
    raise FeedError(f"{label} is of .npy version {version}, which is not supported; save it again with NumPy")


def picture_for(path: Path | Encoded, declared: Value, preprocessing: Preprocessing, max_elements: int) -> NDArray[Any]:
    """Return an image as an input takes it; see `read_value`."""
    shape = declared.shape if declared.shape is not None else (None, None, None, None)
    if len(shape) not in (2, 3, 4):
        raise FeedError(f"it has {len(shape)} axes; an image has the axes N, C, H, W (or N, H, W, C), or fewer")
    axis = channel_axis(shape, preprocessing.layout) if len(shape) > 2 else None
    channels = 1 if axis is None else shape[axis]
    if channels not in CHANNELS and isinstance(channels, int):
        raise FeedError(f"it has {channels} channels, where an image has 3 (RGB) or 1 (grey)")
    height, width = shape[-3:-1] if axis == -1 else shape[-2:]
    pixels = read_image(
        *(path, 1 if channels == 1 else 3, max_elements), height=height, width=width, preprocessing=preprocessing
    )
    planes = preprocessing.to_numbers(pixels)
    picture = planes[0] if axis is None else np.ascontiguousarray(np.moveaxis(planes, 0, axis))
    tensor = picture[None] if len(shape) == 4 else picture
    if declared.dtype is None or declared.dtype == tensor.dtype:
        return tensor
    if declared.dtype.kind in "iu":
        info = np.iinfo(declared.dtype)
        # In float64, because float32 rounds the largest integers up, beyond the dtype.
        wide = tensor.astype(np.float64)
        if not ((wide == np.rint(wide)) & (wide >= info.min) & (wide < info.max + 1.0)).all():
            raise FeedError(f"it takes {declared.dtype}, which cannot hold the scaled pixels of {path}")
    elif declared.dtype.kind != "f":
        raise FeedError(f"it takes {declared.dtype}, and pixels are numbers")
    return tensor.astype(declared.dtype)


def _literal(text: str, declared: Value) -> NDArray[Any]:
    """Return numbers separated by commas, in the declared shape if their count determines it."""
    dtype = declared.dtype or np.dtype(np.float32)
    try:
        if dtype.kind == "O":  # text, in which a comma cannot occur
            flat = np.array(text.split(","), object)
        else:
            flat = np.array([_number(part, dtype) for part in text.split(",")], dtype)
    except _BeyondError as error:
        raise FeedError(f"'{error}' is beyond the numbers of {dtype}") from None
    except (ValueError, KeyError):
        example = "truth values such as true,false" if dtype.kind == "b" else f"{dtype} numbers such as 1,1,3,3"
        raise FeedError(f"'{text}' is neither {_FILE_KINDS} nor {example}") from None
    lengths: list[Dim] = list(declared.shape) if declared.shape is not None else [None]
    known = math.prod(length for length in lengths if isinstance(length, int))
    open_axes = [axis for axis, length in enumerate(lengths) if not isinstance(length, int)]
    if len(open_axes) == 1 and known and flat.size % known == 0:
        lengths[open_axes[0]] = flat.size // known
        known = flat.size
    if len(open_axes) > 1 or known != flat.size:
        return flat  # the session refuses a wrong shape
    return flat.reshape([length for length in lengths if isinstance(length, int)])


class _BeyondError(Exception):
    """A number is beyond the range of a dtype."""


def _number(part: str, dtype: np.dtype[Any]) -> Any:
    """Return a number of a dtype; raise _BeyondError, ValueError or KeyError if the text is none."""
    word = part.strip().lower()
    if "_" in word:  # Python allows 1_000, but it is likely an error here
        raise ValueError
    if dtype.kind == "b":
        return _BOOLEANS[word]
    if dtype.kind in "iu":
        whole, info = int(word), np.iinfo(dtype)
        if not info.min <= whole <= info.max:
            raise _BeyondError(word)
        return whole
    with np.errstate(over="ignore"):
        number = dtype.type(float(word))
    if np.isinf(number) and "inf" not in word:
        raise _BeyondError(word)
    return number
