"""Dumps as NumPy writes them: .npy and .npz."""

from __future__ import annotations

import io
import zipfile

from qengine.data.read import ARCHIVE_ERRORS, array_of
from qengine.deploy.compare.dump import DumpedTensor
from qengine.errors import DumpError, FeedError, first_line
from qengine.memory import MAX_ELEMENTS

_PREFIXES = ("in:", "out:")


def read_npy(name: str, content: bytes, source: str) -> list[DumpedTensor]:
    """Return the tensor of a .npy file."""
    try:
        array = array_of(io.BytesIO(content), len(content), source)
    except FeedError as error:
        raise DumpError(str(error)) from None
    return [DumpedTensor.of_array(name, source, array)]


def read_npz(name: str, content: bytes, source: str) -> list[DumpedTensor]:
    """Return the tensors of an .npz file, each by its key."""
    del name
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                key = entry.filename.removesuffix(".npy")
                with archive.open(entry) as file:
                    arrays[key] = array_of(file, entry.file_size, f"{source} ['{key}']", MAX_ELEMENTS)
    except FeedError as error:
        raise DumpError(str(error)) from None
    except ARCHIVE_ERRORS as error:
        raise DumpError(f"{source} is not an .npz file, or damaged: {first_line(error)}") from None
    if not arrays:
        raise DumpError(f"{source} holds no array")
    return [
        DumpedTensor.of_array(_plain(key), f"{source} ['{key}']", array, number)
        for number, (key, array) in enumerate(arrays.items())
    ]


def _plain(key: str) -> str:
    return next((key.removeprefix(p) for p in _PREFIXES if key.startswith(p)), key)
