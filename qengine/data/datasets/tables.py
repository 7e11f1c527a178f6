"""Samples in tables: a row for each, whose columns hold images, sounds or numbers, and labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qengine.data.datasets.arrow_files import SUFFIXES, TableFile
from qengine.data.datasets.cells import Kind, array_of_cell, kind_of, sample_of
from qengine.data.datasets.columns import ALIASES, LABELS, TARGETS
from qengine.data.datasets.dataset import Item, Source
from qengine.data.datasets.labels import listed, whole_numbers
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError, OptionError, did_you_mean
from qengine.input_files import read_input
from qengine.model.graph import Value

TABLES = SUFFIXES


@dataclass(frozen=True)
class _Roles:
    """Columns by what they are for.

    Attributes
    ----------
    feeds : columns of each input; several where each holds one number of a sample.
    targets : column of each output whose true value it holds.
    label : column of the labels; None without one.
    note : the roles in words of one line.
    """

    feeds: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, str]
    label: str | None
    note: str


class TableSource(Source):
    """Reader of the rows of one or more files of tables.

    Parameters
    ----------
    files
        The files, which have the same columns.
    name
        Name of the data, for errors.
    wanted
        The inputs to feed, and how.

    Raises
    ------
    FeedError
        If the columns do not fit the model.
    """

    def __init__(self, files: Sequence[TableFile], name: str, wanted: Wanted) -> None:
        self._files, self._name, self._wanted = files, name, wanted
        self._features = files[0].features()
        self._kinds = {f.name: kind_of(f.type, self._features.get(f.name)) for f in files[0].schema}
        self._roles = _roles(name, self._kinds, self._features, wanted)
        for file in files[1:]:
            if missing := [c for c in self._used() if c not in file.schema.names]:
                raise FeedError(f"{file.path} has no column '{missing[0]}', as {files[0].path} has it")
        self._of_targets = wanted.of_targets(name) if self._roles.targets else wanted
        self.preprocessing, self.notes = wanted.preprocessing, (self._roles.note,)
        self.names = tuple(value.name for value in wanted.inputs)
        self.stacked = frozenset(
            v.name for v in wanted.inputs if (v.shape is None or v.shape) and v.name not in wanted.single
        )
        if self._roles.label is not None:
            self.labels, self.classes = self._labels(self._roles.label)

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(file.rows for file in self._files)

    @property
    def reads_pixels(self) -> bool:
        """Whether a column of images, or of uint8 numbers, feeds an input."""
        used = [column for columns in self._roles.feeds.values() for column in columns]
        return any(self._kinds[column] in (Kind.IMAGE, Kind.BYTES) for column in used)

    def files(self, count: int) -> list[Path]:
        """Return the files that the first rows are in."""
        found: list[Path] = []
        for file in self._files:
            if count <= 0:
                break
            found.append(file.path)
            count -= file.rows
        return found

    def settings(self) -> str:
        """Return the columns and the conversion of pixels."""
        return f"table {self._roles.note} {self.preprocessing}"

    def items(self) -> Iterator[Item]:
        """Yield the sample of each row."""
        used, row, roles = self._used(), 0, self._roles
        outputs = {value.name: value for value in self._wanted.graph.outputs}
        for file in self._files:
            for batch in file.batches(used):
                for i in range(batch.num_rows):
                    cells = {name: self._cell(batch, i, row, name) for name in used}
                    feeds = {
                        value.name: _fed([cells[c] for c in roles.feeds[value.name]], value, self._wanted)
                        for value in self._wanted.inputs
                    }
                    targets = {
                        name: _fed([cells[column]], outputs[name], self._of_targets)
                        for name, column in roles.targets.items()
                    }
                    yield Item(feeds, targets)
                    row += 1

    def _used(self) -> list[str]:
        feeds = [column for columns in self._roles.feeds.values() for column in columns]
        return list(dict.fromkeys([*feeds, *self._roles.targets.values()]))

    def _cell(self, batch: Any, i: int, row: int, column: str) -> tuple[Any, str, Kind]:
        """Return a cell of a row, with its name in errors, and its kind."""
        return batch.column(column)[i], f"row {row} of {self._name}, column '{column}'", self._kinds[column]

    def _labels(self, column: str) -> tuple[Any, tuple[str, ...]]:
        """Return the labels, and the names of the classes as far as they are known."""
        found = [cell.as_py() for file in self._files for batch in file.batches([column]) for cell in batch.column(0)]
        if None in found:
            raise FeedError(f"{self._name}: column '{column}' has no label in row {found.index(None)}")
        feature = self._features.get(column, {})
        names = feature.get("names") if isinstance(feature, Mapping) else None
        classes = tuple(map(str, names)) if isinstance(names, list) else ()
        if found and isinstance(found[0], str):
            if not classes:
                classes = tuple(sorted(set(found)))
                if self._wanted.number_of_classes not in (None, len(classes)):
                    self._note_unknown(column, classes)
                    return None, ()
                self.notes = (*self.notes, f"labels: {len(classes)} names in alphabetical order, 0 is '{classes[0]}'")
            number_of = {name: i for i, name in enumerate(classes)}
            if unknown := set(found) - set(number_of):
                raise FeedError(f"{self._name}: column '{column}' holds '{min(unknown)}', which is not a class")
            found = [number_of[name] for name in found]
        numbers = np.array(found, None if found else np.int64)
        return whole_numbers(numbers, f"labels in column '{column}' of {self._name}"), classes

    def _note_unknown(self, column: str, names: Sequence[str]) -> None:
        """Note that names are not the classes of the model, or raise FeedError where the column was asked for."""
        what = (
            f"column '{column}' of {self._name} holds {len(names)} names ({listed(names)}), and the model has "
            f"{self._wanted.number_of_classes} classes: give their numbers in a column or with --labels FILE"
        )
        if self._wanted.label_column is not None:
            raise FeedError(what)
        self.notes = (*self.notes, f"no labels: {what}")


def _fed(cells: Sequence[tuple[Any, str, Kind]], declared: Value, wanted: Wanted) -> Any:
    """Return what an input is fed: one cell, or several that hold a number each."""
    if len(cells) > 1:
        return np.stack([array_of_cell(cell, label) for cell, label, _ in cells]).astype(declared.dtype or np.float32)[
            None
        ]
    cell, label, kind = cells[0]
    return sample_of(cell, kind, declared, wanted, label)


def table_source(paths: Sequence[Path], name: str, wanted: Wanted) -> TableSource:
    """Return a reader of the rows of one or more files of tables."""
    return TableSource([TableFile.of(path) for path in paths], name, wanted)


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is a data set that Hugging Face's `save_to_disk` wrote."""
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def saved_dataset(folder: Path, wanted: Wanted) -> TableSource:
    """Return a reader of a data set that `save_to_disk` wrote."""
    state = _json(folder / "state.json")
    files = state.get("_data_files") if isinstance(state, dict) else None
    names = [one.get("filename") for one in files if isinstance(one, dict)] if isinstance(files, list) else []
    paths = [folder / Path(name).name for name in names if isinstance(name, str) and name]
    if not paths:
        raise FeedError(f"{folder / 'state.json'} names no files of data: save the data set again")
    for path in paths:
        if not path.is_file():
            raise FeedError(f"{folder / 'state.json'} names {path.name}, and there is no such file")
    return table_source(paths, str(folder), wanted)


