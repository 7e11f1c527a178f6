"""Hooks of MkDocs: pages that are made from the code, and links into the repository."""

from __future__ import annotations

from typing import Any

from generators import all_pages
from generators.sources import rewritten
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_pages: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and put those of a folder into the navigation where it names the folder."""
    _pages.clear()
    _pages.update(all_pages())
    if config.nav is not None:
        config.nav = [_expanded(entry, list(_pages)) for entry in config.nav]
    return config


def _expanded(entry: Any, paths: list[str]) -> Any:
    if isinstance(entry, list):
        return [_expanded(one, paths) for one in entry]
    if isinstance(entry, dict):
        return {title: _expanded(one, paths) for title, one in entry.items()}
    if isinstance(entry, str) and entry.endswith("/"):
        return [path for path in paths if path.startswith(entry) and path.endswith(".md")]
    return entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated file."""
    for path, text in _pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links out of the documentation to the copies of these files in the site."""
    return rewritten(markdown, page.file.src_uri)
