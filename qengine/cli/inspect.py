"""`qengine inspect`: operators, tensors and costs of a model without a run; with data, the noise of each tensor."""

from typing import Annotated

import numpy as np
import typer

from qengine.analysis.inspection import inspect_model
from qengine.cli import options, parsing
from qengine.cli.blame import BlameOptions, run_blame
from qengine.cli.operators import run_files
from qengine.cli.output.inspect import as_json, as_tables
from qengine.cli.output.progress import status
from qengine.cli.panels import RUN
from qengine.cli.session import check_meaning
from qengine.data import zoo
from qengine.errors import OptionError
from qengine.model.constant_roles import constant_roles
from qengine.model.loader import load

Tensors = Annotated[
    bool,
    typer.Option("--tensors", metavar="", help="List every tensor that is computed.", rich_help_panel=RUN),
]


def inspect(
    *,
    model: options.Model,
    data: options.DataOptions,
    shapes: options.Shapes = None,
    fetch: options.Fetch = None,
    fixed: options.FixedPointOptions,
    blamed: BlameOptions,
    tensors: Tensors = False,
    limits: options.LimitOptions,
    command: options.CommandOptions,
) -> str:
    """Show operators, weights, work and shapes; with data, the noise of each tensor.

    qengine inspect model.onnx --shape input=1,3,224,224 --qformat Q4.3 --tensors

    qengine inspect model.onnx --formats formats.json --data set.npz --csv noise.csv

    qengine inspect digits --qformat Q3.4 --data digits --group auto

    Without --data the model is not run; a bundled model has the shapes of its sample input. With --data the model runs
    in fixed point and in float32, and each tensor is rounded alone, and left out of the rounding alone: the one that
    causes the most noise at the output comes first. --group does the same with blocks of tensors. --fetch names other
    tensors at which noise is measured.

    Operators without a rule in fixed point are marked: they compute in float32.
    """
    run_files(command.operators or [])
    if data.data is not None:
        if tensors or shapes:
            raise OptionError(f"{'--tensors' if tensors else '--shape'} has no meaning with --data")
        return run_blame(model, fixed, limits, data, blamed, fetch, json=command.json, quiet=command.quiet)
    _check_without_data(data, fixed, blamed, limits, fetch)
    entry = zoo.find(model)
    with status(f"reading {model}", quiet=command.quiet), np.errstate(all="ignore"):
        graph = load(zoo.path_of(model))
        lengths = parsing.shapes(shapes or [], graph)
        given = data.arrays(graph, data.preprocessing(data.base(model, graph)), limits.max_elements)
        if both := sorted(lengths.keys() & given.keys()):
            raise OptionError(f"-i and --shape both give '{both[0]}'")
        sample = entry.sample().feeds if entry else {}
        feeds = {**{name: array for name, array in sample.items() if name not in lengths}, **given}
        settings = fixed.session_options(limits)
        plain = settings.in_float32()
        check_meaning(settings, lambda: inspect_model(graph, feeds, lengths, plain).in_fixed_point)
        result = inspect_model(graph, feeds, lengths, settings)
    if command.json:
        return as_json(model, fixed, result)
    return as_tables(model, fixed, result, constant_roles(graph), tensors=tensors)


def _check_without_data(
    data: options.DataOptions,
    fixed: options.FixedPointOptions,
    blamed: BlameOptions,
    limits: options.LimitOptions,
    fetch: list[str] | None,
) -> None:
    """Raise OptionError for an option that only a run reads."""
    read_in_a_run = {
        **{"--labels": data.labels, "--batch": data.batch, "--limit": data.limit},
        **{f"--{name}": value for name, value in data.typed_preprocessing().items()},
        **{"--csv": blamed.csv, "--fetch": fetch, "--plot": blamed.plot, "-o": blamed.out, "--group": blamed.group},
        "--suggested": blamed.suggested,
        **{
            "--threads": limits.threads,
            "--rule": fixed.rule,
            "--rounding": fixed.rounding,
            "--overflow": fixed.overflow,
        },
        **{"--accumulator-bits": fixed.accumulator_bits, "--islands": fixed.islands},
    }
    if idle := [name for name, value in read_in_a_run.items() if value is not None]:
        raise OptionError(f"{idle[0]} has no meaning without --data: nothing is run")
