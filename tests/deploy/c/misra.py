"""MISRA C:2012 by the addon of cppcheck: which of its rules generated C breaks, and why it may."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REQUIRED = {
    "8.5": "constants are declared where they are read and where they are defined, so that no header shows them",
    "8.14": "restrict on pointers whose memory the planner proves to be apart: the compiler makes vectors of the loops",
    "10.1": "a shift takes an int32_t that is never negative; masks and shifts of numbers that are known not to be",
    "10.3": "truth values are kept as int32_t, and steps of pointers are int32_t: C99 has no bool without a header",
    "10.4": "sums of an int32_t and a shorter integer, of which C makes an int32_t on every machine",
    "10.5": "a truth value is used as the number 0 or 1, so that a loop has no branch",
    "10.6": "a truth value that is kept as an integer",
    "10.7": "an int64_t product of which one factor is a sum of int32_t",
    "10.8": "a sum of codes is cast to the type that holds it, a bound to that of the sum",
    "14.4": "truth values of a kernel's numbers are int32_t",
    "15.7": "an else that would be empty",
    "21.15": "the bits of a float are copied, where conversions of floats are compiled",
    "2.2": "a number that is 0 or 1 in this network",
}
ADVISORY = {
    "2.3": "types that a network does not use",
    "2.4": "names of numbers that a network does not use",
    "2.5": "macros for other compilers and for callers",
    "8.7": "functions for callers in other files",
    "8.9": "numbers of a kernel stand before its function, so that the calls stay short",
    "11.5": "memory of the arena is void: it holds elements of several types",
    "12.1": "products bind more tightly than sums, as everywhere",
    "12.3": "counters that belong together are declared together",
    "13.3": "a pointer that is read and moved on",
    "13.4": "sums that begin with the same number",
    "15.5": "a function returns where it has its result",
    "17.8": "a number that is narrowed step by step",
    "18.4": "pointers move on through arrays of which the ends are known",
    "20.1": "intrinsics are included only where a machine has them",
    "20.5": "a macro for the loops of one kernel",
}
DEVIATIONS = REQUIRED | ADVISORY
"""Rules that generated C breaks on purpose, none of them mandatory."""

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
    return [Violation(rule, file, int(line)) for file, line, rule in found]
