"""`qengine quantize`: a model as a quantized ONNX model, with formats chosen on data."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.text import Text

from qengine.atomic_files import check_writable, replacing
from qengine.cli import options, parsing
from qengine.cli.data import DataOptions
from qengine.cli.jsontext import as_object
from qengine.cli.operators import run_files
from qengine.cli.output.console import open_table, rendered, status
from qengine.data import zoo
from qengine.errors import OptionError, printable
from qengine.model.formats.assign import as_given, read_formats
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions
from qengine.quantization.correction import describe_recipes, needs_data
from qengine.quantization.qdq import QuantizedModel, opset_for, quantize_model
from qengine.runtime.plan.plan import MAX_ELEMENTS

_LISTED = 3

ModelOut = Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="The ONNX file that is written.")]
Recipe = Annotated[str, typer.Option(metavar="R", help=f"{describe_recipes()}.")]


def quantize(
    model: options.Model,
    out: ModelOut,
    data: options.Data = None,
    inputs: options.Inputs = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    scale: options.Scale = None,
    mean: options.Mean = None,
    bgr: options.Bgr = False,
    bits: options.Bits = 8,
    weight_bits: options.WeightBits = None,
    activation_bits: options.ActivationBits = None,
    method: options.CalibrationMethod = "mse",
    percentile: options.Percentile = None,
    headroom: options.Headroom = 1.0,
    per_channel: options.ChannelWeights = False,
    unsigned: options.Unsigned = False,
    tie_joins: options.TieJoins = False,
    formats: options.Formats = None,
    recipe: Recipe = "fold",
    max_elements: options.MaxElements = MAX_ELEMENTS,
    operators: options.Operators = None,
    json: options.Json = False,
) -> str:
    """Write a model as a quantized ONNX model: power-of-two scales, 8 or 16 bits, read back with the same bits.

    qengine quantize digits --bits 8 --recipe best -o digits_q.onnx && qengine run digits_q.onnx ...

    Formats are those of --formats, or chosen on the data as `qengine calibrate` chooses them.
    """
    wanted = parsing.calibration(
        percentile,
        method,
        bits=bits,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        headroom=headroom,
        per_channel=per_channel,
        unsigned=unsigned,
        tie_joins=tie_joins,
    )
    given = None if formats is None else read_formats(formats)
    if given is not None and wanted != CalibrationOptions():
        raise OptionError("--formats says which formats there are: leave out what chooses them, such as --bits")
    reads_data = needs_data(recipe)
    run_files(operators or [])
    check_writable(out)
    entry = zoo.find(model)
    if data is None and entry is None and (given is None or reads_data):
        raise OptionError("--data is needed: what formats, or corrections, are to be chosen on")
    with status(f"quantizing {model}", quiet=json), np.errstate(all="ignore"):
        chosen = DataOptions(data, inputs or (), batch, limit, scale, mean, bgr)
        graph, dataset = load(zoo.path_of(model), least_opset=opset_for(given, wanted)), None
        if data is not None or entry is not None:
            dataset = chosen.open(data or model, entry, graph, max_elements, several=True)
        found = quantize_model(graph, dataset, recipe=recipe, formats=given, options=wanted)
        with replacing(out) as temporary:
            temporary.write_bytes(found.model.SerializeToString())
    return _as_json(model, out, recipe, found) if json else _as_table(model, out, recipe, found)


def _counts(found: QuantizedModel) -> list[tuple[str, int, int]]:
    """Return how many layers each correction changed, and left."""
    names = dict.fromkeys(entry.correction for entry in found.entries)
    return [
        (
            name,
            sum(e.is_done for e in found.entries if e.correction == name),
            sum(not e.is_done for e in found.entries if e.correction == name),
        )
        for name in names
    ]


def _as_table(model: str, out: Path, recipe: str, found: QuantizedModel) -> str:
    shown = open_table()
    shown.add_column("correction")
    for heading in ("layers changed", "left"):
        shown.add_column(heading, justify="right")
    for name, changed, left in _counts(found):
        shown.add_row(name, f"{changed:,}", f"{left:,}")
    opset = next(one.version for one in found.model.opset_import if not one.domain)
    rounded = sum(name in found.session.rounded for name in found.session.formats)
    lines = [
        f"opset {opset}, {rounded} tensors rounded, {len(found.session.formats) - rounded} others with formats",
        *_left(found),
        f"wrote {out}",
    ]
    return rendered(f"{model}, recipe {recipe}", shown, [Text(printable(line)) for line in lines])


def _left(found: QuantizedModel) -> list[str]:
    """Return why layers were left as they are; of many the first ones."""
    left = [f"note: {entry}" for entry in found.entries if not entry.is_done]
    more = [f"note: {len(left) - _LISTED} more are left; --json has all"] if left[_LISTED:] else []
    return left[:_LISTED] + more


def _as_json(model: str, out: Path, recipe: str, found: QuantizedModel) -> str:
    record: dict[str, Any] = {
        "model": model,
        "recipe": recipe,
        "formats": {name: as_given(form) for name, form in found.session.formats.items()},
        "corrections": [vars(entry) for entry in found.entries],
        "written": [str(out)],
    }
    return as_object(record)
