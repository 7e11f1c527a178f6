"""Output of `qengine inspect --data`: a table, or one JSON object.

Every key is always present. A ratio in dB is "inf" without noise, and null where it is not defined.

==================  ================================================================================================
model, data         the model and the data as typed
samples, runs       number of samples, and number of runs
digest              hash of the data
qformat, ...        the options of fixed point as typed (`FixedPointOptions.record`); null where one was left out
outputs             names of the outputs at which noise was measured
sqnr_db             SQNR at the outputs of the run in fixed point
rounded_db          SQNR at the outputs of a float32 run with all tensors rounded
sum_db              SQNR at the outputs if the noises that the tensors cause alone just added up
constants_db, activations_db
                    SQNR at the outputs of float32 runs with all constants, or all inputs and activations, rounded
tensors             [{name, kind, operator, format, shares, elements, sqnr_db, own_db, output_db, all_but_db, gain_db,
                    noise, sensitivity, share, saturated, underflowed, unused_bits, suggestion: {text, format,
                    gain_db}}], the largest sensitivity first; see `qengine.analysis.blame.TensorBlame`
groups              [{name, tensors, output_db, all_but_db, gain_db, noise, sensitivity}], the largest gain first
verdict             lines of text: what to do
preprocessing       how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
written             paths of the files
notes               lines of text
==================  ================================================================================================
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from rich.text import Text

from qengine.analysis.blame import Blame, TensorBlame
from qengine.cli.options import FixedPointOptions
from qengine.cli.output.console import Line, Part, counted_samples, decibels, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import BAD, GOOD, QUIET, TITLE, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.cli.typed import typed_with
from qengine.data.applied import Applied
from qengine.data.datasets import Dataset
from qengine.model.constant_roles import is_opaque, label_of, with_roles
from qengine.model.formats.files import format_to_json
from qengine.qformat import ChannelFormats, Format, QFormat
from qengine.results import json_text

_WARN_SATURATED = 0.01
_MAX_LISTED = 3
_FILE = "better.json"  # in suggested commands
_MAX_HINTS = 10
_LEGEND = (
    "noise share: of all noise at the output; alone, all but: SQNR at the output with only this tensor rounded, and "
    "with all but it; gain: what the output gains without its rounding; itself: SQNR of its own rounding; in run: SQNR "
    "of its codes, all noise before it included"
)


def as_json(
    model: str,
    fixed: FixedPointOptions,
    dataset: Dataset,
    pixels: Applied,
    result: Blame,
    written: tuple[str, ...],
) -> str:
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
        "rounded_db": result.rounded_db,
        "sum_db": result.sum_db,
        "constants_db": result.constants_db,
        "activations_db": result.activations_db,
        "tensors": [_tensor(tensor) for tensor in result.tensors],
        "groups": [{**vars(group), "noise": dict(group.noise)} for group in result.groups],
        "verdict": result.verdict,
        "written": written,
        "preprocessing": pixels.record,
        "notes": (*result.notes, *pixels.notes),
    }
    return json_text(record)


def _tensor(tensor: TensorBlame) -> dict[str, Any]:
    hint = tensor.suggestion
    better = hint and {"text": hint.text, "format": format_to_json(hint.format), "gain_db": hint.gain_db}
    return {**vars(tensor), "format": format_to_json(tensor.format), "noise": dict(tensor.noise), "suggestion": better}


def as_tables(
    model: str,
    fixed: FixedPointOptions,
    dataset: Dataset,
    pixels: Applied,
    result: Blame,
    written: tuple[str, ...],
) -> str:
    """Return a table and a summary, in colour if standard output is a terminal."""
    words = [model, fixed.qformat or "", fixed.formats.name if fixed.formats else ""]
    words.append(f"{counted_samples(len(dataset))} of {dataset.name}")
    parts: list[Part] = [_table(result), "", _groups(result)] if result.groups else [_table(result)]
    return rendered(", ".join(filter(None, words)), parts, [*pixel_lines(pixels), *_summary(result, written)])


def _table(result: Blame) -> Table:
    table = Table("--json, --csv FILE")
    table.names("tensor")
    table.formats("format", importance=9)
    _add_ratios(table, "noise\nshare")
    table.numbers("itself\ndB", importance=4)
    table.numbers("in run\ndB", importance=3)
    table.numbers("satu-\nrated", importance=5)
    table.numbers("under-\nflow", importance=1)
    table.numbers("unused\nbits", importance=2)
    for tensor in result.tensors:
        is_bad = tensor.saturated > _WARN_SATURATED * tensor.elements
        is_rounded = tensor.output_db is not None
        table.row(
            label_of(tensor.name, tensor.role),
            _short(tensor.format),
            f"{tensor.share:.1%}" if is_rounded else "",
            _db(tensor.output_db) if is_rounded else "",
            _db(tensor.all_but_db) if is_rounded else "",
            _gain(tensor.gain_db) if is_rounded else "",
            _db(tensor.own_db) if is_rounded else "",
            _db(tensor.sqnr_db),
            Text(_share(tensor.saturated, tensor.elements), style=BAD if is_bad else ""),
            _share(tensor.underflowed, tensor.elements),
            str(tensor.unused_bits) if tensor.elements else "-",
        )
    return table


def _groups(result: Blame) -> Table:
    table = Table()
    table.names("group")
    _add_ratios(table, "tensors")
    for group in result.groups:
        figures = _db(group.output_db), _db(group.all_but_db), _gain(group.gain_db)
        table.row(group.name, str(len(group.tensors)), *figures)
    return table


def _add_ratios(table: Table, first: str) -> None:
    """Add the columns of both tables: the first, and the SQNR at the output by what is rounded."""
    table.numbers(first, importance=8)
    table.numbers("alone\ndB", importance=7)
    table.numbers("all but\ndB", importance=6)
    table.numbers("gain\ndB", importance=8)


def _db(value: float | None) -> str:
    """Return a ratio in dB with one decimal."""
    return decibels(value) if value is None or not isfinite(value) else f"{value:.1f}"


def _gain(value: float | None) -> str:
    return _db(value) if value is None or not isfinite(value) else f"{value:+.1f}".replace("-0.0", "+0.0")


def _share(count: int, total: int) -> str:
    """Return a share in whole per cent, only an exact 0 or 1 as 0 or 100%; "-" where nothing was counted."""
    if not total:
        return "-"
    if not count or count == total:
        return "100%" if count else "0"
    return "<1%" if 100 * count < total else f"{min(round(100 * count / total), 99)}%"


def _short(fmt: Format) -> str:
    """Return a format in few letters: of several formats the word length, and of what there are several."""
    if isinstance(fmt, QFormat):
        return str(fmt)
    return f"{fmt.bits}b/{'ch' if isinstance(fmt, ChannelFormats) else 'part'}"


def _hints(result: Blame, written: tuple[str, ...]) -> Iterator[Line]:
    """Yield the better formats of the tensors that have one, those that matter most first, and how to take them."""
    hints = [tensor for tensor in result.tensors if tensor.suggestion is not None]
    for tensor in hints[:_MAX_HINTS]:
        hint = tensor.suggestion
        assert hint is not None
        form = f"{hint.format}, " if isinstance(hint.format, QFormat) else ""
        name = f"{tensor.name} ({tensor.role})" if tensor.role and is_opaque(tensor.name) else tensor.name
        yield Text(f"try {name}: {form}{hint.text} (+{hint.gain_db:.1f} dB there)", style=GOOD)
    if hints[_MAX_HINTS:]:
        yield Text(f"and {len(hints) - _MAX_HINTS} more (--csv, --json)", style=GOOD)
    if hints and not written:
        yield Text("write these formats to a file, and look again:", style=GOOD)
        yield Paste(f"  {typed_with('--suggested', _FILE)} && {typed_with('--formats', _FILE)}", style=GOOD)


def _summary(result: Blame, written: tuple[str, ...]) -> Iterator[Line]:
    yield Text(_LEGEND, style=QUIET)
    yield from _hints(result, written)
    yield f"SQNR of {', '.join(result.outputs)} against float32, dB: {decibels(result.sqnr_db)}"
    apart = f"constants {decibels(result.constants_db)}, inputs and activations {decibels(result.activations_db)}"
    yield f"with tensors rounded in float32, dB: all {decibels(result.rounded_db)}, {apart}"
    yield f"if the noises of each tensor alone just added up, dB: {decibels(result.sum_db)}"
    roles = {tensor.name: tensor.role for tensor in result.tensors if tensor.role}
    for sentence in result.verdict:
        yield Text(f"verdict: {with_roles(sentence, roles)}", style=TITLE)
    for note in result.notes:
        yield Text(f"note: {with_roles(note, roles)}", style=WARN)
    for path in written[:_MAX_LISTED]:
        yield Paste(f"wrote {path}")
    if written[_MAX_LISTED:]:
        yield Text(f"wrote {len(written) - _MAX_LISTED} more files")
