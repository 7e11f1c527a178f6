"""Write into pages what their commands print: `python tests/docs/write.py [PAGE ...]`, where outputs have changed.

Blocks of output that leave lines out with `...`, or are not compared, stay as they are and are named.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "docs")]

from docs.pages import ROOT, pages  # noqa: E402
from docs.runner import Run  # noqa: E402

from docs import fixtures, notebooks, special_files  # noqa: E402


def rewritten(page):
    """Return the text of a page with what its commands print, and print what was changed."""
    with tempfile.TemporaryDirectory() as folder:
        fixtures.fill(Path(folder, "page"), page.name)
        run = Run(page, Path(folder, "page"), special_files.OPTIONAL, checks=False)
        run()
    text = page.text
    for block in reversed(page.blocks):
        if block.line not in run.differs:
            continue
        if "..." in block.text:
            print(f"{page.name}:{block.line}: edit this by hand; it prints\n{run.printed[block.line]}")
        else:
            start, end = block.span
            text = (
                text[:start]
                + "".join(f"{block.indent}{line}\n" for line in run.printed[block.line].splitlines())
                + text[end:]
            )
            print(f"{page.name}:{block.line}: written")
    return text


def rewritten_notebook(path):
    """Return a notebook with what its cells show."""
    notebook = notebooks.read(path)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return notebooks.with_outputs(notebook, notebooks.run(notebook))


def main():
    """Rewrite the pages and notebooks that are named, or all."""
    wanted = {str(Path(name).resolve()) for name in sys.argv[1:]}
    for page in pages():
        path = ROOT / page.name
        if path.exists() and (not wanted or str(path) in wanted):
            path.write_text(rewritten(page), encoding="utf-8")
    for path in sorted(ROOT.glob("docs/**/*.ipynb")):
        if not wanted or str(path) in wanted:
            notebooks.write(path, rewritten_notebook(path))


if __name__ == "__main__":
    main()
