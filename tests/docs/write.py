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
        if block.line in run.differs:
            lines = shortened(run.printed[block.line].splitlines(), block.text.splitlines())
            if lines is None:
                print(f"{page.name}:{block.line}: edit this by hand; it prints\n{run.printed[block.line]}")
                continue
            start, end = block.span
            text = text[:start] + "".join(f"{block.indent}{line}".rstrip() + "\n" for line in lines) + text[end:]
            print(f"{page.name}:{block.line}: written")
    return text


def shortened(printed, shown):
    """Return what is printed with `...` where a page has it, between the same first words; None where they are not."""
    parts = [[]]
    for line in shown:
        if line.strip() == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    if any("..." in line for part in parts for line in part):
        return None
    lines, place = [], 0
    for i, part in enumerate(parts):
        if part:
            first = found(printed, part[0], place) if i else 0
            last = found(printed, part[-1], (first or 0) + len(part) // 2) if i < len(parts) - 1 else len(printed) - 1
            if first is None or last is None:
                return None
            lines += printed[first : last + 1]
            place = last + 1
        lines += ["..."] * (i < len(parts) - 1)
    return lines


def found(printed, line, start):
    """Return the number of the first line from a place on that begins with the same word; None for none."""
    word = (line.split() or [""])[0]
    return next((i for i in range(start, len(printed)) if (printed[i].split() or [""])[0] == word), None)


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
