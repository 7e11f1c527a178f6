"""`qengine targets`: the devices whose arithmetic can be computed, and what a model has that one of them does not."""

from typing import Annotated

import typer

from qengine.cli import options
from qengine.cli.output.targets import (
    list_as_json,
    list_as_table,
    one_as_json,
    one_as_tables,
)
from qengine.errors import OptionError, did_you_mean
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
    fixed: options.FixedPointOptions,
    command: options.CommandOptions,
) -> str:
    """List the targets, show the rules of one, or check what a model has that one does not.

    qengine targets

    qengine targets cmsis-nn-q7

    qengine targets check model.onnx --target cmsis-nn-q7 --formats formats.json
    """
    given = list(words or ())
    if given and given[0] == "check":
        raise OptionError("not yet")
    if len(given) > 1:
        raise OptionError(f"one target is shown at a time: leave out {given[1]!r}{did_you_mean(given[0], ['check'])}")
    if fixed != options.FixedPointOptions():
        raise OptionError("only `qengine targets check MODEL` takes options of fixed point")
    if not given:
        found = [Target.named(name) for name in names()]
        return (list_as_json if command.json else list_as_table)(found)
    return (one_as_json if command.json else one_as_tables)(Target.of(given[0]))
