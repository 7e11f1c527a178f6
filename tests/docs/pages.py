"""Pages of the documentation as blocks, and the commands in them.

The rules that a page follows, so that a test can run it:

- Every fenced block has a language. Commands are in blocks of `sh`, one a line; what follows ` #` is a remark. `output`
  is what the block of commands before it prints. `text` is neither, such as a diagram.
- `...` alone in a line of an output stands for any lines, and within a line for any text.
- A block with `title="NAME"` is a file, which is written before the commands after it run.
- A comment before a block says what its reader need not know:
  `<!-- not run: REASON -->`, `<!-- not run (pip, make): REASON -->` for the commands of some programs,
  `<!-- varies: REGEX -->` for parts of an output that differ from run to run.

`python tests/docs/pages.py` lists all commands, and which are not run.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))  # where this file is run as a program

from generators import commands as command_pages

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
LANGUAGES = {"sh", "output", "text", "python", "c", "verilog", "toml", "json", "yaml", "csv", "md", "diff"}
PROGRAMS = [
    "qengine",
    "python",
    "python3",
    "pip",
    "pytest",
    "mkdocs",
    "cmake",
    "make",
    "gcc",
    "g++",
    "clang",
    "cc",
    "bash",
    "sh",
    "cd",
    "cp",
    "mv",
    "rm",
    "ls",
    "cat",
    "sed",
    "export",
    "git",
    "docker",
    "apt",
    "apt-get",
    "arm-none-eabi-gcc",
    "qemu-system-arm",
    "iverilog",
    "vvp",
    "verilator",
    "onnxsim",
    "pre-commit",
    "/usr/bin/time",
]
NOT_RUN = {
    "qengine compare net net.trace": "needs a compiler; a page on C runs it",
    "qengine bench srcnn --qformat Q0.7 --threads 1 --vs onnxruntime,openvino": "needs OpenVINO",
}
"""Commands in the help that are not run, and why."""
_FENCE = re.compile(
    r"(?P<marks>(?:^[ ]*<!--(?:(?!-->).)*-->\n+)*)"
    r"^(?P<indent>[ ]*)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- (not run|varies)(?: \(([^)]*)\))?: ((?:(?!-->).)*?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file that it is if any, its text and where that is in the page."""

    language: str
    title: str | None
    text: str
    line: int
    span: tuple[int, int]
    indent: str = ""
    reason: str | None = None
    unrun: frozenset[str] = frozenset()
    varies: tuple[str, ...] = ()

    def commands(self) -> list[Command]:
        """Return the commands of a block of `sh`; none of any other block."""
        return list(_commands(self)) if self.language == "sh" else []


@dataclass(frozen=True)
class Command:
    """A command line: its text, the words of its parts, and whether it needs a shell: for more than `&&`."""

    text: str
    line: int
    parts: tuple[tuple[str, ...], ...]
    needs_shell: bool
    reason: str | None
    unrun: frozenset[str]

    @property
    def programs(self) -> list[str]:
        """The programs that it starts."""
        return [words[0].rpartition("/")[2] for words in self.parts if words]

    @property
    def is_run(self) -> bool:
        """Whether a test runs any of it."""
        return self.reason is None or bool(self.unrun and set(self.programs) - self.unrun)


@dataclass(frozen=True)
class Page:
    """A page by its path in the repository; generated ones have the path that they have in the site."""

    name: str
    text: str
    blocks: tuple[Block, ...] = field(default=())

    @property
    def commands(self) -> list[Command]:
        """All commands in order."""
        return [command for block in self.blocks for command in block.commands()]


def read(text: str, name: str = "page") -> Page:
    """Return a page of some text."""
    return Page(name, text, tuple(_blocks(text)))


def pages() -> list[Page]:
    """Return all pages: those of the repository, and those of the commands, whose examples are run too."""
    written = [read(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) for path in FILES]
    return written + [read(text, f"docs/{name}") for name, text in command_pages.pages().items()]


def _blocks(text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        marks = _MARK.findall(found["marks"])
        reasons = [(only, reason) for kind, only, reason in marks if kind == "not run"]
        language, _, rest = found["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        yield Block(
            language,
            title and title[1],
            textwrap.dedent(found["text"]) if found["indent"] else found["text"],
            text[: found.start("text")].count("\n") + 1,
            found.span("text"),
            found["indent"],
            " ".join(reasons[0][1].split()) if reasons else None,
            frozenset(name.strip() for name in reasons[0][0].split(",") if name.strip()) if reasons else frozenset(),
            tuple(regex for kind, _, regex in marks if kind == "varies"),
        )


def _commands(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    i = 0
    while i < len(lines):
        line, start = lines[i].strip(), i
        while line.endswith("\\") and i + 1 < len(lines):
            i += 1
            line = line[:-1].rstrip() + " " + lines[i].strip()
        i += 1
        line = re.sub(r"\s+#\s.*$", "", line)
        if line and not line.startswith("#"):
            yield Command(line, block.line + start, *_parts(line), block.reason or NOT_RUN.get(line), block.unrun)


def _parts(line: str) -> tuple[tuple[tuple[str, ...], ...], bool]:
    """Return the words of the programs of a line, and whether only a shell understands it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    needs_shell = False
    for word in lexer:
        if set(word) <= set("();<>|&"):
            needs_shell |= word != "&&"
            if word in ("&&", "|", ";", "||", "&"):
                parts.append([])
        else:
            parts[-1].append(word)
            needs_shell |= any(character in word for character in "$`*~")
    return tuple(map(tuple, parts)), needs_shell


def main() -> None:
    """List the commands."""
    count = run = 0
    for page in pages():
        for command in page.commands:
            count += 1
            run += command.is_run
            note = f"   NOT RUN: {command.reason}" if command.reason else ""
            print(f"{page.name}:{command.line}: {command.text}{note}")
    print(f"{count} commands, {run} run, {count - run} not")


if __name__ == "__main__":
    main()
