"""Pairs of files: a folder of inputs and one of the true outputs, such as small and large pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qengine.data.datasets.dataset import Source
from qengine.data.datasets.files import FilesSource, one_kind
from qengine.data.datasets.wanted import Wanted
from qengine.errors import FeedError

PAIRS: Mapping[str, str] = {
    "inputs": "targets",
    "input": "target",
    "lr": "hr",
    "low": "high",
    "noisy": "clean",
    "x": "y",
}
"""Names of a folder of inputs and of that of their true outputs."""


def pair_in(folders: Sequence[Path]) -> tuple[Path, Path] | None:
    """Return the folder of inputs and that of true outputs; None if there is no such pair."""
    by_name = {folder.name.lower(): folder for folder in folders}
    for inputs, targets in PAIRS.items():
        if inputs in by_name and targets in by_name:
            return by_name[inputs], by_name[targets]
    return None


def pairs_source(inputs: Path, targets: Path, wanted: Wanted) -> Source:
    """Return a reader of the files in two folders, which belong together by their names, or by their order.

    Raises
    ------
    QEngineError
        If a file has no other, or preprocessing would change the size of the true outputs.
    """
    wanted.only_input(f"the files in folder {inputs} feed")
    if not wanted.graph.outputs:
        raise FeedError(f"folder {targets} holds true outputs, and the model has none")
    wanted.of_targets(f"folder {targets}")
    first, second = (one_kind(sorted(p for p in one.iterdir() if p.is_file()), one) for one in (inputs, targets))
    if not first:
        raise FeedError(f"folder {inputs} holds no images, .npy files or sounds")
    return FilesSource(first, [path.name for path in first], wanted, _matched(first, second, inputs, targets))


def _matched(first: Sequence[Path], second: Sequence[Path], inputs: Path, targets: Path) -> list[Path]:
    """Return the true output of each input: of the same name, or whose name the input's begins with, as 01x4 and 01."""
    by_stem = {path.stem: path for path in second}
    found = []
    for path in first:
        stem = path.stem
        match = by_stem.get(stem) or next(
            (by_stem[stem[:n]] for n in range(len(stem), 0, -1) if stem[:n] in by_stem), None
        )
        if match is None:
            raise FeedError(f"{path} has no true output of that name in {targets}")
        found.append(match)
    if len(set(found)) < len(found):
        twice = next(path for i, path in enumerate(found) if path in found[:i])
        raise FeedError(f"{twice} would be the true output of two files in {inputs}: give both the same names")
    if len(second) > len(found):
        extra = next(path for path in second if path not in set(found))
        raise FeedError(f"{extra} is the true output of no file in {inputs}: give both the same names")
    return found
