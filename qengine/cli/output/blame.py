"""What `qengine inspect --data` found, as a table for a person, as one JSON object, or as CSV.

Every key is always there. A ratio in dB is "inf" where nothing is lost, and null where there is none.

==================  ================================================================================================
model, data         as they were typed
samples, runs       how many samples were used, in how many runs
digest              a key of the data
qformat, weight_qformat, formats_file, rounding, overflow, accumulator_bits, per_channel, strict
                    what was asked for; null where it was left out
outputs             where noise was measured
sqnr_db             of the run in fixed point, at the outputs
weights_db, activations_db   of float32 with all constants rounded, and with everything else rounded
tensors             [{name, kind, operator, format, shares, elements, sqnr_db, own_db, output_db, noise, harm, share,
                    saturated, flushed, unused_bits, suggestion: {text, format, gain_db}}], the most harmful first;
                    see `qengine.analysis.blame.TensorBlame`
written             the files
notes               lines
==================  ================================================================================================

CSV has a line for each tensor, with most of the same columns.
"""

import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from qengine.analysis.blame import Blame, TensorBlame
from qengine.atomic_files import replacing
from qengine.cli.jsontext import as_object
from qengine.cli.output.console import decibels, open_table, rendered, share
from qengine.cli.parsing import FixedPoint
from qengine.data.datasets import Dataset
from qengine.errors import printable
from qengine.model.formats.files import format_to_json
from qengine.qformat import ChannelFormats, Format

_MANY_SATURATED = 0.01
_LISTED = 3
_COLUMNS = (
    *("name", "kind", "operator", "format", "elements", "sqnr_db", "own_db", "output_db", "harm", "share"),
    *("saturated", "flushed", "unused_bits", "suggestion", "suggested_format", "gain_db"),
)


def as_json(model: str, fixed: FixedPoint, dataset: Dataset, found: Blame, written: tuple[str, ...]) -> str:
    """Return the object, in lines, ASCII throughout."""
    options = asdict(fixed)
    options["formats_file"] = options.pop("formats")
    record = {
        "model": model,
        "data": dataset.name,
        "samples": len(dataset),
        "runs": found.runs,
        "digest": dataset.digest,
        **options,
        "outputs": found.outputs,
        "sqnr_db": found.sqnr_db,
        "weights_db": found.weights_db,
        "activations_db": found.activations_db,
        "tensors": [_tensor(one) for one in found.tensors],
        "written": written,
        "notes": found.notes,
    }
    return as_object(record)


def _tensor(one: TensorBlame) -> dict[str, Any]:
    hint = one.suggestion
    better = hint and {"text": hint.text, "format": format_to_json(hint.format), "gain_db": hint.gain_db}
    return {**vars(one), "format": format_to_json(one.format), "noise": dict(one.noise), "suggestion": better}


def write_csv(path: Path, found: Blame) -> None:
    """Write a line for each tensor, whole or not at all.

    Raises
    ------
    OptionError
        If it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for one in found.tensors:
            hint = one.suggestion
            better = {
                "suggestion": hint and hint.text,
                "suggested_format": hint and _spelled(hint.format),
                "gain_db": hint and hint.gain_db,
            }
            writer.writerow(vars(one) | {"format": _spelled(one.format)} | better)


def _spelled(form: Format) -> str:
    return " ".join(map(str, form.formats)) if isinstance(form, ChannelFormats) else str(form)


def as_tables(model: str, fixed: FixedPoint, dataset: Dataset, found: Blame, written: tuple[str, ...]) -> str:
    """Return a table and a summary, coloured if standard output is a terminal."""
    words = [model, fixed.qformat or "", fixed.formats.name if fixed.formats else ""]
    words.append(f"{len(dataset):,} samples of {dataset.name}")
    return rendered(", ".join(filter(None, words)), _table(found), _summary(found, written))


def _table(found: Blame) -> Table:
    table = open_table()
    table.add_column("tensor", overflow="fold", min_width=8)
    for heading in ("kind", "format"):
        table.add_column(heading, no_wrap=True)
    for heading in ("harm", "alone, dB\nat output", "here", "in the\nrun, dB", "saturated", "became 0", "unused\nbits"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("try", overflow="fold")
    for one in found.tensors:
        is_bad = one.saturated > _MANY_SATURATED * one.elements
        table.add_row(
            Text(printable(one.name)),
            one.kind,
            str(one.format),
            f"{one.share:.1%}" if one.output_db is not None else "",
            decibels(one.output_db) if one.output_db is not None else "",
            decibels(one.own_db) if one.output_db is not None else "",
            decibels(one.sqnr_db),
            Text(share(one.saturated, one.elements), style="red" if is_bad else ""),
            share(one.flushed, one.elements),
            str(one.unused_bits),
            _hint(one),
        )
    return table


def _hint(one: TensorBlame) -> Text:
    hint = one.suggestion
    if hint is None:
        return Text()
    name = "" if isinstance(hint.format, ChannelFormats) else f"{hint.format}: "
    return Text(f"{name}{hint.text} (+{hint.gain_db:.1f} dB)", style="green")


def _summary(found: Blame, written: tuple[str, ...]) -> Iterator[Text]:
    yield Text(printable(f"SQNR of {', '.join(found.outputs)} against float32, dB: {decibels(found.sqnr_db)}"))
    apart = f"weights {decibels(found.weights_db)}, inputs and activations {decibels(found.activations_db)}"
    yield Text(f"with one kind alone in fixed point: {apart}")
    for note in found.notes:
        yield Text(printable(f"note: {note}"), style="yellow")
    for path in written[:_LISTED]:
        yield Text(printable(f"wrote {path}"))
    if written[_LISTED:]:
        yield Text(f"wrote {len(written) - _LISTED} files more")
