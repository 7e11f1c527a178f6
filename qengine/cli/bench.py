"""`qengine bench`: the time of a model, kernel by kernel, compared with the peak of the machine and other runtimes."""

from typing import Annotated

import numpy as np
import typer

from qengine.analysis.bench import bench_kernels, executor_of, longest_word, measure, with_inputs
from qengine.analysis.bench.rivals import NAMES, RivalSetup, check_names, rival_runs
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.output.bench import kernels_record, kernels_table, report_record, report_table
from qengine.cli.output.progress import status
from qengine.cli.panels import INPUTS, RUN
from qengine.cli.pixels import with_scale_notes
from qengine.cli.session import open_session
from qengine.data import zoo
from qengine.errors import OptionError

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        show_default=False,
        help="An .onnx file or a bundled model. Without one: typical layers, each alone.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Samples, of which the first is fed, or as many as --batch says.",
        rich_help_panel=INPUTS,
    ),
]
Batch = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Feed N samples at once, with --data.", rich_help_panel=INPUTS)
]
Versus = Annotated[
    str | None,
    typer.Option(
        "--vs",
        metavar="LIST",
        help=f"Measure other runtimes in turn: {', '.join(NAMES)}; separate several by commas.",
        rich_help_panel=RUN,
    ),
]
Seconds = Annotated[
    float,
    typer.Option(
        min=0.1, max=600.0, metavar="SECONDS", help="Approximate time of the measurement.", rich_help_panel=RUN
    ),
]


def bench(
    *,
    model: Model = None,
    data: Data = None,
    batch: Batch = None,
    source: options.InputOptions,
    fixed: options.FixedPointOptions,
    versus: Versus = None,
    seconds: Seconds = 3.0,
    kernels: options.KernelOptions,
    command: options.CommandOptions,
) -> str:
    """Measure the speed of a model, of its kernels, and of other runtimes.

    qengine bench srcnn --qformat Q0.7 --threads 1 --vs onnxruntime,openvino

    Without a format: float32, in other runtimes too. With a format of up to 8 or 16 bits, other runtimes compute in
    their integers of that size.
    """
    names = [name for name in (versus or "").split(",") if name]
    if model is None:
        has_options = fixed != options.FixedPointOptions() or source != options.InputOptions() or command.operators
        if has_options or names or data or batch or kernels.threads not in (None, 1):
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
    base = source.base(model, session.graph, fixed.formats)
    preprocessing = source.preprocessing(base)
    samples = options.DataOptions(**vars(source), data=data, batch=batch)
    if data is not None:
        opened = samples.open(data, base, session.graph, kernels.max_elements)
        pixels = samples.applied(base, session.graph, opened)
        feeds = dict(next(iter(opened.batches())).feeds)
    else:
        samples.check_without_data()
        given = source.arrays(session.graph, preprocessing, kernels.max_elements)
        sample = entry.sample(preprocessing) if entry else None
        pixels = source.applied(base, session.graph, others=sample.pixels_beside(given) if sample else ())
        feeds = with_inputs(session, {**(sample.feeds if sample else {}), **given})
    with status(f"measuring {model}", quiet=command.quiet), np.errstate(all="ignore"):
        pixels = with_scale_notes(pixels, base, session, feeds, fixed.formats)
        executor = executor_of(session, feeds)
        bits = longest_word(session)
        rivals = rival_runs(names, RivalSetup(path, feeds, bits, executor.threads))
        report = measure(session, feeds, rivals, seconds)
    return (report_record if command.json else report_table)(model, pixels, report, bits)
