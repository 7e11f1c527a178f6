"""Mutation testing of the arithmetic files: change one operator or number, and see that the tests of the file fail.

Each mutant is a forked process that imports the changed source in the place of the file and runs the tests of that
file, which `TESTS` names; nothing on disk is changed. A mutant is killed where a test fails, or where the tests take
ten times as long as without it; it survives where all tests pass. Survivors are printed with the changed line: each is
a missing test, or a change that changes no result (an equivalent mutant), such as a limit that is never reached.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The tests of each file; a test that needs no other file is the fastest way to kill a mutant.
TESTS = {
    "kernels/reference/rounding.py": ["tests/kernels/reference/test_rounding.py"],
    "kernels/reference/requantize.py": ["tests/kernels/reference/test_requantize.py"],
    "kernels/reference/linear.py": ["tests/kernels/reference/test_linear.py"],
    "kernels/reference/elementwise.py": ["tests/kernels/reference/test_elementwise.py"],
    "kernels/reference/pool.py": ["tests/kernels/reference/test_pool.py"],
    "kernels/reference/table.py": ["tests/kernels/reference/test_table.py"],
    "kernels/reference/word.py": ["tests/kernels/reference/test_word.py"],
    "kernels/reference/window.py": ["tests/kernels/reference/test_window.py"],
    "kernels/reference/double_double.py": ["tests/kernels/reference/test_double_double.py"],
    "qengine/runtime/native/exact_sums.py": ["tests/runtime/native/test_exact_sums.py"],
    "qengine/runtime/native/output_stage.py": ["tests/runtime/native/test_output_stage.py"],
    "qengine/runtime/native/memory.py": ["tests/runtime/native/test_memory.py"],
    "qengine/runtime/native/window.py": ["tests/runtime/native/test_memory.py"],
    "qengine/runtime/native/bands.py": ["tests/runtime/native/test_schedule.py"],
    "qengine/runtime/native/schedule.py": ["tests/runtime/native/test_schedule.py"],
}

COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
}
ARITHMETIC = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.Div: "*",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.LShift: ">>",
    ast.RShift: "<<",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}


@dataclass(frozen=True)
class Mutant:
    """A file with one change.

    Attributes
    ----------
    path : the file, from the root of the checkout.
    line : number of the changed line.
    before, after : that line.
    source : the whole changed file.
    """

    path: str
    line: int
    before: str
    after: str
    source: str


def mutants(path):
    """Return every mutant of a file."""
    text = (ROOT / path).read_text()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = text.encode()

    def offset(line, column):
        return starts[line - 1] + column

    def span(node):
        return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)

    found = []

    def change(begin, end, new):
        changed = (raw[:begin] + new.encode() + raw[end:]).decode()
        line = raw[:begin].count(b"\n") + 1
        try:
            ast.parse(changed)
        except SyntaxError:
            return
        lines = text.splitlines(), changed.splitlines()
        found.append(Mutant(path, line, lines[0][line - 1].strip(), lines[1][line - 1].strip(), changed))

    def between(left, right, new):
        """Replace the operator between two operands."""
        begin, end = span(left)[1], span(right)[0]
        old = raw[begin:end].decode()
        inside = old.strip(" ()\n")
        if "#" not in old and inside:
            at = begin + old.index(inside)
            change(at, at + len(inside), new)

    tree = ast.parse(text)
    annotations = {id(part) for node in ast.walk(tree) for held in _annotations(node) for part in ast.walk(held)}
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Compare):
            for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                if type(operator) in COMPARISONS:
                    between(left, right, COMPARISONS[type(operator)])
        elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            between(node.left, node.right, ARITHMETIC[type(node.op)])
        elif isinstance(node, ast.BoolOp):
            between(node.values[0], node.values[1], "or" if isinstance(node.op, ast.And) else "and")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            change(span(node)[0], span(node.operand)[0], "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            new = str(not node.value) if isinstance(node.value, bool) else str(node.value + 1)
            change(*span(node), new)
            if node.value not in (0, 1):
                change(*span(node), "0")
        elif isinstance(node, ast.Name) and node.id in ("min", "max") and isinstance(node.ctx, ast.Load):
            change(*span(node), "max" if node.id == "min" else "min")
    return found


def _annotations(node):
    return [
        held
        for name in ("annotation", "returns")
        if (held := getattr(node, name, None)) is not None and isinstance(held, ast.AST)
    ]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a text, and leaves all others to those who do it otherwise."""

    def __init__(self, name, path, source):
        self.name, self.path, self.source = name, str(path), source

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        is_package = self.path.endswith("__init__.py")
        places = [str(Path(self.path).parent)] if is_package else None
        return importlib.util.spec_from_file_location(name, self.path, loader=self, submodule_search_locations=places)

    def exec_module(self, module):
        exec(compile(self.source, self.path, "exec"), module.__dict__)


def module_name(path):
    """Return the name that a file is imported by."""
    parts = list(Path(path).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts if parts[0] == "qengine" else ["qengine", *parts])


def run(path, source, seconds):
    """Run the tests of a file with a source in its place; return whether they passed, and the seconds that it took."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest

        if source is not None:
            sys.meta_path.insert(0, _Finder(module_name(path), ROOT / path, source))
        try:
            status = pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS[path]])
        except BaseException:
            status = 1
        os._exit(int(status))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began > seconds:
            os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.01)
    passed = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    return passed, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of {', '.join(TESTS)}; all where none is named")
    parser.add_argument("--sample", type=int, metavar="N", help="at most N mutants of each file, chosen at random")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="mutants at once")
    parser.add_argument("--list", action="store_true", help="count the mutants of each file and run nothing")
    options = parser.parse_args()
    unknown = [path for path in options.files if path not in TESTS]
    if unknown:
        parser.error(f"no tests are known of {', '.join(unknown)}: add them to TESTS")
    # What children share: all that tests import and that no mutant is of.
    import numpy  # noqa: F401
    import onnx  # noqa: F401
    import pytest  # noqa: F401

    os.chdir(ROOT)
    killed = survived = 0
    for path in options.files or TESTS:
        every = mutants(path)
        if options.list:
            print(f"{path}: {len(every)}")
            continue
        if options.sample is not None and options.sample < len(every):
            every = random.Random(path).sample(every, options.sample)
        passed, seconds = run(path, None, 600)
        if not passed:
            sys.exit(f"{path}: its tests fail without any change: {' '.join(TESTS[path])}")
        limit = 10 + 10 * seconds
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(pool.map(lambda mutant: run(path, mutant.source, limit)[0], every))  # noqa: B023
        alive = [mutant for mutant, passed in zip(every, outcomes, strict=True) if passed]
        killed, survived = killed + len(every) - len(alive), survived + len(alive)
        print(f"{path}: {len(every) - len(alive)} of {len(every)} killed", flush=True)
        for mutant in sorted(alive, key=lambda one: one.line):
            print(f"  line {mutant.line}\n    - {mutant.before}\n    + {mutant.after}", flush=True)
    if not options.list:
        print(f"{killed} killed, {survived} survived")


if __name__ == "__main__":
    main()
