"""Mutation testing of the arithmetic files: change one operator or number, and see that the tests of the file fail.

Each mutant is a forked process that imports the changed source in the place of the file and runs the tests of that
file, which `TESTS` names; nothing on disk is changed. A mutant is killed where a test fails, or where the tests take
ten times as long as without it; it survives where all tests pass. Survivors are printed with the changed line: each is
a missing test, or a change that changes no result (an equivalent mutant), such as a limit that is never reached.
"""

import argparse
import ast
import contextlib
import importlib.abc
import importlib.util
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

_REFERENCE = "tests/kernels/reference"
_CALIBRATION = "tests/quantization/calibration"
_CORRECTION = "tests/quantization/correction"
_OPS = "tests/model/ops"

# The tests of each file, the fastest ones that are about it first: a child stops at the first failure.
TESTS = {
    "kernels/reference/double_double.py": [f"{_REFERENCE}/test_double_double.py"],
    "kernels/reference/elementwise.py": [f"{_REFERENCE}/test_elementwise.py"],
    "kernels/reference/functions.py": [f"{_REFERENCE}/test_functions.py"],
    "kernels/reference/grid_sample.py": [f"{_OPS}/test_grid_sample.py"],
    "kernels/reference/linear.py": [f"{_REFERENCE}/test_linear.py"],
    "kernels/reference/normalization.py": [f"{_REFERENCE}/test_normalization.py", f"{_OPS}/test_normalization.py"],
    "kernels/reference/ordered_sums.py": [f"{_REFERENCE}/test_ordered_sums.py"],
    "kernels/reference/pool.py": [f"{_REFERENCE}/test_pool.py"],
    "kernels/reference/requantize.py": [f"{_REFERENCE}/test_requantize.py"],
    "kernels/reference/resize.py": [f"{_REFERENCE}/test_resize.py", f"{_REFERENCE}/test_resize_onnx.py"],
    "kernels/reference/rounding.py": [f"{_REFERENCE}/test_rounding.py"],
    "kernels/reference/table.py": [f"{_REFERENCE}/test_table.py"],
    "kernels/reference/window.py": [f"{_REFERENCE}/test_window.py"],
    "kernels/reference/word.py": [f"{_REFERENCE}/test_word.py"],
    "kernels/epilogue.py": ["tests/kernels/test_epilogue.py"],
    "kernels/ordered_sums.py": ["tests/kernels/test_ordered_sums.py"],
    "qengine/qformat/arrays.py": ["tests/test_qformat.py"],
    "qengine/qformat/channels.py": ["tests/test_qformat.py"],
    "qengine/qformat/choice.py": ["tests/test_qformat.py"],
    "qengine/qformat/single.py": ["tests/test_qformat.py"],
    "qengine/model/static_values.py": ["tests/model/test_static_values.py"],
    "qengine/model/steps/combine.py": ["tests/model/steps", f"{_OPS}/test_elementwise.py"],
    "qengine/model/steps/join.py": ["tests/model/steps", f"{_OPS}/test_movement.py"],
    "qengine/model/steps/linear.py": ["tests/model/steps/test_linear.py"],
    "qengine/model/steps/mean.py": ["tests/model/steps", f"{_OPS}/test_reduce.py"],
    "qengine/model/steps/move.py": ["tests/model/steps", f"{_OPS}/test_movement.py"],
    "qengine/model/steps/resize.py": ["tests/model/steps", f"{_OPS}/test_resize.py"],
    "qengine/model/steps/table.py": ["tests/model/steps", f"{_OPS}/test_functions.py"],
    "qengine/model/formats/assign.py": ["tests/model/formats/test_assign.py", "tests/model/formats/test_groups.py"],
    "qengine/model/formats/constants.py": [
        "tests/model/formats/test_constants.py",
        "tests/model/formats/test_assign.py",
    ],
    "qengine/model/formats/groups.py": ["tests/model/formats/test_groups.py"],
    "qengine/quantization/calibration/choose.py": [f"{_CALIBRATION}/test_choose.py"],
    "qengine/quantization/calibration/error.py": [f"{_CALIBRATION}/test_choose.py"],
    "qengine/quantization/calibration/formats.py": [
        f"{_CALIBRATION}/test_branches.py",
        f"{_CALIBRATION}/test_calibrate.py",
    ],
    "qengine/quantization/calibration/histogram.py": [f"{_CALIBRATION}/test_histogram.py"],
    "qengine/quantization/correction/bias.py": [f"{_CORRECTION}/test_bias.py"],
    "qengine/quantization/correction/equalization.py": [f"{_CORRECTION}/test_equalization.py"],
    "qengine/quantization/correction/rounding.py": [f"{_CORRECTION}/test_rounding.py"],
    "qengine/quantization/correction/statistics.py": [f"{_CORRECTION}/test_statistics.py"],
    "qengine/quantization/correction/weights.py": [f"{_CORRECTION}/test_weights.py"],
    "qengine/metrics/agreement.py": ["tests/metrics/test_metrics.py"],
    "qengine/metrics/declaration.py": ["tests/metrics/test_drop.py", "tests/metrics/test_declaration.py"],
    "qengine/metrics/drop.py": ["tests/metrics/test_drop.py"],
    "qengine/metrics/pareto.py": ["tests/metrics/test_pareto.py"],
    "qengine/metrics/psnr.py": ["tests/metrics/test_metrics.py"],
    "qengine/metrics/quality.py": ["tests/metrics/test_quality.py"],
    "qengine/metrics/decibels.py": ["tests/metrics/test_decibels.py"],
    "qengine/metrics/sqnr.py": ["tests/metrics/test_decibels.py", "tests/metrics/test_metrics.py"],
    "qengine/metrics/ssim.py": ["tests/metrics/test_metrics.py"],
    "qengine/metrics/tasks.py": ["tests/metrics/test_metrics.py", "tests/metrics/test_quality.py"],
    "qengine/metrics/top1.py": ["tests/metrics/test_metrics.py"],
    "qengine/analysis/inspection/costs.py": ["tests/analysis/inspection/test_costs.py"],
    "qengine/analysis/search/descent.py": ["tests/analysis/search/test_descent.py"],
    "qengine/analysis/search/refine.py": ["tests/analysis/search/test_refine.py"],
    "qengine/runtime/plan/builder.py": [
        "tests/runtime/plan/test_plan.py",
        "tests/runtime/test_sections.py",
        "tests/model/test_static_values.py",
        "tests/model/passes/test_qdq_reader.py",
    ],
    "qengine/runtime/native/bands.py": ["tests/runtime/native/test_schedule.py"],
    "qengine/runtime/native/exact_sums.py": ["tests/runtime/native/test_exact_sums.py"],
    "qengine/runtime/native/memory.py": ["tests/runtime/native/test_memory.py"],
    "qengine/runtime/native/output_stage.py": ["tests/runtime/native/test_output_stage.py"],
    "qengine/runtime/native/schedule.py": ["tests/runtime/native/test_schedule.py"],
    "qengine/runtime/native/window.py": ["tests/runtime/native/test_memory.py"],
}

