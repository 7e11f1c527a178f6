"""MISRA C:2012 by the addon of cppcheck: which of its rules generated C breaks, and why it may."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

DEVIATIONS = {
    "2.3": "types that a network does not use",
    "8.7": "net_run() is for other files",
}
"""Rules that generated C breaks on purpose."""

needs_cppcheck = pytest.mark.skipif(shutil.which("cppcheck") is None, reason="needs cppcheck: apt-get install cppcheck")


@dataclass(frozen=True)
class Violation:
    """A place where a rule is broken.

    Attributes
    ----------
    rule : number of the rule, such as "8.7".
    file, line : place.
    """

    rule: str
    file: str
    line: int


def violations(folder: Path, files: Sequence[str], defines: Sequence[str] = ()) -> list[Violation]:
    """Return what breaks a rule in C files."""
    command = ["cppcheck", "--addon=misra", "--std=c99", "-q", "--suppress=missingIncludeSystem"]
    command += ["--template={file}:{line}:{id}", *(f"-D{name}" for name in defines), *files]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    found = re.findall(r"^(?:.*/)?([\w.]+):(\d+):misra-c2012-([\d.]+)$", done.stderr, re.MULTILINE)
    assert "misra" in done.stderr or not done.stderr, done.stderr
    return [Violation(rule, file, int(line)) for file, line, rule in found]
