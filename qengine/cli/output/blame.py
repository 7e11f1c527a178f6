"""Output of `qengine inspect --data`: a table, one JSON object, or CSV.

Every key is always present. A ratio in dB is "inf" without noise, and null where it is not defined.

==================  ================================================================================================
model, data         the model and the data as typed
samples, runs       number of samples, and number of runs
digest              hash of the data
qformat, ...        the options of fixed point as typed (`FixedPointOptions.record`); null where one was left out
outputs             names of the outputs at which noise was measured
sqnr_db             SQNR at the outputs of the run in fixed point
constants_db, activations_db
                    SQNR at the outputs of float32 runs with all constants, or all inputs and activations, rounded
tensors             [{name, kind, operator, format, shares, elements, sqnr_db, own_db, output_db, noise, sensitivity,
                    share, saturated, underflowed, unused_bits, suggestion: {text, format, gain_db}}], the largest
                    sensitivity first; see `qengine.analysis.blame.TensorBlame`
written             paths of the files
notes               lines of text
==================  ================================================================================================

CSV has one line per tensor, with most of these columns.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from qengine.analysis.blame import Blame, TensorBlame
from qengine.atomic_files import replacing
from qengine.cli.jsontext import as_object
from qengine.cli.options import FixedPointOptions
from qengine.cli.output.console import counted_samples, decibels, open_table, rendered, share
from qengine.data.datasets import Dataset
from qengine.errors import printable
from qengine.model.formats.files import format_to_json
from qengine.qformat import ChannelFormats, Format

_WARN_SATURATED = 0.01
_MAX_LISTED = 3
_COLUMNS = (
    *("name", "kind", "operator", "format", "elements", "sqnr_db", "own_db", "output_db", "sensitivity", "share"),
    *("saturated", "underflowed", "unused_bits", "suggestion", "suggested_format", "gain_db"),
)


def as_json(model: str, fixed: FixedPointOptions, dataset: Dataset, result: Blame, written: tuple[str, ...]) -> str:
    """Return the JSON object, in lines of ASCII."""
    record = {
        "model": model,
        "data": dataset.name,
        "samples": len(dataset),
        "runs": result.runs,
        "digest": dataset.digest,
        **fixed.record(),
        "outputs": result.outputs,
        "sqnr_db": result.sqnr_db,
        "constants_db": result.constants_db,
        "activations_db": result.activations_db,
        "tensors": [_tensor(tensor) for tensor in result.tensors],
        "written": written,
        "notes": result.notes,
    }
    return as_object(record)


def _tensor(tensor: TensorBlame) -> dict[str, Any]:
    hint = tensor.suggestion
    better = hint and {"text": hint.text, "format": format_to_json(hint.format), "gain_db": hint.gain_db}
    return {**vars(tensor), "format": format_to_json(tensor.format), "noise": dict(tensor.noise), "suggestion": better}


def write_csv(path: Path, result: Blame) -> None:
    """Write one line per tensor; the file is written whole or not at all.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for tensor in result.tensors:
            hint = tensor.suggestion
            better = {
                "suggestion": hint and hint.text,
                "suggested_format": hint and _spelled(hint.format),
                "gain_db": hint and hint.gain_db,
            }
            writer.writerow(vars(tensor) | {"format": _spelled(tensor.format)} | better)


def _spelled(fmt: Format) -> str:
    return " ".join(map(str, fmt.formats)) if isinstance(fmt, ChannelFormats) else str(fmt)


def as_tables(model: str, fixed: FixedPointOptions, dataset: Dataset, result: Blame, written: tuple[str, ...]) -> str:
    """Return a table and a summary, in colour if standard output is a terminal."""
    words = [model, fixed.qformat or "", fixed.formats.name if fixed.formats else ""]
    words.append(f"{counted_samples(len(dataset))} of {dataset.name}")
    return rendered(", ".join(filter(None, words)), _table(result), _summary(result, written))


def _table(result: Blame) -> Table:
    table = open_table()
    table.add_column("tensor", overflow="fold", min_width=8)
    for heading in ("kind", "format"):
        table.add_column(heading, no_wrap=True)
    headings = ("noise\nshare", "alone, dB\nat output", "here", "in the\nrun, dB")
    for heading in (*headings, "saturated", "underflow", "unused\nbits"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("try", overflow="fold", min_width=20)
    for tensor in result.tensors:
        is_bad = tensor.saturated > _WARN_SATURATED * tensor.elements
        table.add_row(
            Text(printable(tensor.name)),
            tensor.kind,
            str(tensor.format),
            f"{tensor.share:.1%}" if tensor.output_db is not None else "",
            decibels(tensor.output_db) if tensor.output_db is not None else "",
            decibels(tensor.own_db) if tensor.output_db is not None else "",
            decibels(tensor.sqnr_db),
            Text(share(tensor.saturated, tensor.elements), style="red" if is_bad else ""),
            share(tensor.underflowed, tensor.elements),
            str(tensor.unused_bits),
            _hint(tensor),
        )
    return table


def _hint(tensor: TensorBlame) -> Text:
    hint = tensor.suggestion
    if hint is None:
        return Text()
    name = "" if isinstance(hint.format, ChannelFormats) else f"{hint.format}: "
    return Text(f"{name}{hint.text} (+{hint.gain_db:.1f} dB)", style="green")


def _summary(result: Blame, written: tuple[str, ...]) -> Iterator[Text]:
    yield Text(printable(f"SQNR of {', '.join(result.outputs)} against float32, dB: {decibels(result.sqnr_db)}"))
    apart = f"constants {decibels(result.constants_db)}, inputs and activations {decibels(result.activations_db)}"
    yield Text(f"SQNR with one kind alone in fixed point, dB: {apart}")
    for note in result.notes:
        yield Text(printable(f"note: {note}"), style="yellow")
    for path in written[:_MAX_LISTED]:
        yield Text(printable(f"wrote {path}"))
    if written[_MAX_LISTED:]:
        yield Text(f"wrote {len(written) - _MAX_LISTED} more files")
