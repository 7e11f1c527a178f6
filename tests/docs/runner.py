"""A run of a page: its commands and examples in order, in a folder of its own, as a reader would type them.

Commands of `qengine` and `python FILE` run in this process, which saves the half second of a start; others in a shell.
"""

from __future__ import annotations

import contextlib
import difflib
import doctest
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from docs.pages import Block, Command, Page

from qengine import cli
from qengine.model.ops import operator

MASKS = (
    r"\b\d+(?:\.\d+)? (?:s|ms|min)\b",  # durations
    r"gcc \d+\.\d+\.\d+",
    r"\b\d+ (?:MB|GB|MiB|GiB) at its peak",
)
"""Text that differs from run to run on every page."""


class AbsentError(Exception):
    """A program that a command needs is not installed."""


class PageError(AssertionError):
    """A command failed, or printed something else than the page shows."""


@dataclass
class Run:
    """A run of a page in a folder.

    Attributes
    ----------
    page : the page.
    folder : current folder at its beginning.
    optional : programs without which the rest of a page is skipped.
    checks : whether an output that differs from the page is an error.
    printed : for every block of output by its line: what was printed in its place.
    differs : lines of the blocks of output that are not what was printed.
    ran : commands that ran.
    """

    page: Page
    folder: Path
    optional: frozenset[str] = frozenset()
    checks: bool = True
    printed: dict[int, str] = field(default_factory=dict)
    differs: list[int] = field(default_factory=list)
    ran: list[Command] = field(default_factory=list)

    def __call__(self) -> None:
        """Run all blocks; raise PageError at the first that is not as the page says."""
        environment = {
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "PATH": f"{_shims(self.folder)}{os.pathsep}{os.environ['PATH']}",
        }
        names: dict[str, object] = {"__name__": "__main__"}
        output = errors = ""
        with contextlib.chdir(self.folder), mock.patch.dict(os.environ, environment):
            for block in self.page.blocks:
                commands = [command for command in block.commands() if command.is_run]
                if commands:
                    output, errors = map("".join, zip(*map(self._command, commands), strict=True))
                elif block.language == "output":
                    self._compare(block, output, errors)
                elif block.reason is None:
                    self._other(block, names)

    def _other(self, block: Block, names: dict[str, object]) -> None:
        """Write a file, or run or read a block of another language."""
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and ">>>" in block.text:
            self._examples(block, names)
        elif block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, self.page.name, "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)
        elif block.language in ("toml", "json"):
            {"toml": tomllib.loads, "json": json.loads}[block.language](block.text)

    def _examples(self, block: Block, names: dict[str, object]) -> None:
        test = doctest.DocTestParser().get_doctest(block.text, names, self.page.name, self.page.name, block.line - 1)
        report = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        result = runner.run(test, out=report.write, clear_globs=False)
        names.update(test.globs)
        if result.failed:
            raise PageError(report.getvalue())

    def _command(self, command: Command) -> tuple[str, str]:
        """Run a command, return what it printed to both streams."""
        where = f"{self.page.name}:{command.line}: {command.text}"
        missing = [one for one in command.programs if one in self.optional and shutil.which(one) is None]
        if set(missing) - command.unrun:
            raise AbsentError(f"needs {', '.join(missing)}")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for words in ((),) if command.needs_shell else command.parts:
                if words and words[0].rpartition("/")[2] in command.unrun:
                    continue
                status = self._part(words, command.text, out, err)
                if status not in ((0, 1) if words[:2] == ("qengine", "compare") else (0,)):
                    raise PageError(f"{where}\nexit status {status}\n{out.getvalue()}{err.getvalue()}")
        self.ran.append(command)
        return out.getvalue(), err.getvalue()

    def _part(self, words: tuple[str, ...], text: str, out: io.StringIO, err: io.StringIO) -> int:
        """Run one part of a command, return its exit status."""
        if words and words[0] == "qengine":
            with mock.patch.object(operator, "_registered", {}):  # a command is a process of its own
                return int(cli.main(list(words[1:])) or 0)
        if words and words[0] == "cd":
            os.chdir(words[1])
            return 0
        if words and words[0] == "export":
            os.environ.update(dict([words[1].split("=", 1)]))
            return 0
        if words and words[0] in ("python", "python3") and not words[1].startswith("-"):
            return _script(words[1:])
        line = shlex.join(words) if words else text
        done = subprocess.run(line, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        out.write(done.stdout)
        err.write(done.stderr)
        return done.returncode

    def _compare(self, block: Block, output: str, errors: str) -> None:
        """Compare a block of output with what was printed."""
        printed = _lines(output)
        self.printed[block.line] = "\n".join(printed) + "\n"
        if block.reason is not None:
            return
        masks = [*MASKS, *block.varies]
        shown = [_masked(line, masks) for line in _lines(block.text)]
        found = [_masked(line, masks) for line in printed]
        both = [_masked(line, masks) for line in _lines(errors)] + found
        if _matches(shown, found) or _matches(shown, both):
            return
        self.differs.append(block.line)
        if self.checks:
            raise PageError(
                f"{self.page.name}:{block.line}: prints something else; `python tests/docs/write.py {self.page.name}` "
                "puts it into the page\n"
                + "\n".join(difflib.unified_diff(shown, found, "shown", "printed", lineterm=""))
            )


def _script(words: tuple[str, ...]) -> int:
    """Run a Python file in this process; return its exit status."""
    folder = str(Path(words[0]).resolve().parent)
    with mock.patch.object(sys, "argv", list(words)), mock.patch.object(sys, "path", [folder, *sys.path]):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _shims(folder: Path) -> Path:
    """Return a folder with programs that a shell finds first: this Python, and qengine in it."""
    shims = folder.parent / f"{folder.name}-programs"
    shims.mkdir(exist_ok=True)
    for name, arguments in (("python", ""), ("qengine", " -m qengine")):
        path = shims / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
        path.chmod(0o755)
    return shims


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return lines


def _masked(line: str, masks: list[str]) -> str:
    """Return a line with what varies replaced; blanks are then one blank, as columns may have moved."""
    masked = line
    for mask in masks:
        masked = re.sub(mask, "#", masked)
    return line if masked == line else " ".join(masked.split())


def _matches(shown: list[str], found: list[str]) -> bool:
    """Return whether lines are those that are shown, `...` standing for any."""

    def pattern() -> Iterator[str]:
        for line in shown:
            if line.strip() == "...":
                yield r"(?:[^\n]*\n)*?"
            else:
                yield ".*?".join(map(re.escape, line.split("..."))) + "\n"

    return re.fullmatch("".join(pattern()), "".join(f"{line}\n" for line in found)) is not None
