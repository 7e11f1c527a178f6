"""Labels of samples: those that a user gives apart from the samples, as one whole number for each of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets.arrays import as_array
from qengine.data.datasets.dataset import Source
from qengine.data.datasets.label_files import Given, is_whole, read_labels
from qengine.errors import FeedError, OptionError, did_you_mean

Labels = str | os.PathLike[str] | Mapping[str, Any] | Iterable[Any]
"""Labels that a user gives: a file, an array or list in the order of the samples, or a mapping by file name."""

_SHOWN = 3
_MOST = np.iinfo(np.int64).max


def give_labels(source: Source, labels: Labels, data: str, number_of_classes: int | None) -> None:
    """Set the labels of a source to those that a user gives.

    Parameters
    ----------
    source
        The samples. The names of their classes, where they are known, are the numbers of labels that are names.
    labels
        The labels; see `Labels`.
    data
        Name of the data, for errors.
    number_of_classes
        Number of scores that the model gives; None if it is unknown.

    Raises
    ------
    QEngineError
        If there are more or fewer labels than samples, a sample or a class is unknown, or a label is beyond the
        classes, or contradicts the folder of its sample.
    """
    if isinstance(labels, str | os.PathLike):
        what = f"labels {os.fspath(labels)}"
        given = read_labels(Path(labels), source.keys)
    else:
        what, given = "labels", _given(labels)
    if isinstance(given, np.ndarray):
        numbers, classes = whole_numbers(given, what), source.classes
    else:
        texts = _in_order(given, source.keys, what, data)
        numbers, classes = _numbers(texts, source.classes, what)
        if classes and not source.classes and number_of_classes not in (None, len(classes)):
            raise FeedError(
                f"{what} hold {len(classes)} names, and the model has {number_of_classes} classes: give their numbers, "
                "or for a folder a classes.txt in it, with the name of every class on a line"
            )
        if classes and not source.classes:
            source.notes = (*source.notes, f"labels: {len(classes)} names in alphabetical order, 0 is '{classes[0]}'")
    if source.is_cut:
        numbers = numbers[: len(source)]
    if len(numbers) != len(source):
        raise FeedError(f"{what} are {len(numbers):,}, and data {data} has {len(source):,} samples: give one for each")
    check_range(numbers, what, number_of_classes)
    if source.groups is not None:
        _check_folders(source, numbers, what)
        source.notes = tuple(note for note in source.notes if not note.startswith(("classes: ", "no labels: ")))
        if source.labels is None or not np.array_equal(source.labels, numbers):
            classes = ()  # the names are in the order of the folders
    elif source.labels is None:
        source.notes = tuple(note for note in source.notes if not note.startswith("no labels: "))
    elif not np.array_equal(source.labels, numbers):
        raise FeedError(f"{what} differ from the labels that data {data} holds itself: leave one of them out")
    source.labels, source.classes, source.are_labels_beside = numbers, classes, True


def whole_numbers(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Return an array of labels as whole numbers, one for each sample.

    Raises
    ------
    FeedError
        If the array has several numbers for a sample, or one that is not whole.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        remedy = "; of rows of scores give .argmax(axis=1)" if array.ndim == 2 else ""
        raise FeedError(f"{what} have the shape {list(array.shape)}, and one number for each sample is needed{remedy}")
    if array.dtype.kind == "f":
        rounded = np.rint(array)
        bad = np.flatnonzero(~(rounded == array) | (np.abs(array) > 1 << 53))
        if bad.size:
            raise FeedError(f"{what} hold {array[bad[0]]} at {bad[0]}, and labels are whole numbers of classes")
        array = rounded
    elif array.dtype.kind == "u" and array.size and array.max() > _MOST:
        raise FeedError(f"{what} hold {array.max()}, and labels are numbers of classes")
    elif array.dtype.kind not in "iub":
        raise FeedError(f"{what} hold {array.dtype}, and labels are whole numbers of classes, or their names")
    return array.astype(np.int64)


def check_range(labels: NDArray[np.int64], what: str, number_of_classes: int | None) -> None:
    """Raise FeedError where a label is not among the classes that the model has scores for."""
    if not labels.size:
        return
    least, most = int(labels.min()), int(labels.max())
    if least < 0:
        raise FeedError(f"{what} hold {least}, and classes are counted from 0")
    if number_of_classes is not None and most >= number_of_classes:
        hint = "; they seem to be counted from 1" if least == 1 and most == number_of_classes else ""
        raise FeedError(
            f"{what} reach to {most}, and the model has {number_of_classes} classes, counted from 0 to "
            f"{number_of_classes - 1}{hint}; where its outputs are features and no scores, leave the labels out"
        )


def _given(labels: Any) -> Given | NDArray[Any]:
    """Return labels that are given in Python as an array of numbers, or as texts."""
    if isinstance(labels, Mapping):
        return [(PurePosixPath(os.fspath(name)).as_posix(), str(label)) for name, label in labels.items()]
    if not isinstance(labels, Iterable):
        raise OptionError(f"labels must be a file, an array, a list or a mapping by file name, not {labels!r}")
    if not isinstance(labels, np.ndarray) and not hasattr(labels, "__array__"):
        labels = list(labels)
    if len(labels) and isinstance(labels[0] if isinstance(labels, list) else None, str):
        return [(None, str(label)) for label in labels]
    array = as_array(labels, "labels", objects=True)
    if array.dtype.kind in "UO" and array.ndim == 1:
        return [(None, str(label)) for label in array]
    return array


def _in_order(given: Given, keys: Sequence[str], what: str, data: str) -> list[str]:
    """Return the labels in the order of the samples."""
    if any(name is None for name, _ in given):
        return [label for _, label in given]
    if not keys:
        names = [name or "" for name, _ in given]
        if names in ([str(i) for i in range(len(given))], [str(i) for i in range(1, len(given) + 1)]):
            return [label for _, label in given]
        raise FeedError(
            f"{what} name samples such as '{names[0]}', and those of data {data} have no names: give the labels alone, "
            "in their order"
        )
    found: dict[str, str] = {}
    places = _places(keys)
    for name, label in given:
        assert name is not None
        key = _key_of(name, places)
        if key is None:
            remedy = did_you_mean(name, keys[:1000])
            raise FeedError(f"{what} name '{name}', which is not among the samples of data {data}{remedy}")
        if found.setdefault(key, label) != label:
            raise FeedError(f"{what} give '{name}' two labels, {found[key]} and {label}")
    missing = [key for key in keys if key not in found]
    if missing:
        more = f" and {len(missing) - 1:,} more" if missing[1:] else ""
        raise FeedError(f"{what} have none for '{missing[0]}'{more} of data {data}")
    return [found[key] for key in keys]


def _places(keys: Sequence[str]) -> dict[str, str | None]:
    """Return the sample that each spelling stands for: its path, its name or its name without the ending, if unique."""
    places: dict[str, str | None] = {}
    for key in keys:
        path = PurePosixPath(key)
        for text in {path.name, path.with_suffix("").as_posix(), path.stem}:
            places[text] = None if places.get(text, key) != key else key
    places.update({key: key for key in keys})
    return places


def _key_of(name: str, places: Mapping[str, str | None]) -> str | None:
    """Return the sample that a path stands for, by all of its parts or by the last ones."""
    path = PurePosixPath(name.replace("\\", "/"))
    for first in range(len(path.parts)):
        if (key := places.get(PurePosixPath(*path.parts[first:]).as_posix())) is not None:
            return key
    return None


def _numbers(texts: Sequence[str], classes: Sequence[str], what: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the numbers of classes that are given as text, by number or by name, and the names of the classes."""
    if all(map(is_whole, texts)) and not set(texts) <= set(classes):
        return np.array([int(float(text)) for text in texts], np.int64), tuple(classes)
    number_of = {name: i for i, name in enumerate(classes or sorted(set(texts)))}
    unknown = sorted(set(texts) - set(number_of))
    if unknown:
        raise FeedError(f"{what} hold '{unknown[0]}', which is not a class; classes are {listed(classes)}")
    empty = next((i for i, text in enumerate(texts) if not text), None)
    if empty is not None:
        raise FeedError(f"{what} are empty at {empty}")
    return np.array([number_of[text] for text in texts], np.int64), tuple(number_of)


def _check_folders(source: Source, numbers: NDArray[np.int64], what: str) -> None:
    """Raise FeedError where samples of one class folder have two labels, or those of two folders the same."""
    assert source.groups is not None
    label_of: dict[int, tuple[int, str]] = {}
    folder_of: dict[int, tuple[int, str]] = {}
    for folder, number, key in zip(source.groups.tolist(), numbers.tolist(), source.keys, strict=True):
        other, first = label_of.setdefault(folder, (number, key))
        if other != number:
            raise FeedError(
                f"{what} contradict the class folders: '{first}' is {other}, and '{key}' of the same folder is "
                f"{number}; leave the labels out, or move the files into one folder"
            )
        other, first = folder_of.setdefault(number, (folder, key))
        if other != folder:
            raise FeedError(
                f"{what} contradict the class folders: '{first}' and '{key}' are both {number}, in two folders; leave "
                "the labels out, or move the files into one folder"
            )


def listed(names: Sequence[str]) -> str:
    """Return the first names in words, with the number of the others."""
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
