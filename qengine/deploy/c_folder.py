"""Folders with a network in C, as far as those know them that do not make them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qengine.input_files import read_input

KIND = "c"
"""What the folder of a manifest is; a golden pack has no kind."""

_GENERATOR = "qengine"


def manifest_of(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the manifest of the network in C in a folder; None where there is none."""
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix == ".json")
    except OSError:
        return None
    for path in paths:
        try:
            found = json.loads(read_input(path).decode("utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(found, dict) and found.get("generator") == _GENERATOR and found.get("kind") == KIND:
            return found
    return None


def is_c_folder(path: Any) -> bool:
    """Whether a path is that of a folder with a network in C, which another one may replace."""
    return isinstance(path, str | os.PathLike) and manifest_of(path) is not None
