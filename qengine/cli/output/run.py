"""A run as one JSON object.

Every key is always there; a list is empty and any other value null where there is nothing to tell. A ratio in dB is
"inf" where nothing differs.

==================  ================================================================================================
model               as it was typed
arithmetic          "float32" or "fixed"
qformat, weight_qformat, formats_file, rounding, overflow, accumulator_bits, per_channel, strict
                    what was asked for; null in float32
inputs              [{name, shape, dtype}]
outputs             [{name, shape, dtype, format, min, max, nonfinite, sqnr_db}], real numbers
written             the files
image_psnr_db       {against_float, against_target, float_against_target, baseline_against_target}, of the output
                    that is an image
top1                {agreement, accuracy, float_accuracy, items}, as fractions, of the output that is scores
tensors             [{name, operator, kind, format, saturated, flushed, largest, elements, unused_bits, sqnr_db}],
                    in the order in which they were computed; saturated and flushed count elements
formats             {tensor: format, or a list of one for each channel}, constants included: a formats file
islands             nodes that computed in float32
notes               losses that no tensor's numbers show, formats without effect, outputs that a file does not hold
advice              {format, reason, sqnr_db_before, sqnr_db}
==================  ================================================================================================
"""

from dataclasses import asdict

from qengine.cli.jsontext import as_object
from qengine.cli.output.result import RunResult
from qengine.model.formats.files import format_to_json


def as_json(result: RunResult) -> str:
    """Return the object, in lines, ASCII throughout."""
    comparison, options = result.comparison, asdict(result.options)
    if comparison is not None:
        options |= {"rounding": result.rounding, "overflow": result.overflow}
    else:
        options = dict.fromkeys(options)
    options["formats_file"] = options.pop("formats")
    found = {
        "model": result.model,
        "arithmetic": "float32" if comparison is None else "fixed",
        **options,
        "inputs": [{"name": name, "shape": a.shape, "dtype": str(a.dtype)} for name, a in result.feeds.items()],
        "outputs": [asdict(one) for one in result.summaries()],
        "written": result.written,
        "image_psnr_db": result.image and asdict(result.image),
        "top1": result.classes and asdict(result.classes),
        "tensors": [asdict(tensor) for tensor in comparison.tensors] if comparison else [],
        "formats": {name: format_to_json(form) for name, form in result.session.formats.items()},
        "islands": comparison.islands if comparison else [],
        "notes": result.notes,
        "advice": result.advice and {**vars(result.advice)},
    }
    return as_object(found)
