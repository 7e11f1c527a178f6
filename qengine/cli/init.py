"""`qengine init`: a project file for a model and its data, after a first look at both."""

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qengine.atomic_files import check_writable, write_text
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.output.init import Initialized, as_json, as_tables
from qengine.cli.output.progress import progress, status
from qengine.cli.panels import INPUTS
from qengine.cli.project.file import read_project
from qengine.cli.project.find import NAME
from qengine.cli.project.first_look.look import look
from qengine.cli.project.template import template
from qengine.data import zoo
from qengine.errors import ProjectError
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.targets import Target

_PERCENT = 100

Out = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="FILE", help="Project file to write.", rich_help_panel=INPUTS),
]
Force = Annotated[
    bool, typer.Option("--force", metavar="", help="Replace a file that is there.", rich_help_panel=INPUTS)
]


def init(
    *,
    model: options.Model,
    data: options.DataOptions,
    target: options.TargetOptions,
    out: Out = Path(NAME),
    force: Force = False,
    limits: options.LimitOptions,
    command: options.CommandOptions,
) -> str:
    """Look at a model and its data, and write a project file.

    qengine init model.onnx --data photos && qengine calibrate && qengine run

    The model runs in float32 on some samples with the usual preprocessings. With labels the best is written; without
    them one that is plausible, for you to check. What is typed, such as --mean, is written unchanged.

    The other commands take from the project file what is not typed.
    """
    if os.path.lexists(out) and not force:
        raise ProjectError(f"{out} is there already: change it, give --force to replace it, or another name with -o")
    check_writable(out, zoo.path_of(model))
    if target.target is not None:
        Target.of(target.target)
    run_files(command.operators or [])
    entry = zoo.find(model)
    name = data.data or (model if entry else None)
    with np.errstate(all="ignore"):
        with status(f"reading {model}", quiet=command.quiet):
            session = InferenceSession(zoo.path_of(model), SessionOptions(**vars(limits)))
        with progress(f"looking at {model}", _PERCENT, quiet=command.quiet) as advance:
            found = look(session, data, name, entry, limits.max_elements, lambda share: advance(share * _PERCENT))
    values: dict[str, Any] = {
        "model": model,
        "data": name,
        "labels": data.labels,
        "target": target.target,
        "formats": "formats.json",
        "output": "results",
        "limit": data.limit,
        "batch": data.batch,
        "threads": limits.threads,
        "inputs": dict(text.split("=", 1) for text in data.inputs or ()) or None,
    }
    result = Initialized(model, name, out, found, has_own_data=entry is not None)
    text = template(values, found.options, result.remarks(), folder=os.path.dirname(out))  # noqa: PTH120
    write_text(out, text)
    read_project(str(out))
    return (as_json if command.json else as_tables)(result)
