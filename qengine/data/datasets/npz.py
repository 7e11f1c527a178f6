"""Samples in an .npz file: arrays by input name whose first axis counts samples, and labels or targets."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets.dataset import Item, Source
from qengine.data.datasets.layout import SampleLayout, are_pixels, layout_of
from qengine.data.preprocessing import Preprocessing
from qengine.data.read import ARCHIVE_ERRORS, array_header
from qengine.errors import FeedError, first_line
from qengine.input_files import open_input
from qengine.model.graph import Graph, Value

_ALIASES = ("x", "input", "images", "image", "data")
_LABELS = ("labels", "label")
_TARGETS = ("target", "targets")


@dataclass(frozen=True)
class _Array:
    """Array of the archive: its key, and the shape and dtype of its header."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class NpzSource(Source):
    """Reader of an .npz file, one sample at a time.

    Parameters
    ----------
    path
        Path of the file.
    graph
        The model.
    given
        Names of the inputs that the file does not feed.
    single
        Names of the inputs that decide shapes, whose arrays are read as a whole.
    preprocessing
        Conversion of uint8 arrays to the numbers of an input of real numbers.
    max_elements
        Limit on the number of elements of a sample.

    Raises
    ------
    FeedError
        If the file cannot be read, or its arrays do not fit the model or each other.
    """

    def __init__(
        self,
        path: Path,
        graph: Graph,
        given: frozenset[str],
        single: frozenset[str],
        preprocessing: Preprocessing,
        max_elements: int,
    ) -> None:
        self._path, self.preprocessing, self._max_elements = path, preprocessing, max_elements
        arrays = self._headers()
        self._inputs = self._match(arrays, graph, given)
        self._targets, labels = self._references(arrays, graph)
        self._layouts = {
            name: layout_of(
                f"{path} ['{array.key}']",
                array.shape,
                array.dtype,
                value,
                is_single=name in single,
                layout=preprocessing.layout,
            )
            for name, (value, array) in self._inputs.items()
        }
        sized = preprocessing.resize or preprocessing.crop
        if sized and (target := next((a for a in self._targets.values() if len(a.shape) > 2), None)):
            raise FeedError(
                f"{path} ['{target.key}'] holds targets, which --resize and --crop do not change: give arrays of the "
                "right sizes, and leave them out"
            )
        self.names = tuple(self._inputs)
        self.stacked = frozenset(n for n, layout in self._layouts.items() if layout.is_stacked)
        if any(layout is SampleLayout.RUNS for layout in self._layouts.values()):
            self.stacked = frozenset()
        counted = {
            a.key: a.shape[0] for n, (_, a) in self._inputs.items() if self._layouts[n] is not SampleLayout.WHOLE
        }
        counted |= {array.key: array.shape[0] for array in self._targets.values() if array.shape}
        if labels is not None:
            counted[labels.key] = labels.shape[0]
        if len(set(counted.values())) > 1:
            listed = ", ".join(f"'{key}' {count}" for key, count in counted.items())
            raise FeedError(f"{path}: the first axes, which count samples, have different lengths: {listed}")
        self._count = next(iter(counted.values()), 1)
        self.labels = None if labels is None else self._whole(labels).astype(np.int64)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def files(self, count: int) -> list[Path]:  # noqa: ARG002 - all samples are in one file
        """Return the file."""
        return [self._path]

    def settings(self) -> str:
        """Return the inputs and the conversion of pixels."""
        return f"npz {self.names} {self.preprocessing}"

    @property
    def reads_pixels(self) -> bool:
        """Whether an array of inputs or targets holds uint8 where real numbers are taken."""
        pairs = [*self._inputs.values(), *((_REAL, array) for array in self._targets.values())]
        return any(are_pixels(array.dtype, declared) for declared, array in pairs)

    def items(self) -> Iterator[Item]:
        """Yield the samples."""
        as_they_are = replace(self.preprocessing, resize=(), crop=())
        whole = {n: self._whole(a) for n, (_, a) in self._inputs.items() if self._layouts[n] is SampleLayout.WHOLE}
        with ExitStack() as stack:
            rows = {n: self._rows(a, stack) for n, (_, a) in self._inputs.items() if n not in whole}
            targets = {name: self._rows(array, stack) for name, array in self._targets.items()}
            for _ in range(self._count):
                feeds = {
                    n: self._layouts[n].feed(next(row), self._inputs[n][0], self.preprocessing)
                    for n, row in rows.items()
                }
                yield Item(
                    {n: whole[n] if n in whole else feeds[n] for n in self.names},
                    {n: SampleLayout.ROWS.feed(next(row), _REAL, as_they_are) for n, row in targets.items()},
                )

    def _headers(self) -> dict[str, _Array]:
        arrays = {}
        try:
            with open_input(self._path) as opened, zipfile.ZipFile(opened) as archive:
                for entry in archive.infolist():
                    key = entry.filename.removesuffix(".npy")
                    with archive.open(entry) as file:
                        shape, fortran, dtype = array_header(file, entry.file_size, f"{self._path} ['{key}']")
                    if fortran and len(shape) > 1:
                        raise FeedError(f"{self._path} ['{key}'] is in Fortran order: use np.ascontiguousarray")
                    arrays[key] = _Array(key, shape, dtype)
        except ARCHIVE_ERRORS as error:
            raise FeedError(f"{self._path} is not an .npz file, or damaged: {first_line(error)}") from None
        return arrays

    def _match(
        self, arrays: Mapping[str, _Array], graph: Graph, given: frozenset[str]
    ) -> dict[str, tuple[Value, _Array]]:
        """Return the declared input and the array of every input, by input name."""
        matched: dict[str, tuple[Value, _Array]] = {}
        missing = []
        for value in graph.inputs:
            key = next((key for key in (value.name, f"in:{value.name}") if key in arrays), None)
            if value.name in given:
                continue
            if key is None:
                missing.append(value)
            else:
                matched[value.name] = (value, arrays[key])
        left = [key for key in arrays if key in _ALIASES and all(key != array.key for _, array in matched.values())]
        if len(missing) == 1 and len(left) == 1:
            matched[missing[0].name] = (missing[0], arrays[left[0]])
        elif missing:
            listed = ", ".join(f"'{key}'" for key in arrays) or "nothing"
            raise FeedError(
                f"{self._path} has no array '{missing[0].name}' for that input; it holds {listed}; an input that is "
                f"the same for all samples is given with -i"
            )
        return {value.name: matched[value.name] for value in graph.inputs if value.name in matched}

    def _references(self, arrays: Mapping[str, _Array], graph: Graph) -> tuple[dict[str, _Array], _Array | None]:
        """Return the targets by output name, and the labels; raise FeedError for an array without a use."""
        used = {array.key for _, array in self._inputs.values()}
        inputs = {value.name for value in graph.inputs}
        outputs = [value.name for value in graph.outputs]
        targets: dict[str, _Array] = {}
        labels = None
        for key, array in arrays.items():
            name = key.removeprefix("out:")
            if key in used or key in inputs or key.removeprefix("in:") in inputs:
                continue
            if key in _LABELS:
                if array.dtype.kind not in "iu" or len(array.shape) != 1:
                    raise FeedError(f"{self._path} ['{key}'] must hold one integer for each sample")
                labels = array
            elif name in outputs or (key in _TARGETS and outputs):
                if not array.shape:
                    raise FeedError(f"{self._path} ['{key}'] has no axis of samples")
                targets[name if name in outputs else outputs[0]] = array
            else:
                raise FeedError(
                    f"{self._path} holds '{key}', which is neither an input of the model, nor labels, nor a target"
                )
        return targets, labels

    def _whole(self, array: _Array) -> NDArray[Any]:
        with ExitStack() as stack:
            file = self._open(array, stack)
            return self._next(file, array, array.shape)

    def _rows(self, array: _Array, stack: ExitStack) -> Iterator[NDArray[Any]]:
        """Yield the samples of an array; the first axis of each has the length 1."""
        file = self._open(array, stack)
        for _ in range(array.shape[0]):
            yield self._next(file, array, (1, *array.shape[1:]))

    def _open(self, array: _Array, stack: ExitStack) -> IO[bytes]:
        try:
            # One handle for each array, because the arrays are read in turns.
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(open_input(self._path))))
            entry = next(e for e in archive.infolist() if e.filename.removesuffix(".npy") == array.key)
            file = stack.enter_context(archive.open(entry))
            array_header(file, entry.file_size, f"{self._path} ['{array.key}']")
        except (*ARCHIVE_ERRORS, StopIteration) as error:
            raise FeedError(f"{self._path} is not an .npz file, or damaged: {first_line(error)}") from None
        return file

    def _next(self, file: IO[bytes], array: _Array, shape: Sequence[int]) -> NDArray[Any]:
        count = math.prod(shape)
        if count > self._max_elements:
            raise FeedError(
                f"a sample of {self._path} ['{array.key}'] has {count:,} elements, more than {self._max_elements:,} "
                "(--max-elements)"
            )
        try:
            data = file.read(count * array.dtype.itemsize)
        except ARCHIVE_ERRORS as error:
            raise FeedError(f"{self._path} is damaged: {first_line(error)}") from None
        if len(data) != count * array.dtype.itemsize:
            raise FeedError(f"{self._path} ['{array.key}'] is cut short")
        dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype
        flat = np.frombuffer(data, dtype)
        flat = flat != 0 if array.dtype.kind == "b" else flat
        return flat.reshape(shape).astype(flat.dtype.newbyteorder("="), copy=False)


_REAL = Value("target", np.dtype(np.float32))
