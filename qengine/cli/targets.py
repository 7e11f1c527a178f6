"""`qengine targets`: the devices whose arithmetic can be computed, and what a model has that one of them does not."""

from typing import Annotated

import numpy as np
import typer

from qengine.analysis.target_check import check_target
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.output.progress import status
from qengine.cli.output.targets import (
    check_as_json,
    check_as_table,
    list_as_json,
    list_as_table,
    one_as_json,
    one_as_tables,
)
from qengine.data import zoo
from qengine.errors import OptionError, did_you_mean
from qengine.model.constant_roles import constant_roles
from qengine.model.loader import load
from qengine.targets import Target, names

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME|check MODEL]",
        show_default=False,
        help="A target to show: a name, or a TOML file. Or the word check, and a model. Without: a list of all.",
    ),
]


def targets(
    *,
    words: Words = None,
    source: options.InputOptions,
    fixed: options.FixedPointOptions,
    limits: options.LimitOptions,
    command: options.CommandOptions,
) -> str:
    """List the targets, show the rules of one, or check a model against one.

    qengine targets

    qengine targets cmsis-nn-q7

    qengine targets check model.onnx --target cmsis-nn-q7 --formats formats.json
    """
    given = list(words or ())
    if given and given[0] == "check":
        return _checked(given[1:], source, fixed, limits, command)
    if len(given) > 1:
        raise OptionError(f"one target is shown at a time: leave out {given[1]!r}{did_you_mean(given[0], ['check'])}")
    if fixed != options.FixedPointOptions() or source != options.InputOptions():
        raise OptionError("options of inputs and fixed point are for `qengine targets check MODEL`: leave them out")
    if not given:
        found = [Target.named(name) for name in names()]
        return (list_as_json if command.json else list_as_table)(found)
    return (one_as_json if command.json else one_as_tables)(Target.of(given[0]))


def _checked(
    words: list[str],
    source: options.InputOptions,
    fixed: options.FixedPointOptions,
    limits: options.LimitOptions,
    command: options.CommandOptions,
) -> str:
    """Return what a model has that a target does not, as text."""
    if len(words) != 1:
        raise OptionError("give one model: qengine targets check MODEL --target NAME")
    if fixed.target is None:
        raise OptionError("--target is needed: the device that the model is checked against")
    (model,) = words
    run_files(command.operators or [])
    with status(f"checking {model}", quiet=command.quiet), np.errstate(all="ignore"):
        graph, entry = load(zoo.path_of(model)), zoo.find(model)
        base = source.base(model, graph, fixed.formats)
        preprocessing = source.preprocessing(base)
        given = source.arrays(graph, preprocessing, limits.max_elements)
        sample = entry.sample(preprocessing) if entry else None
        pixels = source.applied(base, graph, others=sample.pixels_beside(given) if sample else ())
        inputs = {**(sample.feeds if sample else {}), **given}
        check = check_target(graph, fixed.session_options(limits), inputs=inputs)
    if command.json:
        return check_as_json(model, pixels, check)
    return check_as_table(model, pixels, check, constant_roles(graph))
