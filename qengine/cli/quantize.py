"""`qengine quantize`: write a quantized ONNX model, with formats chosen on data."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from qengine.atomic_files import check_writable
from qengine.cli import options
from qengine.cli.operators import run_files
from qengine.cli.output.progress import status
from qengine.cli.output.quantize import as_json, as_table
from qengine.cli.pixels import with_scale_notes
from qengine.data import zoo
from qengine.data.datasets import provenance_of
from qengine.data.provenance import provenance_in_file
from qengine.errors import OptionError
from qengine.model.formats.files import read_formats
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions
from qengine.quantization.correction import describe_recipes, needs_data
from qengine.quantization.qdq import quantize_model
from qengine.runtime.options import SessionOptions

ModelOut = Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="ONNX file to write.")]
QFormat = Annotated[
    str | None,
    typer.Option(
        "--qformat",
        metavar="FORMAT",
        help="Format of activations that --formats does not name, or that no run of the data computed.",
    ),
]
Writes = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="KIND",
        help="qdq: pairs of QuantizeLinear and DequantizeLinear. qonnx: Quant nodes, of 2 to 16 bits, each with the "
        "rounding that --target, --rule, --rounding and --overflow give its tensor.",
    ),
]
Recipe = Annotated[
    str,
    typer.Option(metavar="RECIPE", help=f"Corrections: {describe_recipes()}. best keeps what helps on held-out runs."),
]


def quantize(
    *,
    model: options.Model,
    out: ModelOut,
    recipe: Recipe = "fold",
    data: options.DataOptions,
    choice: options.FormatChoiceOptions,
    formats: options.Formats = None,
    qformat: QFormat = None,
    writes: Writes = "qdq",
    arithmetic: options.RoundingOptions,
    limits: options.LimitOptions,
    command: options.CommandOptions,
) -> str:
    """Write a quantized ONNX model, with power-of-two scales.

    qengine quantize digits --bits 8 --recipe best -o digits_q.onnx && qengine run digits_q.onnx --data digits

    Formats come from --formats and --qformat, or are chosen on the data as by `qengine calibrate`. With given formats
    --target gives rules alone, which only --as qonnx can write.

    The written model has the same bits in qengine.
    """
    wanted = choice.calibration_options()
    given = None if formats is None else read_formats(formats)
    if given is not None and replace(wanted, target=None) != CalibrationOptions():
        raise OptionError("--formats gives the formats: leave out options that choose them, such as --bits")
    reads_data = needs_data(recipe)
    run_files(command.operators or [])
    entry = zoo.find(model)
    check_writable(out, zoo.path_of(model))
    name = data.data or (model if entry else None)
    if name is None and ((given is None and qformat is None) or reads_data):
        raise OptionError("--data is needed: give the samples to choose formats or corrections on")
    if name is None:
        data.check_without_data()
    with status(f"quantizing {model}", quiet=command.quiet), np.errstate(all="ignore"):
        graph = load(zoo.path_of(model))
        base = data.base(model, graph, formats)
        dataset = None if name is None else data.open(name, base, graph, limits.max_elements, several=True)
        pixels = data.applied(base, graph, dataset)
        if dataset is not None:
            pixels = with_scale_notes(pixels, base, graph, dataset)
        provenance = provenance_of(model, dataset) if given is None else provenance_in_file(formats or "")
        session = SessionOptions(**vars(limits), **arithmetic.typed(), target=wanted.target)
        quantized = quantize_model(
            graph,
            dataset,
            recipe=recipe,
            formats=given,
            qformat=qformat,
            options=wanted,
            session=session,
            writes=writes,  # type: ignore[arg-type]
            provenance=provenance,
        )
        quantized = replace(quantized, data_notes=())  # the pixels have them
        quantized.write_model(out)
    return (as_json if command.json else as_table)(model, out, recipe, pixels, quantized)
