"""Files of the repository that pages link to, as plain text in the site, so that it is whole without a network.

A link of a page such as `../../kernels/dot.py` leads out of the documentation. In the repository it leads to the file;
in the site `rewritten` makes it `../source/kernels/dot.py.txt`. A folder is a page that lists its files.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path, PurePosixPath

from generators.markdown import ROOT, Pages, code, page

FOLDER = "source"
_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
PROJECT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "development/contributing.md",
    "CHANGELOG.md": "development/changes.md",
    "qengine/data/zoo/SOURCES.md": "reference/sources.md",
}
"""Pages of the repository outside of docs/, and where they are in the site."""


def pages() -> Pages:
    """Return the text of every file, and a list for every folder, that a page links to."""
    made: dict[str, str] = {}
    for path in sorted(_linked()):
        if Path(ROOT, path).is_dir():
            made[f"{FOLDER}/{path}/index.md"] = _listing(path)
            for file in _files(path):
                made[f"{FOLDER}/{path}/{file}.txt"] = Path(ROOT, path, file).read_text(encoding="utf-8")
        else:
            made[f"{FOLDER}/{path}.txt"] = Path(ROOT, path).read_text(encoding="utf-8")
    return made


def rewritten(text: str, where: str) -> str:
    """Return the text of a page with links out of the documentation as links to files of the site.

    Parameters
    ----------
    text
        The page.
    where
        Its path below docs/.
    """
    here = PurePosixPath(where).parent

    def link(match: re.Match[str]) -> str:
        path = _outside(match[1], where)
        if path is None:
            return match[0]
        return f"]({os.path.relpath(_place(path), here)}{match[2] or ''})"

    return _LINK.sub(link, text)


def _place(path: str) -> str:
    """Return where a file or a folder of the repository is in the site."""
    if path in PROJECT:
        return PROJECT[path]
    return f"{FOLDER}/{path}/index.md" if Path(ROOT, path).is_dir() else f"{FOLDER}/{path}.txt"


def _outside(target: str, where: str) -> str | None:
    """Return what the link of a page leads to as a path in the repository; None for what is below docs/."""
    path = PurePosixPath(os.path.normpath(PurePosixPath("docs", where).parent / target))
    return None if path.parts[0] == "docs" else str(path)


@cache
def _linked() -> frozenset[str]:
    found = set()
    for file in Path(ROOT, "docs").rglob("*.md"):
        where = file.relative_to(ROOT / "docs").as_posix()
        found |= {_outside(match[1], where) for match in _LINK.finditer(file.read_text(encoding="utf-8"))}
    return frozenset(path for path in found if path is not None and path not in PROJECT and Path(ROOT, path).exists())


def _files(folder: str) -> list[str]:
    names = [one.name for one in Path(ROOT, folder).iterdir() if one.is_file() and not one.name.startswith(".")]
    return sorted(name for name in names if not name.endswith((".pyc", ".onnx", ".npz", ".png")))


def _listing(folder: str) -> str:
    files = [f"- [{name}]({name}.txt)" for name in _files(folder)]
    return "---\nsearch:\n  exclude: true\n---\n\n" + page(code(folder), "\n".join(files))