def dataset_dict_in(folder: Path) -> list[str]:
    """Return the parts of a folder of several data sets that `save_to_disk` wrote; none if it is none."""
    path = folder / "dataset_dict.json"
    record = _json(path) if path.is_file() else {}
    splits = record.get("splits") if isinstance(record, dict) else None
    return [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []


def _json(path: Path) -> Any:
    try:
        return json.loads(read_input(path))
    except (OSError, ValueError, RecursionError) as error:
        raise FeedError(f"{path} cannot be read: {error}") from None


def _roles(name: str, kinds: Mapping[str, Kind], features: Mapping[str, Any], wanted: Wanted) -> _Roles:
    label, doubt = _label_column(name, kinds, features, wanted.label_column)
    outputs = [value.name for value in wanted.graph.outputs]
    targets = {c: c for c in kinds if c in outputs}
    if outputs and not targets:
        found = [c for c in kinds if c in TARGETS and c != label and kinds[c] is not Kind.NUMBER]
        targets = dict(zip(outputs[:1], found, strict=False))
    free = [c for c in kinds if c != label and c not in targets.values()]
    feeds: dict[str, tuple[str, ...]] = {value.name: (value.name,) for value in wanted.inputs if value.name in free}
    missing = [value for value in wanted.inputs if value.name not in feeds]
    left = [c for c in free if (c,) not in feeds.values()]
    if len(missing) == 1:
        columns = _columns_for(missing[0], left, kinds)
        if columns:
            feeds[missing[0].name], missing = columns, []
    if missing:
        raise FeedError(
            f"{name} has no column for input '{missing[0].name}'; it has {listed(list(kinds)) or 'none'}: give a "
            "column the name of the input, or an input that is the same for all samples with -i"
        )
    words = [f"{_named(columns)} for input '{one}'" for one, columns in feeds.items()]
    words += [f"'{column}' for targets of '{one}'" for one, column in targets.items()]
    words += [f"'{label}' for labels"] if label else []
    used = {c for columns in feeds.values() for c in columns} | set(targets.values()) | {label}
    rest = [c for c in kinds if c not in used]
    words += [f"left out {listed(rest)}"] if rest else []
    return _Roles(feeds, targets, label, f"columns: {', '.join(words)}{doubt}")


def _named(columns: Sequence[str]) -> str:
    return f"'{columns[0]}'" if len(columns) == 1 else f"{len(columns)} numbers from '{columns[0]}' to '{columns[-1]}'"


def _columns_for(value: Value, left: Sequence[str], kinds: Mapping[str, Kind]) -> tuple[str, ...] | None:
    """Return the columns that feed an input: the one with a usual name, the only one of its kind, or all numbers."""
    usable = [c for c in left if kinds[c] in (Kind.IMAGE, Kind.SOUND, Kind.NUMBERS, Kind.BYTES)]
    named = [c for c in usable if c.lower() in ALIASES]
    if len(named) == 1:
        return (named[0],)
    if len(usable) == 1:
        return (usable[0],)
    numbers = tuple(c for c in left if kinds[c] is Kind.NUMBER)
    shape = value.shape
    if not usable and shape is not None and len(shape) == 2 and numbers and shape[1] == len(numbers):
        return numbers
    return None


def _label_column(
    name: str, kinds: Mapping[str, Kind], features: Mapping[str, Any], asked: str | None
) -> tuple[str | None, str]:
    """Return the column of labels, None without one, and words on why there is none."""
    usable = [c for c, kind in kinds.items() if kind in (Kind.NUMBER, Kind.TEXT)]
    if asked is not None:
        if asked not in kinds:
            raise OptionError(f"{name} has no column '{asked}' of labels{did_you_mean(asked, kinds)}")
        if asked not in usable:
            raise OptionError(f"column '{asked}' of {name} holds no labels, which are whole numbers or names")
        return asked, ""
    found = [c for c in usable if c.lower() in LABELS]
    found = found or [c for c in usable if features.get(c, {}).get("_type") == "ClassLabel"]
    if len(found) > 1:
        return None, f"; {listed(found)} may be labels: say which with --labels COLUMN"
    return (found[0], "") if found else (None, "")
