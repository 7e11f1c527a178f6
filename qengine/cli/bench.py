"""`qengine bench`: the time of a model, kernel by kernel, compared with the peak of the machine and other runtimes."""

import logging
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from qengine.analysis.bench import bench as bench_model
from qengine.analysis.bench import bench_kernels, executor_of
from qengine.analysis.bench.rivals import NAMES, RivalSetup, check_names, rival_runs
from qengine.analysis.inspection.shapes import of_one_sample
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.options.panels import RUN
from qengine.cli.output.bench import kernels_record, kernels_table, report_record, report_table
from qengine.cli.output.progress import status
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.errors import OptionError
from qengine.runtime.session import InferenceSession

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        show_default=False,
        help="An .onnx file or a bundled model. Without one: typical layers, each alone.",
    ),
]
Versus = Annotated[
    str | None,
    typer.Option(
        "--vs",
        metavar="NAMES",
        help=f"Measure other runtimes in turn: {', '.join(NAMES)}; separate several by commas.",
        rich_help_panel=RUN,
    ),
]
Seconds = Annotated[
    float,
    typer.Option(min=0.1, max=600.0, metavar="S", help="Approximate time of the measurement.", rich_help_panel=RUN),
]


def bench(
    *,
    model: Model = None,
    source: options.InputOptions,
    fixed: options.FixedPointOptions,
    versus: Versus = None,
    seconds: Seconds = 3.0,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Measure a model: milliseconds, multiply-accumulates per second, and per cent of this machine's peak.

    qengine bench srcnn --qformat Q0.7 --threads 1 --vs onnxruntime,openvino

    Without a format: float32, in other runtimes too. With a format of up to 8 or 16 bits, other runtimes compute in
    their integers of that size.
    """
    names = [name for name in (versus or "").split(",") if name]
    if model is None:
        has_options = fixed != options.FixedPointOptions() or source != options.InputOptions() or command.operators
        if has_options or names or kernels.threads not in (None, 1):
            raise OptionError(
                "without a model, layers are measured in every word length, on one thread: "
                "give a model with these options"
            )
        with status("measuring kernels", quiet=command.quiet):
            layers = bench_kernels(kernels.isa)
        return (kernels_record if command.json else kernels_table)(layers)
    check_names(names)  # before kernels are compiled
    run_files(command.operators or [])
    entry = zoo.find(model)
    path = zoo.path_of(model)
    session = open_session(path, fixed.session_options(kernels))
    preprocessing = source.preprocessing(entry)
    given = source.arrays(session.graph, preprocessing, kernels.max_elements)
    feeds = _feeds(session, {**(entry.sample(preprocessing).feeds if entry else {}), **given})
    with status(f"measuring {model}", quiet=command.quiet), np.errstate(all="ignore"):
        executor = executor_of(session, feeds)
        bits = _word_length(session)
        rivals = rival_runs(names, RivalSetup(path, feeds, bits, executor.threads))
        report = bench_model(session, feeds, rivals, seconds)
    return (report_record if command.json else report_table)(model, report, bits)


def _feeds(session: InferenceSession, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a feed for every input: random numbers where none is given, if the model fixes the shape."""
    rng = np.random.default_rng(0)
    feeds = dict(given)
    for value in session.graph.inputs:
        if value.name in feeds:
            continue
        shape, dtype = value.shape, value.dtype
        if one := of_one_sample(shape):
            logging.getLogger("qengine").warning(
                "qengine: the batch of input '%s' is open: measured on 1 sample", value.name
            )
            shape = one
        if shape is None or not all(isinstance(n, int) for n in shape):
            raise OptionError(f"input '{value.name}' has no fixed shape: give it with -i")
        if dtype is None or dtype.kind != "f":
            raise OptionError(f"input '{value.name}' does not hold real numbers ({dtype}): give it with -i")
        feeds[value.name] = rng.random(tuple(int(n or 0) for n in shape), np.float32).astype(dtype)
    return feeds


def _word_length(session: InferenceSession) -> int | None:
    """Return the longest word length of the model's tensors; None in float32."""
    lengths = [fmt.bits for fmt in session.formats.values() if hasattr(fmt, "bits")]
    return max(lengths, default=None)
