"""The text of a project file, with a comment for each key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qengine.cli.project.keys import KEYS, PREPROCESSING, Key, PathKind
from qengine.targets.toml import write_table

_COMMENT_COLUMN = 40

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

_EXAMPLES: Mapping[str, Any] = {
    "model": "model.onnx",
    "data": "photos",
    "labels": "labels.csv",
    "target": "cmsis-nn-q7",
    "formats": "formats.json",
    "output": "results",
    "bits": 8,
    "rounding": "half_up",
    "overflow": "wrap",
    "accumulator_bits": 32,
    "metric": "sqnr",
    "limit": 500,
    "batch": 8,
    "threads": 2,
    "inputs": {"factor": [1, 1, 3, 3]},
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "scale": "1/255",
    "resize": 256,
    "crop": 224,
    "bgr": True,
    "layout": "nhwc",
    "convert": ["grey"],
}
"""Values in the comments of keys that a file does not have."""


def template(
    values: Mapping[str, Any], preprocessing: Mapping[str, Any], remarks: Sequence[str], *, folder: str = ""
) -> str:
    """Return the text of a project file.

    Parameters
    ----------
    values, preprocessing
        Values of keys of the file and of its table [preprocessing], as they are typed in options.
    remarks
        Lines of what was found, for the beginning of the file.
    folder
        Folder of the file, to which paths become relative; "" for the current one.
    """
    lines = [
        "# A project of qengine: commands in this folder, such as `qengine calibrate`, take from",
        "# this file what is not typed.",
        *(f"# {line}" for line in remarks),
        "",
        *(_line(key, values, folder) for key in KEYS if not key.table),
        "",
        f"[{PREPROCESSING}]",
        *(_line(key, preprocessing, folder) for key in KEYS if key.table),
        "",
        "# Options of a single command, by their long names:",
        "# [sweep]",
        '# bits = "4-8"',
    ]
    return "\n".join(lines) + "\n"


def _line(key: Key, values: Mapping[str, Any], folder: str) -> str:
    """Return the line of a key, as a comment where it has no value."""
    value, prefix = values.get(key.name), ""
    if value is None:
        value, prefix = _EXAMPLES[key.name], "# "
    elif key.path_kind is PathKind.READ and key.names_path(value):
        value = relative(value, folder)
    is_numeric = bool(key.table) or key.name == "inputs"
    text = f"{prefix}{key.name} = {_toml(value, is_numeric=is_numeric)}"
    return f"{text:<{_COMMENT_COLUMN}}  # {key.about}"


def _toml(value: Any, *, is_numeric: bool) -> str:
    """Return a value in TOML; where it is numeric, a text of numbers with commas between is a list of them."""
    if isinstance(value, Mapping):
        pairs = [f"{_key(name)} = {_toml(one, is_numeric=is_numeric)}" for name, one in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_toml(one, is_numeric=is_numeric) for one in value)}]"
    if not isinstance(value, str):
        return str(value)
    words = [word.strip() for word in value.split(",")]
    if is_numeric and all(map(_NUMBER.fullmatch, words)):
        return words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    return _quoted(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """Return a text in quotes, as `write_table` writes it."""
    return write_table({"text": text}).strip().removeprefix("text = ")


def relative(path: str, folder: str) -> str:
    """Return a path that is relative to a folder; an absolute one stays."""
    if not folder or os.path.isabs(path):  # noqa: PTH117
        return path
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive
        return os.path.abspath(path)  # noqa: PTH100
