"""Class folders: a folder for each class, as torchvision's ImageFolder has them, with the files of its samples.

The classes are numbered in the order of their names. Where all names are whole numbers, they are the numbers of the
classes themselves, and where the folder holds a classes.txt, its lines are the classes in their order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qengine.data.datasets.dataset import Source
from qengine.data.datasets.files import FilesSource, one_kind
from qengine.data.datasets.label_files import read_lines
from qengine.data.datasets.labels import listed
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError

CLASSES_FILE = "classes.txt"
_SPLITS = frozenset(
    {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation", "holdout"}
)
_MAX_DEPTH = 32


def splits_in(folders: Sequence[Path]) -> list[str]:
    """Return the names of folders that are parts of a data set, such as train and val; none if others are there too."""
    names = [folder.name for folder in folders]
    return names if names and all(name.lower() in _SPLITS for name in names) else []


def class_folders_source(folder: Path, folders: Sequence[Path], wanted: Wanted) -> Source:
    """Return a reader of the files in the folders of classes.

    It has no labels, and a note that says so, where the classes are not those of the model.

    Raises
    ------
    FeedError
        If there are no samples, samples of several kinds, or a classes.txt that does not fit.
    """
    wanted.only_input(f"the files in folder {folder} feed")
    files = [(one.name, path) for one in folders for path in _files_in(one)]
    kept = set(one_kind([path for _, path in files], folder))
    files = [(name, path) for name, path in files if path in kept]
    present = sorted({name for name, _ in files})
    if not present:
        raise FeedError(f"the {len(folders)} folders in {folder} hold no images, .npy files or sounds")
    keys = [path.relative_to(folder).as_posix() for _, path in files]
    source = FilesSource([path for _, path in files], keys, wanted)
    numbering = _numbering(folder, present, wanted.number_of_classes)
    place = {name: i for i, name in enumerate(present)}
    source.groups = np.array([place[name] for name, _ in files], np.int64)
    source.notes = (*source.notes, numbering.note)
    if numbering.numbers is not None:
        source.labels = np.array([numbering.numbers[name] for name, _ in files], np.int64)
        source.classes, source.are_labels_beside = numbering.classes, True
    return source


@dataclass(frozen=True)
class _Numbering:
    """Numbers of classes: by name, or None where they are not those of the model; names in their order, and a note."""

    numbers: Mapping[str, int] | None
    classes: tuple[str, ...]
    note: str


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in the folders in it, sorted; a link to a folder that contains it is left."""
    seen = set[str]()

    def walk(current: Path, depth: int) -> Iterator[Path]:
        real = os.path.realpath(current)
        if real in seen or depth > _MAX_DEPTH:
            return
        seen.add(real)
        try:
            entries = sorted(path for path in current.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise FeedError(f"folder {current} cannot be read: {error.strerror or error}") from None
        for path in entries:
            if path.is_dir():
                yield from walk(path, depth + 1)
            else:
                yield path

    yield from walk(folder, 0)


_FEATURES = "; where its outputs are features and no scores, go by SQNR, which needs no labels"


def _numbering(folder: Path, present: Sequence[str], count: int | None) -> _Numbering:
    listing = folder / CLASSES_FILE
    if listing.is_file():
        return _listed_in(listing, present, count)
    if all(re.fullmatch(r"\d{1,9}", name, re.ASCII) for name in present):
        return _by_number(folder, present, count)
    if count not in (None, len(present)):
        return _Numbering(
            None,
            (),
            f"no labels: {folder} has {len(present)} class folder{'s' * (len(present) > 1)} ({listed(present)}), and "
            f"the model {count} classes; say which are meant with --labels FILE, folders whose names are numbers, or a "
            f"{CLASSES_FILE} in the folder with the names of all {count} classes, one a line{_FEATURES}",
        )
    folders = f"{len(present)} folder{'s' * (len(present) > 1)}"
    note = f"classes: {folders} in the order of their names, 0 is '{present[0]}'"
    return _Numbering({name: i for i, name in enumerate(present)}, tuple(present), note)


def _listed_in(listing: Path, present: Sequence[str], count: int | None) -> _Numbering:
    lines = [line.strip() for line in read_lines(listing)]
    if count not in (None, len(lines)):
        raise FeedError(f"{listing} names {len(lines)} classes, and the model has {count}: give a line for each")
    if len(set(lines)) < len(lines):
        repeated = next(line for i, line in enumerate(lines) if line in lines[:i])
        raise FeedError(f"{listing} names '{repeated}' twice")
    # A line may explain a class after its name: n01440764 tench
    number_of = {re.split(r"[\s,]", line, maxsplit=1)[0]: i for i, line in enumerate(lines)}
    number_of |= {line: i for i, line in enumerate(lines)}
    if unknown := [name for name in present if name not in number_of]:
        raise FeedError(f"{listing} does not name the class of folder '{unknown[0]}'; it has {listed(lines)}")
    return _Numbering(
        {name: number_of[name] for name in present}, tuple(lines), f"classes: {len(lines)}, as {listing} lists them"
    )


def _by_number(folder: Path, present: Sequence[str], count: int | None) -> _Numbering:
    numbers = {name: int(name) for name in present}
    least, most = min(numbers.values()), max(numbers.values())
    if len(set(numbers.values())) < len(numbers):
        raise FeedError(f"two class folders in {folder} have the same number, such as 1 and 01: rename one")
    if count is not None and most >= count:
        from_one = " (they seem to be counted from 1)" if least == 1 and most == count else ""
        return _Numbering(
            None,
            (),
            f"no labels: the names of the class folders in {folder} reach to {most}, and the classes of the model are "
            f"0 to {count - 1}{from_one}; give --labels FILE, or a {CLASSES_FILE} in the folder with their "
            f"names{_FEATURES}",
        )
    named = {number: name for name, number in numbers.items()}
    classes = tuple(named.get(i, str(i)) for i in range(most + 1)) if most < 1 << 16 else ()
    note = f"classes: the numbers {least} to {most} that the folders have as names"
    if present != sorted(present, key=int):
        note += ", and not the order of their texts, as torchvision has it"
    return _Numbering(numbers, classes, note)
