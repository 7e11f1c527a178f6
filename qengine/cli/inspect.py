"""`qengine inspect`: what a model is made of, told without running it; with data, which tensor broke it."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from qengine.analysis.inspection import inspect_model
from qengine.cli import options, parsing
from qengine.cli.blame import Files, run_blame
from qengine.cli.data import DataOptions
from qengine.cli.operators import run_files
from qengine.cli.output.console import status
from qengine.cli.output.inspect import as_json, as_tables
from qengine.data import zoo
from qengine.data.images import PixelScale
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.runtime.plan.plan import MAX_ELEMENTS

_BLAME = "Which tensor broke it"

Tensors = Annotated[
    bool,
    typer.Option("--tensors", metavar="", help="List every tensor that is computed.", rich_help_panel="Run"),
]

Apart = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Run the model on data (see calibrate --data), and tell which tensor's format does how much harm.",
        rich_help_panel=_BLAME,
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Save the table of --data.", rich_help_panel=_BLAME),
]
Plot = Annotated[
    str | None,
    typer.Option(
        metavar="TENSOR",
        help="Draw a tensor's histogram beside its format, into -o FILE.png; of all, into a folder.",
        rich_help_panel=_BLAME,
    ),
]
PlotOut = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FILE", help="Of --plot: .png, .svg, .pdf; or a folder.", rich_help_panel=_BLAME
    ),
]


def inspect(
    model: options.Model,
    inputs: options.Inputs = None,
    shapes: options.Shapes = None,
    qformat: options.QFormat = None,
    weight_qformat: options.WeightQFormat = None,
    formats: options.Formats = None,
    rounding: options.RoundingMode = None,
    overflow: options.OverflowMode = None,
    accumulator_bits: options.AccumulatorBits = None,
    per_channel: options.PerChannel = False,
    data: Apart = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    fetch: options.Fetch = None,
    csv: Csv = None,
    plot: Plot = None,
    out: PlotOut = None,
    threads: options.Threads = None,
    tensors: Tensors = False,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Tell what a model is made of: operators, and which have no fixed-point rule; parameters, work, shapes.

    qengine inspect model.onnx --shape input=1,3,224,224 --qformat Q4.3 --tensors

    qengine inspect digits --formats formats.json --data digits --csv harm.csv

    Without --data the model is not run, and a bundled model is seen with its sample input. With --data each tensor is
    rounded alone in a float32 run, and the most harmful is named first; --fetch tells where noise is measured.
    """
    fixed = parsing.FixedPoint(
        qformat, weight_qformat, formats, rounding, overflow, accumulator_bits, per_channel=per_channel
    )
    entry = zoo.find(model)
    path = zoo.path_of(model)
    run_files(operators or [])
    if data is not None:
        if tensors or shapes:
            raise OptionError(f"{'--tensors' if tensors else '--shape'} has no meaning with --data")
        chosen = DataOptions(data, inputs or (), batch, limit, scale, mean, bgr)
        files = Files(csv, plot, out)
        limits = {"threads": threads, "max_elements": max_elements}
        return run_blame(model, entry, fixed, chosen, files, fetch=fetch, json=json, **limits)
    of_data = {
        **{"--batch": batch, "--limit": limit, "--scale": scale, "--mean": mean, "--bgr": bgr or None, "--csv": csv},
        **{"--fetch": fetch, "--plot": plot, "-o": out, "--threads": threads},
        **{"--rounding": rounding, "--overflow": overflow, "--accumulator-bits": accumulator_bits},
    }
    if idle := [name for name, given in of_data.items() if given is not None]:
        raise OptionError(f"{idle[0]} has no meaning without --data: nothing is run")
    pixel_scale = entry.pixel_scale if entry else PixelScale()
    with status(f"reading {model}", quiet=json), np.errstate(all="ignore"):
        graph = load(path)
        lengths = parsing.shapes(shapes or [], graph)
        given = parsing.inputs(inputs or [], graph, pixel_scale, max_elements)
        if both := sorted(lengths.keys() & given.keys()):
            raise OptionError(f"-i and --shape both give '{both[0]}'")
        sample = entry.sample().feeds if entry else {}
        feeds = {**{name: array for name, array in sample.items() if name not in lengths}, **given}
        fixed.check(lambda: inspect_model(graph, feeds, lengths, max_elements=max_elements).in_fixed_point)
        found = inspect_model(
            graph,
            feeds,
            lengths,
            qformat=qformat,
            weight_qformat=weight_qformat,
            formats=formats,
            per_channel=per_channel,
            max_elements=max_elements,
        )
    return as_json(model, fixed, found) if json else as_tables(model, fixed, found, tensors=tensors)
