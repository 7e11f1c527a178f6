"""Spelling of Markdown that the generators share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Pages = Mapping[str, str]
"""Text of files by their path in the site."""

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""


def escaped(text: str) -> str:
    """Return a text in which Markdown and HTML find no markup, but code in backquotes."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        for character, spelled in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("*", "\\*"), ("[", "\\[")):
            parts[i] = parts[i].replace(character, spelled)
    return "`".join(parts)


def code(text: str) -> str:
    """Return a text as code, also inside of a table."""
    return f"`{text}`"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells may have markup, and no line breaks."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def page(title: str, *paragraphs: str) -> str:
    """Return a page with a title."""
    return "\n\n".join([f"# {title}", *(paragraph.strip("\n") for paragraph in paragraphs)]) + "\n"
