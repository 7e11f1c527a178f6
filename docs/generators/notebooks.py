"""Notebooks as pages: their text, their code and the text that it printed. Nothing of Jupyter is needed to show one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from generators.markdown import ROOT, Pages


def pages() -> Pages:
    """Return a page for every notebook below docs/."""
    docs = ROOT / "docs"
    return {
        path.relative_to(docs).with_suffix(".md").as_posix(): as_page(
            json.loads(path.read_text(encoding="utf-8")), path
        )
        for path in sorted(docs.rglob("*.ipynb"))
    }


def as_page(notebook: dict[str, Any], path: Path) -> str:
    """Return the Markdown of a notebook, with a link to the notebook itself below its title."""
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [f"```output\n{text}\n```" for text in map(_printed, cell["outputs"]) if text]
        else:
            parts.append(source)
    title, _, rest = parts[0].partition("\n")
    parts[:1] = [title, f"[Download this notebook]({path.name}).", *filter(None, [rest.strip("\n")])]
    return "\n\n".join(parts) + "\n"


def _printed(output: dict[str, Any]) -> str:
    """Return the text of an output of a cell."""
    text = output.get("text") or output.get("data", {}).get("text/plain") or ""
    return "".join(text).strip("\n")
