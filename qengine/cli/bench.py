"""`qengine bench`: how long a model takes, kernel by kernel, beside the peak of the machine and other runtimes."""

from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from qengine.analysis.bench import bench as bench_model
from qengine.analysis.bench import bench_kernels, executor_of
from qengine.analysis.bench.rivals import NAMES, RivalSetup, rival_runs
from qengine.cli import options, parsing
from qengine.cli.operators import run_files
from qengine.cli.output.bench import kernels_record, kernels_table, report_record, report_table
from qengine.cli.output.console import status
from qengine.data import zoo
from qengine.data.images import PixelScale
from qengine.errors import OptionError
from qengine.runtime.plan.plan import MAX_ELEMENTS
from qengine.runtime.session import InferenceSession

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        show_default=False,
        help="An .onnx file or a bundled model; without one, layers as they occur, one at a time.",
    ),
]
Versus = Annotated[
    str | None,
    typer.Option(
        "--vs",
        metavar="NAMES",
        help=f"Take turns with other runtimes: {', '.join(NAMES)}; several with commas.",
        rich_help_panel="Run",
    ),
]
Seconds = Annotated[
    float, typer.Option(min=0.1, max=600.0, metavar="S", help="About how long to measure runs.", rich_help_panel="Run")
]


def bench(
    model: Model = None,
    inputs: options.Inputs = None,
    qformat: options.QFormat = None,
    weight_qformat: options.WeightQFormat = None,
    formats: options.Formats = None,
    rounding: options.RoundingMode = None,
    overflow: options.OverflowMode = None,
    accumulator_bits: options.AccumulatorBits = None,
    per_channel: options.PerChannel = False,
    isa: options.Isa = None,
    threads: options.Threads = None,
    versus: Versus = None,
    seconds: Seconds = 3.0,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Measure a model: milliseconds, multiply-accumulates a second, and per cent of this machine's peak.

    qengine bench srcnn --qformat Q0.7 --threads 1 --vs onnxruntime,openvino

    Without a format: float32. Other runtimes then run float32 too; beside a format of up to 8 or 16 bits they run the
    integers of that size that they have.
    """
    fixed = parsing.FixedPoint(qformat, weight_qformat, formats, rounding, overflow, accumulator_bits, per_channel)
    names = [name for name in (versus or "").split(",") if name]
    if model is None:
        if fixed != parsing.FixedPoint() or inputs or names or operators or threads not in (None, 1):
            raise OptionError(
                "kernels alone are measured in every word, on one thread: give a model with these options"
            )
        with status("measuring kernels", quiet=json):
            found = bench_kernels(isa)
        return kernels_record(found) if json else kernels_table(found)
    run_files(operators or [])
    entry = zoo.find(model)
    path = zoo.path_of(model)
    session = fixed.session(path, isa=isa, threads=threads)
    given = parsing.inputs(inputs or [], session.graph, entry.pixel_scale if entry else PixelScale(), MAX_ELEMENTS)
    feeds = _feeds(session, {**(entry.sample(entry.pixel_scale).feeds if entry else {}), **given})
    with status(f"measuring {model}", quiet=json), np.errstate(all="ignore"):
        executor = executor_of(session, feeds)
        bits = _word_length(session)
        rivals = rival_runs(names, RivalSetup(path, feeds, bits, executor.threads))
        report = bench_model(session, feeds, rivals, seconds)
    return report_record(model, report, bits) if json else report_table(model, report, bits)


def _feeds(session: InferenceSession, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a feed for every input: noise, where none is given and the model says of what shape."""
    rng = np.random.default_rng(0)
    found = dict(given)
    for value in session.graph.inputs:
        if value.name in found:
            continue
        shape, dtype = value.shape, value.dtype
        if shape is None or not all(isinstance(n, int) for n in shape):
            raise OptionError(f"input '{value.name}' has no fixed shape: give it with -i")
        if dtype is None or dtype.kind != "f":
            raise OptionError(f"input '{value.name}' is not of real numbers ({dtype}): give it with -i")
        found[value.name] = rng.random(tuple(int(n or 0) for n in shape), np.float32).astype(dtype)
    return found


def _word_length(session: InferenceSession) -> int | None:
    """Return the longest word of the run's activations; None in float32."""
    lengths = [form.bits for form in session.formats.values() if hasattr(form, "bits")]
    return max(lengths, default=None)
