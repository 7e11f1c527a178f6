"""Pages of the repository outside of docs/ that are in the site too: contributing, changes, sources of the models."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from generators.markdown import ROOT, Pages
from generators.sources import PROJECT

_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> Pages:
    """Return the pages; README.md stays what it is, the front of the repository."""
    return {place: _moved(path, place) for path, place in PROJECT.items() if path != "README.md"}


def _moved(path: str, place: str) -> str:
    """Return the text of a file with the links that lead to the same places from its place below docs/."""
    depth = "../" * len(PurePosixPath(place).parts)

    def link(match: re.Match[str]) -> str:
        target = os.path.normpath(PurePosixPath(path).parent / match[1])
        return f"]({depth}{target}{match[2] or ''})"

    text = _LINK.sub(link, Path(ROOT, path).read_text(encoding="utf-8"))
    return text.replace(f"]({depth}docs/", f"]({'../' * (len(PurePosixPath(place).parts) - 1)}")
