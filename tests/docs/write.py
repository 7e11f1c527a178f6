"""Write into pages what their commands print: `python tests/docs/write.py [PAGE ...]`, where outputs have changed.

Blocks of output that leave lines out with `...`, or are not compared, stay as they are and are named.
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "docs")]

from docs.pages import ROOT, pages  # noqa: E402
from docs.runner import Run  # noqa: E402

from docs import fixtures, special_files  # noqa: E402


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


def main():
    """Rewrite the pages that are named, or all."""
    for page in pages():
        if (not sys.argv[1:] or page.name in sys.argv[1:]) and (ROOT / page.name).exists():
            text = rewritten(page)
            if text != page.text:
                (ROOT / page.name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
