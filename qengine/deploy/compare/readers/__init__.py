"""Readers of dumps: a file or a folder of what a device wrote, in any form that a bench or a simulator gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qengine.deploy.compare.dump import Dump, DumpedTensor
from qengine.deploy.compare.readers.arrays import read_npy, read_npz
from qengine.deploy.compare.readers.hex_words import read_hex
from qengine.deploy.compare.readers.raw import read_raw
from qengine.deploy.compare.readers.text import read_json, read_text
from qengine.deploy.compare.readers.trace import is_trace, read_trace
from qengine.errors import DumpError
from qengine.input_files import read_input
from qengine.near_files import missing_file

_READERS: dict[str, Callable[[str, bytes, str], list[DumpedTensor]]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".json": read_json,
    **dict.fromkeys((".hex", ".mem", ".memh"), read_hex),
    **dict.fromkeys((".csv", ".tsv", ".txt", ".log", ".trace", ".out"), read_text),
    **dict.fromkeys((".bin", ".raw", ".y", ".dat", ".i8", ".i16", ".u8", ".u16", ".f32"), read_raw),
}
_SKIPPED = {".md", ".h", ".c", ".v", ".sv", ".py", ".mif", ".coe", ".html", ".toml", ".onnx"}


def read_dump(path: str | os.PathLike[str]) -> Dump:
    """Read a dump.

    Parameters
    ----------
    path
        A file: .npz or .npy; raw binary (.bin, .raw, .y); words in hex (.hex, .mem); .csv; a log or a trace as text;
        .json; the trace of a network in C. Or a folder of such files, each named after its tensor; folders in it that
        have no files next to them are one sample each.

    Raises
    ------
    DumpError
        If nothing can be read there.
    """
    root = Path(path)
    if root.suffix.lower() == ".onnx":
        raise DumpError(f"{root} is a model, not a dump; give the model first, then the dump")
    if root.is_dir():
        return _read_folder(root)
    content = _content(root)
    if is_trace(content):
        samples = read_trace(content, str(root))
        return Dump(str(root), tuple(samples), tuple(str(i) for i in range(len(samples))))
    return Dump(str(root), (tuple(_read(root, root.stem, content)),))


def _read_folder(root: Path) -> Dump:
    folder = root / "t" if (root / "manifest.json").is_file() and (root / "t").is_dir() else root
    children = sorted(folder.iterdir(), key=lambda p: (len(p.name), p.name))
    while len(children) == 1 and children[0].is_dir():
        children = sorted(children[0].iterdir(), key=lambda p: (len(p.name), p.name))
        folder = children[0].parent if children else folder
    folders = [child for child in children if child.is_dir()]
    if folders and not any(_is_data(child) for child in children):
        read = {child.name: tuple(_read_files(child)) for child in folders}
        named = {name: sample for name, sample in read.items() if sample}
        samples, labels = tuple(named.values()), tuple(named)
    else:
        samples, labels = (tuple(_read_files(folder)),), ()
    if not samples or not samples[0]:
        endings = ", ".join(_READERS)
        raise DumpError(f"{root} holds no file of a tensor; such files end in {endings}")
    return Dump(str(root), samples, labels)


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() not in _SKIPPED and path.name != "manifest.json"


def _read_files(folder: Path) -> list[DumpedTensor]:
    found: list[DumpedTensor] = []
    for path in sorted(folder.rglob("*")):
        if _is_data(path) and path.suffix.lower() in _READERS:
            name = path.relative_to(folder).with_suffix("").as_posix()
            found += _read(path, name, _content(path))
    return found


def _content(path: Path) -> bytes:
    try:
        content = read_input(path)
    except (OSError, ValueError) as error:
        near = missing_file(path) if isinstance(error, FileNotFoundError) else ""
        raise DumpError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}{near}") from None
    if not content:
        raise DumpError(f"{path} is empty; a dump holds the codes of at least one tensor")
    return content


def _read(path: Path, name: str, content: bytes) -> list[DumpedTensor]:
    if is_trace(content):
        samples = read_trace(content, str(path))
        if len(samples) > 1:
            raise DumpError(f"{path} has {len(samples)} runs, and is one of several files: give it by itself")
        return list(samples[0])
    suffix = path.suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        reader = read_text if _is_text(content) else read_raw
    return reader(name, content, str(path))


def _is_text(content: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\n\r\f" for byte in content[:4096])
