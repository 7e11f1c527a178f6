"""`qengine inspect`: what a model is made of, told without running it."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from qengine import zoo
from qengine.cli import options, parsing
from qengine.cli.inspected import as_json, as_tables
from qengine.cli.operators import run_files
from qengine.cli.show import status
from qengine.errors import OptionError
from qengine.images import PixelScale
from qengine.inspection import inspect_model
from qengine.loader import load
from qengine.plan import MAX_ELEMENTS

Tensors = Annotated[
    bool,
    typer.Option("--tensors", metavar="", help="List every tensor that is computed.", rich_help_panel="Run"),
]


def inspect(
    model: options.Model,
    inputs: options.Inputs = None,
    shapes: options.Shapes = None,
    qformat: options.QFormat = None,
    weight_qformat: options.WeightQFormat = None,
    formats: options.Formats = None,
    per_channel: options.PerChannel = False,
    tensors: Tensors = False,
    max_elements: options.MaxElements = MAX_ELEMENTS,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Tell what a model is made of: operators, and which have no fixed-point rule; parameters, work, shapes.

    qengine inspect model.onnx --shape input=1,3,224,224 --qformat Q4.3 --tensors

    The model is not run. A bundled model is seen with its sample input.
    """
    fixed = parsing.FixedPoint(qformat, weight_qformat, formats, per_channel=per_channel)
    entry = zoo.find(model)
    path = entry.path if entry else Path(model)
    scale = entry.pixel_scale if entry else PixelScale()
    run_files(operators or [])
    with status(f"reading {model}", quiet=json), np.errstate(all="ignore"):
        graph = load(path)
        lengths = parsing.shapes(shapes or [], graph)
        given = parsing.inputs(inputs or [], graph, scale, max_elements)
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
