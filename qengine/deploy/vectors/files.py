"""Writing of the arrays of a pack: .npy in ONNX's order, and text files in the layout that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.layout import Layout
from qengine.deploy.vectors.options import VectorOptions
from qengine.deploy.vectors.text_files import SUFFIXES, WRITERS, Words
from qengine.qformat import Format

Array = NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """The words of a tensor in files.

    Attributes
    ----------
    bits : width; 0 for real numbers, which are in .npy files only.
    signed : whether they are two's complement.
    text : format, or element type, for titles.
    """

    bits: int
    signed: bool
    text: str

    @classmethod
    def of(cls, array: Array, fmt: Format | None) -> Kind:
        """Return the kind of an array: codes of a format, integers, truth values, or real numbers."""
        if fmt is not None:
            word = fmt.word()
            return cls(word.bits, word.signed, str(fmt))
        if array.dtype.kind == "b":
            return cls(1, False, "bool")
        if array.dtype.kind in "iu":
            return cls(8 * array.dtype.itemsize, array.dtype.kind == "i", array.dtype.name)
        return cls(0, False, array.dtype.name)


@dataclass
class Files:
    """The arrays of a pack, written to a folder.

    Attributes
    ----------
    folder : the folder.
    options : kinds of files, lanes and layout.
    written : paths of the files so far, relative to the folder.
    """

    folder: Path
    options: VectorOptions
    written: list[str] = field(default_factory=list)

    def write(self, stem: str, name: str, array: Array, kind: Kind, layout: Layout | None = None) -> None:
        """Write an array as a file of each kind.

        Parameters
        ----------
        stem
            Path without an ending, relative to the folder.
        name
            Name of the tensor, for titles.
        array
            The elements in ONNX's order.
        kind
            Width of the words.
        layout
            Order in text files; None for that of the options.
        """
        order = self.options.order() if layout is None else layout
        path = self.folder / f"{stem}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)
        self.written.append(f"{stem}.npy")
        if not kind.bits:
            return
        shape = "x".join(map(str, array.shape)) or "scalar"
        title = f"{_printable(name)}: {shape}, {order.describe(array.ndim)}, {kind.text}"
        identifier = stem.replace("/", "_")
        codes = order.placed(array).reshape(-1)
        words = Words(
            codes.astype(np.int64) if array.dtype.kind == "b" else codes, kind.bits, kind.signed, title, identifier
        )
        for one in self.options.kinds:
            if one != "npy":
                text = WRITERS[one](words, self.options.line_lanes())
                (self.folder / f"{stem}{SUFFIXES[one]}").write_text(text, encoding="utf-8", newline="\n")
                self.written.append(f"{stem}{SUFFIXES[one]}")

    def write_text(self, path: str, text: str) -> None:
        """Write a text file."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        self.written.append(path)


def lines_of(array: Array, kind: Kind, options: VectorOptions) -> tuple[int, int]:
    """Return the width in bits of a line of a hex file, and the number of lines."""
    lanes, words = options.lanes, options.order().placed(array).size
    return 4 * -(-kind.bits // 4) * lanes, -(-words // lanes)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() and ord(c) < 128 else "?" for c in text)
