"""Kinds of data on disk: the one table that reading, errors, `--help` and the documentation have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qengine.data import audio, images
from qengine.data.datasets import arrow_files
from qengine.data.datasets.array_files import npy_source, npz_source
from qengine.data.datasets.dataset import Source
from qengine.data.datasets.files import FilesSource
from qengine.data.datasets.tables import table_source
from qengine.data.datasets.wanted import Wanted


@dataclass(frozen=True)
class FileKind:
    """Kind of files that hold samples.

    Attributes
    ----------
    name : name with an article, for errors and help.
    suffixes : endings of the names of its files.
    holds : content, in one line.
    source : function that returns a reader of a file.
    """

    name: str
    suffixes: frozenset[str]
    holds: str
    source: Callable[[Path, Wanted], Source]


def _one_file(path: Path, wanted: Wanted) -> Source:
    wanted.only_input(f"{'sound' if path.suffix.lower() in audio.SUFFIXES else 'image'} {path} feeds")
    return FilesSource([path], [path.name], wanted)


FILES: tuple[FileKind, ...] = (
    FileKind("an .npz file", frozenset({".npz"}), "arrays by input name, with labels or target", npz_source),
    FileKind("a .npy file", frozenset({".npy"}), "samples of the only input, one after the other", npy_source),
    FileKind("an image", images.SUFFIXES, "one sample", _one_file),
    FileKind("a .wav file", audio.SUFFIXES, "one sample of a network of sounds", _one_file),
    FileKind(
        "a .parquet or .arrow file",
        arrow_files.SUFFIXES,
        "a table with a row for each sample",
        lambda path, wanted: table_source([path], str(path), wanted),
    ),
)
"""Kinds of files, in the order in which help names them."""

FOLDERS: Mapping[str, str] = {
    "files": "images, .npy or .wav files, a sample each, in the order of their names",
    "class folders": "a folder of such files for each class, such as data/cat/*.jpg",
    "pairs": "a folder inputs and a folder targets, with files of the same names",
    "arrays": "one .npy file for each input, with its name, and labels.npy or target.npy",
    "parts": "several .npz, .parquet or .arrow files, one after the other",
    "saved": "a data set that Hugging Face's save_to_disk wrote",
    "test sets": "test_data_set_0, ... as ONNX has them",
}
"""Kinds of folders: what their entries hold."""


def described() -> str:
    """Return the kinds of data in words of one line."""
    files = ", ".join(kind.name for kind in FILES)
    return f"{files}, or a folder of images, .npy or .wav files, class folders, inputs and targets, or test_data_set_*"


def kind_of_file(path: Path) -> FileKind | None:
    """Return the kind of a file, by the ending of its name; None for any other."""
    return next((kind for kind in FILES if path.suffix.lower() in kind.suffixes), None)
