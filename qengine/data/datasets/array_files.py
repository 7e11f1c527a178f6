"""Arrays of samples in an .npz file, in a .npy file, and in a folder of one .npy file for each input."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets.columns import Column, ColumnsSource
from qengine.data.datasets.wanted import Wanted
from qengine.data.read import ARCHIVE_ERRORS, array_header
from qengine.errors import FeedError, first_line
from qengine.input_files import open_input


@dataclass(frozen=True)
class FileColumn(Column):
    """Array in a .npy file, or in an entry of an .npz file, that is read sample by sample.

    Attributes
    ----------
    path : path of the file.
    """

    path: Path

    def rows(self, stack: ExitStack, max_elements: int) -> Iterator[NDArray[Any]]:
        """Yield the samples."""
        file = self._opened(stack)
        for _ in range(self.shape[0]):
            yield self._next(file, (1, *self.shape[1:]), max_elements)

    def whole(self, max_elements: int) -> NDArray[Any]:
        """Return the array."""
        with ExitStack() as stack:
            return self._next(self._opened(stack), self.shape, max_elements)

    def _opened(self, stack: ExitStack) -> IO[bytes]:
        """Return the file at the first element."""
        try:
            if self.path.suffix.lower() == ".npz":
                # One handle for each array, because the arrays are read in turns.
                archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(open_input(self.path))))
                entry = next(e for e in archive.infolist() if e.filename.removesuffix(".npy") == self.key)
                file, size = stack.enter_context(archive.open(entry)), entry.file_size
            else:
                file, size = stack.enter_context(open_input(self.path)), self.path.stat().st_size
            array_header(file, size, self.label)
        except (*ARCHIVE_ERRORS, StopIteration) as error:
            raise FeedError(f"{self.path} cannot be read, or is damaged: {first_line(error)}") from None
        return file

    def _next(self, file: IO[bytes], shape: Sequence[int], max_elements: int) -> NDArray[Any]:
        self.check_size(tuple(shape), max_elements)
        size = math.prod(shape) * self.dtype.itemsize
        try:
            data = file.read(size)
        except ARCHIVE_ERRORS as error:
            raise FeedError(f"{self.path} is damaged: {first_line(error)}") from None
        if len(data) != size:
            raise FeedError(f"{self.label} is cut short")
        dtype = np.dtype(np.uint8) if self.dtype.kind == "b" else self.dtype
        flat = np.frombuffer(data, dtype)
        flat = flat != 0 if self.dtype.kind == "b" else flat
        return flat.reshape(shape).astype(flat.dtype.newbyteorder("="), copy=False)


def npz_source(path: Path, wanted: Wanted) -> ColumnsSource:
    """Return a reader of the arrays of an .npz file.

    Raises
    ------
    FeedError
        If the file cannot be read, or its arrays do not fit the model or each other.
    """
    columns = {}
    try:
        with open_input(path) as opened, zipfile.ZipFile(opened) as archive:
            for entry in archive.infolist():
                key = entry.filename.removesuffix(".npy")
                with archive.open(entry) as file:
                    columns[key] = _column(file, entry.file_size, key, f"{path} ['{key}']", path)
    except ARCHIVE_ERRORS as error:
        raise FeedError(f"{path} is not an .npz file, or damaged: {first_line(error)}") from None
    return ColumnsSource(str(path), columns, wanted, (path,))


def npy_source(path: Path, wanted: Wanted) -> ColumnsSource:
    """Return a reader of a .npy file of samples, for a model with one input."""
    name = wanted.only_input(f"{path} feeds").name
    return ColumnsSource(str(path), {name: npy_column(path, name)}, wanted, (path,))


def npy_folder_source(folder: Path, paths: Sequence[Path], wanted: Wanted) -> ColumnsSource:
    """Return a reader of .npy files that have the names of inputs, outputs or labels, and hold all samples."""
    columns = {path.stem: npy_column(path, path.stem) for path in paths}
    return ColumnsSource(str(folder), columns, wanted, tuple(paths))


def npy_column(path: Path, key: str) -> FileColumn:
    """Return the array of a .npy file.

    Raises
    ------
    FeedError
        If the file cannot be read, or holds no plain numbers in C order.
    """
    try:
        with open_input(path) as file:
            return _column(file, path.stat().st_size, key, str(path), path)
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror or error}") from None


def _column(file: IO[bytes], size: int, key: str, label: str, path: Path) -> FileColumn:
    shape, fortran, dtype = array_header(file, size, label)
    if fortran and len(shape) > 1:
        raise FeedError(f"{label} is in Fortran order: use np.ascontiguousarray")
    return FileColumn(key, label, shape, dtype, path)
