"""Samples in a folder: what kind of samples a folder holds, and the reader of that kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qengine.data.datasets.array_files import npy_folder_source, npz_source
from qengine.data.datasets.chain import Chain
from qengine.data.datasets.class_folders import class_folders_source, splits_in
from qengine.data.datasets.columns import LABELS, TARGETS
from qengine.data.datasets.dataset import Source
from qengine.data.datasets.files import FilesSource, one_kind
from qengine.data.datasets.pairs import pair_in, pairs_source
from qengine.data.datasets.tables import TABLES, dataset_dict_in, is_saved_dataset, saved_dataset, table_source
from qengine.data.datasets.test_sets import TestSets, sets_in
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError


def folder_source(folder: Path, wanted: Wanted) -> Source:
    """Return a reader of the samples in a folder.

    Raises
    ------
    QEngineError
        If the folder holds no samples, or samples of several kinds.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise FeedError(f"folder {folder} cannot be read: {error.strerror or error}") from None
    if sets := sets_in(folder, entries):
        return TestSets(sets, wanted.graph, wanted.given)
    if is_saved_dataset(folder):
        return saved_dataset(folder, wanted)
    if splits := dataset_dict_in(folder):
        raise FeedError(_choose(folder, splits))
    folders, files = [p for p in entries if p.is_dir()], [p for p in entries if not p.is_dir()]
    if shards := _of_kind(files, TABLES):
        return table_source(shards, str(folder), wanted)
    if shards := _of_kind(files, frozenset({".npz"})):
        return Chain([npz_source(path, wanted) for path in shards])
    arrays = _of_kind(files, frozenset({".npy"}))
    if _are_columns(arrays, wanted):
        return npy_folder_source(folder, arrays, wanted)
    paths = one_kind(files, folder)
    if paths:
        wanted.only_input(f"the files in folder {folder} feed")
        source = FilesSource(paths, [path.name for path in paths], wanted)
        if folders:
            left = f"{len(folders)} folder{'s' * (len(folders) > 1)}"
            source.notes = (*source.notes, f"{folder}: {left} left out, such as '{folders[0].name}'")
        return source
    if pair := pair_in(folders):
        return pairs_source(*pair, wanted)
    if splits := splits_in(folders):
        raise FeedError(_choose(folder, splits))
    if folders:
        return class_folders_source(folder, folders, wanted)
    raise FeedError(
        f"folder {folder} holds no images, .npy files or test_data_set_* folders, nor samples of another kind"
    )


def _choose(folder: Path, splits: Sequence[str]) -> str:
    best = next((name for name in splits if not name.lower().startswith("train")), splits[0])
    return f"folder {folder} holds {', '.join(splits)}: give one of them, such as {folder / best}"


def _of_kind(files: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in suffixes]


def _are_columns(arrays: Sequence[Path], wanted: Wanted) -> bool:
    """Whether .npy files have the names of all inputs, and else of outputs, targets and labels."""
    names, inputs = {path.stem for path in arrays}, {value.name for value in wanted.inputs}
    others = {*(value.name for value in wanted.graph.outputs), *LABELS, *TARGETS}
    return bool(inputs) and inputs <= names and names <= inputs | others
