"""`qengine calibrate`: formats for every tensor of a model, from data."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from qengine.atomic_files import check_writable
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.output.calibrate import as_json, as_tables
from qengine.cli.output.progress import progress, status
from qengine.cli.pixels import with_scale_notes
from qengine.data import zoo
from qengine.data.applied import Applied
from qengine.data.datasets import Dataset, provenance_of
from qengine.data.datasets.runs import feeds_of
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import Calibration, choose_formats, observe
from qengine.quantization.data_free import calibrate_without_data
from qengine.runtime.options import SessionOptions

DataFree = Annotated[
    bool, typer.Option("--data-free", help="Take ranges from the model's BatchNormalization, and no data.")
]


def calibrate(
    *,
    model: options.Model,
    data: options.DataOptions,
    out: options.FormatsOut = None,
    data_free: DataFree = False,
    choice: options.FormatChoiceOptions,
    limits: options.LimitOptions,
    command: options.CommandOptions,
) -> str:
    """Choose a format for every tensor from its values on data.

    qengine calibrate digits --bits 8 -o formats.json && qengine run digits --formats formats.json

    qengine calibrate model.onnx --data photos --scale 1/255 -o formats.json

    qengine calibrate model.onnx --data-free -o formats.json

    The model runs in float32 on all samples, in the memory of one run. -i gives an input that is the same in every run.
    """
    wanted = choice.calibration_options()
    run_files(command.operators or [])
    entry = zoo.find(model)
    if out is not None:
        check_writable(out, zoo.path_of(model))
    idle = [name for name, typed in vars(data).items() if typed not in (None, False)]
    if data_free and idle:
        raise OptionError(f"--data-free takes no data: leave out --{'input' if idle[0] == 'inputs' else idle[0]}")
    if data.data is None and entry is None and not data_free:
        raise OptionError("--data is needed: give the samples to calibrate on, or --data-free")
    with np.errstate(all="ignore"):
        with status(f"reading {model}", quiet=command.quiet):
            graph = load(zoo.path_of(model))
            if data_free:
                calibration = calibrate_without_data(graph, wanted, SessionOptions(**vars(limits)))
                return _saved(model, None, Applied(), calibration, out, is_json=command.json)
            base = data.base(model, graph)
            dataset = data.open(data.data or model, base, graph, limits.max_elements)
            pixels = with_scale_notes(data.applied(base, graph, dataset), base, graph, dataset)
        with progress(f"calibrating {model}|samples", len(dataset), quiet=command.quiet) as advance:
            feeds = feeds_of(dataset.batches(), advance)
            observation = observe(graph, feeds, wanted.for_observing(SessionOptions(**vars(limits))))
        calibration = replace(choose_formats(observation, wanted), provenance=provenance_of(model, dataset))
    return _saved(model, dataset, pixels, calibration, out, is_json=command.json)


def _saved(
    model: str, dataset: Dataset | None, pixels: Applied, calibration: Calibration, out: Path | None, *, is_json: bool
) -> str:
    """Write a formats file, and return the output of the command."""
    if out is not None:
        calibration.save(out)
    return (as_json if is_json else as_tables)(model, dataset, pixels, calibration, out)
