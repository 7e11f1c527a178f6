"""Quality of quantized networks: ours beside the best settings of other quantizers, with the metric of the task.

    python benchmarks/quality/networks.py DIR [--public MODELS]       # trains networks, makes samples for public ones
    python benchmarks/quality DIR [--bits 8,16] [--recipe fold,best] [--only NAME] [--rivals none|fast|all]

Each measurement is a process of its own, as in model_files.py. A table has a row for each model and word length: the
metric in float32, of ours by recipe, and of the best setting of each other quantizer; then the SQNR of the outputs of
each, and the seconds that it took to quantize and to run all samples. `cases` says what a folder must hold, `tasks`
what the metrics are.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnxruntime_settings
import others
import own
from cases import Case, models_of, read_case
from model_files import FAILED, measured
from tasks import TASKS, sqnr_db

_LIMIT = 900.0  # seconds for one measurement
_FAST = 3  # settings of ONNX Runtime that --rivals fast tries


def _figures(case: Case, exact: list, given: list, seconds: float) -> dict:
    return {"metric": TASKS[case.task][1](case, exact, given), "sqnr": sqnr_db(exact, given), "s": seconds}


def measure(path: Path, what: str, bits: int, options: dict) -> dict:
    """Return the figures of one way to run a case: "float32", "qengine RECIPE", or the name of a rival's setting."""
    case = read_case(path)
    exact, start = own.float_outputs(case), time.perf_counter()
    kind, _, name = what.partition(" ")
    if kind == "float32":
        given = exact
    elif kind == "qengine":
        given = own.outputs(own.quantized_session(case, bits, name, options), case.test)
    elif kind == "ORT":
        setting = next(one for one in onnxruntime_settings.settings(bits) if one.name == name)
        given = onnxruntime_settings.quantized_outputs(case, setting)
    else:
        given = others.installed()[kind](case)
    return _figures(case, exact, given, time.perf_counter() - start)


def _ways(bits: int, recipes: list[str], rivals: str) -> list[str]:
    ways = [f"qengine {recipe}" for recipe in recipes]
    if rivals != "none":
        settings = onnxruntime_settings.settings(bits)
        ways += [f"ORT {one.name}" for one in (settings[:_FAST] if rivals == "fast" else settings)]
    if rivals == "all" and bits == 8:
        ways += list(others.installed())
    return ways


def _shown(figure: float) -> str:
    return "-" if figure is None or math.isnan(figure) else f"{figure:.2f}"


class _Row:
    """One model at one word length: the figures of each way, the best of each rival's settings."""

    def __init__(self, name: str, task: str, bits: int, exact: dict) -> None:
        self.name, self.task, self.bits, self.exact = name, task, bits, exact
        self.found: dict[str, tuple[str, dict]] = {}

    def add(self, way: str, figures: dict) -> None:
        """Add the figures of a way; of a rival with several settings the best stays."""
        column = way if way.startswith("qengine") else way.partition(" ")[0]
        old = self.found.get(column)
        if old is None or FAILED in old[1] or (FAILED not in figures and _rank(figures) > _rank(old[1])):
            self.found[column] = way, figures

    def __str__(self) -> str:
        cells = [
            f"{self.name[:28]:28} {self.bits:2} bits {TASKS[self.task][0]:13} float32 {_shown(self.exact['metric'])}"
        ]
        for column, (way, figures) in self.found.items():
            setting = "" if way == column else f" ({way.partition(' ')[2]})"
            if FAILED in figures:
                cells.append(f"{column} {figures[FAILED][:60]}")
            else:
                metric, sqnr, seconds = figures["metric"], figures["sqnr"], figures["s"]
                cells.append(f"{column} {_shown(metric)} / {_shown(sqnr)} dB {seconds:.0f} s{setting}")
        return "   ".join(cells)


def _rank(figures: dict) -> tuple[float, float]:
    metric, sqnr = ((-math.inf if math.isnan(x) else x) for x in (figures["metric"], figures["sqnr"]))
    return round(metric, 6), sqnr


def _one_line(path: Path, way: str, bits: int, options: dict) -> dict:
    words = ["--measure", way, "--bits", str(bits), "--options", json.dumps(options)]
    return measured(str(path), *words, limit=_LIMIT, script=str(Path(__file__).parent))


def table(arguments: argparse.Namespace) -> list[_Row]:
    """Measure all models of a folder, print a row for each, and return the rows."""
    rows = []
    for path in models_of(arguments.path):
        if arguments.only and not any(part in path.stem for part in arguments.only.split(",")):
            continue
        for bits in map(int, arguments.bits.split(",")):
            task = read_case(path).task
            exact = _one_line(path, "float32", bits, {})
            row = _Row(path.stem, task, bits, exact if FAILED not in exact else {"metric": math.nan})
            for way in _ways(bits, arguments.recipe.split(","), arguments.rivals):
                figures = _one_line(path, way, bits, arguments.options)
                if arguments.verbose:
                    print(f"  {path.stem} {bits} bits {way}: {figures}", file=sys.stderr, flush=True)
                row.add(way, figures)
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(
        prog="quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="folder of NAME.onnx and NAME.npz")
    parser.add_argument("--bits", default="8", help="word lengths, such as 8,16")
    parser.add_argument("--recipe", default=f"{own.DEFAULT_RECIPE},best", help="recipes, such as fold,best")
    parser.add_argument("--only", help="parts of the names of models")
    parser.add_argument("--rivals", choices=("none", "fast", "all"), default="all", help="fast: few settings")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON of CalibrationOptions")
    parser.add_argument("--verbose", action="store_true", help="print each measurement")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is None:
        if not any(models_of(arguments.path)):
            parser.error(f"there is no .onnx file with samples (.npz) in {arguments.path}")
        table(arguments)
        return
    warnings.simplefilter("ignore")
    try:
        with np.errstate(all="ignore"):
            result = measure(arguments.path, arguments.measure, int(arguments.bits), arguments.options)
    except Exception as error:
        result = {FAILED: f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
