"""Output of `qengine calibrate`: a table, or one JSON object.

Every key is always present. A ratio in dB is "inf" without noise, and null where it is not defined.

==================  ================================================================================================
model, data         the model and the data as typed; null without data
samples, runs       number of samples, and number of runs
digest              hash of the data; null without data
bits, weight_bits, activation_bits, method, percentile, headroom, per_channel, unsigned, tie_joins, output_bits
                    options of the choice of formats; percentile is null with other methods
target              the device whose constraints the formats keep; null without one
formats             {tensor: format, or a list of formats, one per channel}: a formats file
tensors             [{name, kind, elements, least, most, nonfinite, format, sqnr_db, best, cost_db, shares}], in the
                    model's order; see `qengine.quantization.calibration.TensorRange`
preprocessing       how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
written             paths of the files
notes               lines of text
==================  ================================================================================================
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rich.text import Text

from qengine.cli.output.console import Line, counted_samples, decibels, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.cli.project.origin import is_taken
from qengine.cli.typed import follow_up, is_typed
from qengine.data.applied import Applied
from qengine.data.datasets import Dataset
from qengine.model.constant_roles import kind_of, label_of, with_roles
from qengine.qformat import PartFormats, QFormat, channel_formats
from qengine.quantization.calibration import Calibration, TensorRange
from qengine.results import json_text
from qengine.targets import Target


def as_json(model: str, dataset: Dataset | None, pixels: Applied, calibration: Calibration, out: Path | None) -> str:
    """Return the JSON object, in lines of ASCII."""
    given, target = calibration.options, calibration.options.target
    options = asdict(replace(given, target=None)) | {
        "bits": given.activation_word_length if given.bits is None else given.bits,
        "weight_bits": given.weight_word_length,
        "activation_bits": given.activation_word_length,
        "method": str(given.method),
        "target": target.name if isinstance(target, Target) else None,
    }
    del options["overflow"]  # it is that of the target
    if options["method"] != "percentile":
        options["percentile"] = None
    record = {
        "model": model,
        "data": None if dataset is None else dataset.name,
        "samples": 0 if dataset is None else len(dataset),
        "runs": calibration.runs,
        "digest": None if dataset is None else dataset.digest,
        **options,
        "formats": calibration.formats,
        "tensors": [asdict(tensor) for tensor in calibration.tensors],
        "written": [str(out)] if out else [],
        "preprocessing": pixels.record,
        "notes": (*calibration.notes, *pixels.notes),
    }
    return json_text(record)


def as_tables(model: str, dataset: Dataset | None, pixels: Applied, calibration: Calibration, out: Path | None) -> str:
    """Return a table and a summary, in colour if standard output is a terminal."""
    options = calibration.options
    words = [model, _bits(calibration), str(options.method)]
    if options.method == "percentile":
        words[-1] = f"percentile {options.percentile:g}"
    if options.headroom != 1.0:
        words.append(f"headroom {options.headroom:g}")
    per_channel = {"no": "", "conv": "Conv per channel", "all": "per channel"}[options.constraints.per_channel]
    chosen = (per_channel, options.per_channel), ("unsigned", options.may_be_unsigned)
    words += [word for word, wanted in chosen if word and wanted]
    words += [f"target {options.target.name}"] if isinstance(options.target, Target) else []
    words.append("no data" if dataset is None else f"{counted_samples(len(dataset))} of {dataset.name}")
    return rendered(", ".join(words), _table(calibration), [*pixel_lines(pixels), *_summary(model, calibration, out)])


def _bits(calibration: Calibration) -> str:
    weights, activations = calibration.options.weight_word_length, calibration.options.activation_word_length
    return f"{weights} bits" if weights == activations else f"{activations} bits, weights {weights}"


def _table(calibration: Calibration) -> Table:
    table = Table()
    table.names("tensor")
    table.names("kind", importance=1)
    table.numbers("smallest", "largest", importance=6)
    table.formats("format", importance=9)
    table.numbers("SQNR\ndB", importance=8)
    has_costs = any(tensor.cost_db for tensor in calibration.tensors)
    if has_costs:
        table.formats("alone", importance=3)
        table.numbers("cost\ndB", importance=3)
    for tensor in calibration.tensors:
        costs = [_format(tensor, tensor.best), decibels(tensor.cost_db)] if tensor.cost_db else ["", ""]
        table.row(
            label_of(tensor.name, tensor.role),
            kind_of(tensor.name, tensor.role, tensor.kind),
            _number(tensor.least),
            _number(tensor.most),
            _format(tensor, tensor.format),
            decibels(tensor.sqnr_db),
            *(costs if has_costs else []),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _format(tensor: TensorRange, given: str | list[str]) -> str:
    if isinstance(given, str):
        return str(QFormat.parse(given))
    if tensor.kind == "constant":
        return str(channel_formats(given, 0))
    return str(PartFormats(tuple(map(QFormat.parse, given)), 0))


def _summary(model: str, calibration: Calibration, out: Path | None) -> Iterator[Line]:
    roles = {tensor.name: tensor.role for tensor in calibration.tensors if tensor.role}
    worst = [tensor for tensor in calibration.tensors if tensor.sqnr_db is not None]
    if worst:
        least: TensorRange = min(worst, key=lambda tensor: tensor.sqnr_db or 0.0)
        sentence = f"smallest SQNR of a tensor alone: {decibels(least.sqnr_db)} dB, of '{least.name}'"
        yield with_roles(sentence, roles)
    for note in calibration.notes:
        yield Text(f"note: {with_roles(note, roles)}", style=WARN)
    if out is not None:
        yield Paste(f"wrote {out}")
        is_project = is_taken("model") and is_taken("formats") and not is_typed("-o", "--out")
        yield Paste(f"next: {follow_up('run', model, added=() if is_project else ('--formats', str(out)))}")
