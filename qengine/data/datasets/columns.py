"""Samples in arrays, one for each input, whose first axis counts samples; with them labels or targets.

The arrays are those of an .npz file, of .npy files, or in memory. Each is a `Column`: its shape is known at once, and
its elements are read row by row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets.dataset import Item, Source
from qengine.data.datasets.layout import SampleLayout, are_pixels, layout_of
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError
from qengine.model.graph import Value

ALIASES = (
    *("x", "input", "inputs", "images", "image", "img", "data", "features", "pixel_values", "audio", "waveform"),
    "input_values",
)
"""Names of arrays and columns that feed the only input that no other feeds."""

LABELS = ("labels", "label", "y", "class", "classes")
"""Names of arrays and columns of labels."""

TARGETS = ("target", "targets", "expected")
"""Names of arrays and columns of the true first output."""


@dataclass(frozen=True)
class Column(ABC):
    """Array whose first axis counts samples.

    Attributes
    ----------
    key : name of the array.
    label : name of the array in errors.
    shape, dtype : shape and dtype of the array.
    """

    key: str
    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def rows(self, stack: ExitStack, max_elements: int) -> Iterator[NDArray[Any]]:
        """Yield the samples; the first axis of each has the length 1. Files are open as long as the stack."""

    @abstractmethod
    def whole(self, max_elements: int) -> NDArray[Any]:
        """Return the array."""

    def check_size(self, shape: tuple[int, ...], max_elements: int) -> None:
        """Raise FeedError where a sample of a shape has too many elements."""
        if (count := prod(shape)) > max_elements:
            raise FeedError(
                f"a sample of {self.label} has {count:,} elements, more than {max_elements:,} (--max-elements)"
            )


class ColumnsSource(Source):
    """Reader of samples in arrays, one sample at a time.

    Parameters
    ----------
    name
        Name of the data, for errors.
    columns
        The arrays by name.
    wanted
        The inputs to feed, and how.
    paths
        Files of the arrays; () for arrays in memory.

    Raises
    ------
    FeedError
        If the arrays do not fit the model or each other.
    """

    def __init__(self, name: str, columns: Mapping[str, Column], wanted: Wanted, paths: tuple[Path, ...] = ()) -> None:
        self._name, self._wanted, self._paths = name, wanted, paths
        self.preprocessing = preprocessing = wanted.preprocessing
        self._inputs = self._match(columns)
        self._targets, labels = self._references(columns)
        self._layouts = {
            name: layout_of(
                column.label,
                column.shape,
                column.dtype,
                value,
                is_single=name in wanted.single,
                layout=preprocessing.layout,
            )
            for name, (value, column) in self._inputs.items()
        }
        pictures = [column for column in self._targets.values() if len(column.shape) > 2]
        self._of_targets = wanted.of_targets(pictures[0].label) if pictures else wanted
        self.names = tuple(self._inputs)
        self.stacked = frozenset(n for n, layout in self._layouts.items() if layout.is_stacked)
        if any(layout is SampleLayout.RUNS for layout in self._layouts.values()):
            self.stacked = frozenset()
        counted = {
            c.key: c.shape[0] for n, (_, c) in self._inputs.items() if self._layouts[n] is not SampleLayout.WHOLE
        }
        counted |= {column.key: column.shape[0] for column in self._targets.values() if column.shape}
        if labels is not None:
            counted[labels.key] = labels.shape[0]
        if len(set(counted.values())) > 1:
            listed = ", ".join(f"'{key}' {count}" for key, count in counted.items())
            raise FeedError(f"{name}: the first axes, which count samples, have different lengths: {listed}")
        self._count = next(iter(counted.values()), 1)
        self.labels = None if labels is None else labels.whole(wanted.max_elements).astype(np.int64)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def files(self, count: int) -> list[Path]:  # noqa: ARG002 - all samples are in each file
        """Return the files."""
        return list(self._paths)

    def contents(self, count: int) -> Iterator[bytes | memoryview]:
        """Yield the bytes of the files, or of the arrays in memory."""
        if self._paths:
            yield from super().contents(count)
            return
        for key, (_, column) in sorted(self._inputs.items()):
            yield from self._bytes_of(key, column, count)
        for key, column in sorted(self._targets.items()):
            yield from self._bytes_of(key, column, count)
        if self.labels is not None:
            yield f"labels {self.labels[:count].tolist()}".encode()

    def _bytes_of(self, key: str, column: Column, count: int) -> Iterator[bytes | memoryview]:
        yield f"\n{key} {column.dtype} {column.shape[1:]} ".encode()
        layout = self._layouts.get(key)
        array = column.whole(1 << 62)
        for row in [array] if layout is SampleLayout.WHOLE else array[:count]:
            yield np.ascontiguousarray(row).tobytes()

    def settings(self) -> str:
        """Return the inputs and the conversion of pixels."""
        kind = self._paths[0].suffix.removeprefix(".").lower() if self._paths else "arrays"
        return f"{kind} {self.names} {self.preprocessing}"

    @property
    def reads_pixels(self) -> bool:
        """Whether an array of inputs or targets holds uint8 where real numbers are taken."""
        return bool(self.pixels)

    @property
    def pixels(self) -> tuple[str, ...]:
        """The names of the inputs and targets whose arrays hold uint8 where real numbers are taken."""
        columns = {**self._inputs, **{name: (_REAL, column) for name, column in self._targets.items()}}
        return tuple(name for name, (declared, column) in columns.items() if are_pixels(column.dtype, declared))

    def items(self) -> Iterator[Item]:
        """Yield the samples."""
        most, of_targets = self._wanted.max_elements, self._of_targets.preprocessing
        whole = {n: c.whole(most) for n, (_, c) in self._inputs.items() if self._layouts[n] is SampleLayout.WHOLE}
        with ExitStack() as stack:
            rows = {n: c.rows(stack, most) for n, (_, c) in self._inputs.items() if n not in whole}
            targets = {name: column.rows(stack, most) for name, column in self._targets.items()}
            for _ in range(self._count):
                feeds = {
                    n: self._layouts[n].feed(next(row), self._inputs[n][0], self.preprocessing)
                    for n, row in rows.items()
                }
                yield Item(
                    {n: whole[n] if n in whole else feeds[n] for n in self.names},
                    {n: SampleLayout.ROWS.feed(next(row), _REAL, of_targets) for n, row in targets.items()},
                )

    def _match(self, columns: Mapping[str, Column]) -> dict[str, tuple[Value, Column]]:
        """Return the declared input and the array of every input, by input name."""
        matched: dict[str, tuple[Value, Column]] = {}
        missing = []
        for value in self._wanted.inputs:
            key = next((key for key in (value.name, f"in:{value.name}") if key in columns), None)
            if key is None:
                missing.append(value)
            else:
                matched[value.name] = (value, columns[key])
        left = [key for key in columns if key in ALIASES and all(key != column.key for _, column in matched.values())]
        if len(missing) == 1 and len(left) == 1:
            matched[missing[0].name] = (missing[0], columns[left[0]])
        elif missing:
            listed = ", ".join(f"'{key}'" for key in columns) or "nothing"
            raise FeedError(
                f"{self._name} has no array '{missing[0].name}' for that input; it holds {listed}; an input that is "
                f"the same for all samples is given with -i"
            )
        return {value.name: matched[value.name] for value in self._wanted.graph.inputs if value.name in matched}

    def _references(self, columns: Mapping[str, Column]) -> tuple[dict[str, Column], Column | None]:
        """Return the targets by output name, and the labels; raise FeedError for an array without a use."""
        used = {column.key for _, column in self._inputs.values()}
        inputs = {value.name for value in self._wanted.graph.inputs}
        outputs = [value.name for value in self._wanted.graph.outputs]
        targets: dict[str, Column] = {}
        labels = None
        for key, column in columns.items():
            name = key.removeprefix("out:")
            if key in used or key in inputs or key.removeprefix("in:") in inputs:
                continue
            if name in outputs or (key in TARGETS and outputs):
                if not column.shape:
                    raise FeedError(f"{column.label} has no axis of samples")
                targets[name if name in outputs else outputs[0]] = column
            elif key in LABELS:
                if column.dtype.kind not in "iu" or len(column.shape) != 1:
                    raise FeedError(f"{column.label} must hold one integer for each sample")
                labels = column
            else:
                raise FeedError(
                    f"{self._name} holds '{key}', which is neither an input of the model, nor labels, nor a target"
                )
        return targets, labels


_REAL = Value("target", np.dtype(np.float32))