# Packages that tests import and that no mutant is in: children share them.
SHARED = ("pytest", "numpy", "onnx.reference", "onnxruntime", "llvmlite.binding")

# Keyword arguments that decide no bit; `strict` of zip only raises where lengths differ.
DECLARATIONS = ("frozen", "eq", "order", "strict", "decimals")

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
    excluded = {id(part) for node in ast.walk(tree) for held in _excluded(node) for part in ast.walk(held)}
    for node in ast.walk(tree):
        if id(node) in excluded:
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


def _excluded(node):
    """Return the parts of a node that decide no bit: annotations, options of declarations, and the -1 of reshape."""
    parts = [getattr(node, name, None) for name in ("annotation", "returns")]
    if isinstance(node, ast.keyword) and node.arg in DECLARATIONS:
        parts.append(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
        parts += [part for part in node.args if isinstance(part, ast.UnaryOp)]
    return [part for part in parts if isinstance(part, ast.AST)]


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


def run(path, source, seconds, cache):
    """Run the tests of a file with a source in its place; return whether they passed, and the seconds that it took.

    Compiled kernels are read from a directory and not written to it: a mutant's would be taken for the file's own.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as own:
        copy = shutil.copytree(cache, Path(own) / "kernels", copy_function=os.link)
        passed = _run(path, source, began + seconds, cache if source is None else copy)
    return passed, time.monotonic() - began


def _run(path, source, end, cache):
    child = os.fork()
    if child == 0:
        os.environ["QENGINE_CACHE_DIR"] = str(cache)
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
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.01)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def survivors(path, every, jobs):
    """Return the mutants of a file that no test kills, the seconds of its tests, and the seconds of all mutants."""
    with tempfile.TemporaryDirectory() as cache:
        passed, seconds = run(path, None, 600, cache)
        if not passed:
            sys.exit(f"{path}: its tests fail without any change: {' '.join(TESTS[path])}")
        began = time.monotonic()
        with ThreadPoolExecutor(jobs) as pool:
            passes = list(pool.map(lambda mutant: run(path, mutant.source, 10 + 10 * seconds, cache)[0], every))
    return [mutant for mutant, passed in zip(every, passes, strict=True) if passed], seconds, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="file to mutate; by default all that --list names")
    parser.add_argument("--sample", type=int, metavar="N", help="at most N mutants of each file, always the same")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="mutants that run at once")
    parser.add_argument("--list", action="store_true", help="print the number of mutants of each file; run nothing")
    options = parser.parse_args()
    unknown = [path for path in options.files if path not in TESTS]
    if unknown:
        parser.error(f"no tests are named for {', '.join(unknown)}: add them to TESTS in tests/mutate.py")
    for name in SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)

    os.chdir(ROOT)
    killed = survived = 0
    for path in options.files or TESTS:
        every = mutants(path)
        if options.list:
            print(f"{path}: {len(every)}")
            continue
        if options.sample is not None and options.sample < len(every):
            every = random.Random(path).sample(every, options.sample)
        alive, seconds, total = survivors(path, every, options.jobs)
        killed, survived = killed + len(every) - len(alive), survived + len(alive)
        print(
            f"{path}: {len(every) - len(alive)} of {len(every)} killed in {total:.0f} s, tests take {seconds:.1f} s",
            flush=True,
        )
        for mutant in sorted(alive, key=lambda one: one.line):
            print(f"  line {mutant.line}\n    - {mutant.before}\n    + {mutant.after}", flush=True)
    if not options.list:
        print(f"{killed} killed, {survived} survived")


if __name__ == "__main__":
    main()
