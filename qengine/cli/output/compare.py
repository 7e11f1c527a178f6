"""Output of `qengine compare`: the answer in words with a table, one JSON object, or a page with heat maps.

Every key is always present. Lists are empty, and numbers 0, where there is nothing to tell.

======================  ============================================================================================
reference, dump         the pack or the model, and the dump, as typed
equal, sentence         whether all codes are equal; the answer in words
first                   {tensor, operator, element, expected, found} of the first error of its own; null without one
cause                   name of the hypothesis that explains it, such as "rounding:floor"; null without one
explained               share of the wrong codes that it gives
explained_completely    whether it gives all codes, and no other hypothesis does
broken                  number of right codes that it would change
operator                operator that has the fault
equally_good            hypotheses that give the same codes
decided_by              {hypothesis: a sum or an input for which it would differ}
same_for_every_input    those of them for which no such input was found
by_hand                 one element worked out
also_explains, targets  own errors of other operators that it explains too; targets that compute these codes
own, inherited          tensors with errors of their own, and with inherited errors only
sample, samples         name of the sample that the dump is of; number of samples that were compared
missing, unmatched      tensors that the dump lacks; names in it that the model does not have
unread                  tensors whose numbers in the dump cannot be theirs; notes say why
tensors                 [{name, operator, format, codes, differing, own, largest, differences, read, matched_by}]
tried                   number of hypotheses that were tried
notes                   lines of text
learned                 the target of --learn, which kinds of operators it explains and what is open; null without it
preprocessing           how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
written                 paths of written files
======================  ============================================================================================

Of two dumps the object is {equal, sentence, first, only_first, only_second, tensors}, where a tensor is {name,
elements, differing, largest, first, values, differences, read}.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.text import Text

from qengine.atomic_files import write_text
from qengine.cli.output.console import Line, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import BAD, GOOD, QUIET, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.deploy.compare import Comparison
from qengine.deploy.compare.html import page
from qengine.deploy.compare.learn import Learned
from qengine.deploy.compare.two_dumps import DumpsComparison
from qengine.results import json_text

_MOST_LISTED = 60
_MOST_DIFFERENCES = 3


def as_json(
    reference: str,
    dump: str,
    pixels: Applied,
    result: Comparison,
    learned: Learned | None,
    written: Sequence[str],
    *,
    only_own: bool = False,
) -> str:
    """Return the JSON object, in lines of ASCII."""
    found = result.record()
    if only_own:
        found["tensors"] = [one for one in found["tensors"] if one["own"]]
    learned_json = None if learned is None else learned.as_json()
    found["notes"] = [*found["notes"], *pixels.notes]
    found |= {"learned": learned_json, "preprocessing": pixels.record, "written": list(written)}
    return json_text({"reference": reference, "dump": dump, **found})


def as_tables(
    reference: str,
    dump: str,
    pixels: Applied,
    result: Comparison,
    learned: Learned | None,
    written: Sequence[str],
    *,
    only_own: bool = False,
) -> str:
    """Return the answer and a table of tensors, in colour if standard output is a terminal."""
    shown = [one for one in result.tensors if one.own or not only_own]
    table = Table()
    table.names("tensor")
    table.words("operator", importance=5)
    table.formats("format", importance=6)
    table.numbers("codes", importance=4)
    table.numbers("differ", "own", importance=9)
    table.numbers("largest", importance=7)
    table.text("differences", importance=3)
    _add_rows(table, result, shown)
    sample = f", sample {result.sample}" if result.sample and result.samples == 1 else ""
    return rendered(
        f"{dump} against {reference}{sample}", table, [*_lines(result, learned, written), *pixel_lines(pixels)]
    )


def _add_rows(table: Table, result: Comparison, shown: Sequence[object]) -> None:
    wrong = [one for one in result.tensors if one.differing or one.own]
    rows = [one for one in result.tensors if one in shown]
    if len(rows) > _MOST_LISTED:
        rows = [one for one in rows if one in wrong][:_MOST_LISTED]
    for one in rows:
        style = BAD if one.own else WARN if one.differing else ""
        cells = (one.operator, one.format, f"{one.codes:,}", f"{one.differing:,}", f"{one.own:,}", f"{one.largest:,}")
        table.row(one.name, *cells, _spread(one.differences), style=style)


def _spread(differences: Mapping[int, int]) -> str:
    """Return the most frequent differences, in their order."""
    most = sorted(differences, key=lambda k: -differences[k])[:_MOST_DIFFERENCES]
    shown = [f"{k:+d}: {differences[k]:,}" for k in differences if k in most]
    return ", ".join(shown) + (", ..." if len(differences) > len(shown) else "")


def _lines(result: Comparison, learned: Learned | None, written: Sequence[str]) -> Iterator[Line]:
    yield Text(result.sentence, style=f"bold {GOOD if result.equal else BAD}")
    cause = result.cause
    if cause is not None and cause.also:
        yield f"The same cause explains the own errors of {_listed(cause.also)} too."
    if cause is not None and cause.targets:
        yield f"Target {_listed(cause.targets)} computes these codes too."
    others = [name for name in result.own if result.first is None or name != result.first.tensor]
    others = [name for name in others if cause is None or name not in cause.also]
    if others:
        yield f"Own errors too: {_listed(others)}. They may have other causes."
    if result.inherited:
        yield f"Inherited only: {_listed(result.inherited)}."
    if result.missing:
        yield Text(f"Not in the dump: {_listed(result.missing)}.", style=QUIET)
    if result.unmatched:
        yield Text(f"Not of the model: {_listed(result.unmatched)}.", style=QUIET)
    for note in result.notes:
        yield Text(f"note: {note}", style=QUIET)
    if learned is not None:
        yield _learned(learned)
        for note in learned.target.notes:
            yield Text(f"note: {note}", style=QUIET)
    for path in written:
        yield Paste(f"wrote {path}")


def _learned(learned: Learned) -> str:
    kinds = ", ".join(f"{one.kind} {one.changes['rounding']}/{one.changes['overflow']}" for one in learned.kinds)
    verb = "explain every operator" if learned.explains_all else "do not explain every operator"
    return f"Learned rules {verb}: {kinds}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def dumps_as_json(result: DumpsComparison) -> str:
    """Return the comparison of two dumps as a JSON object."""
    return json_text(result.record())


def dumps_as_tables(result: DumpsComparison) -> str:
    """Return the comparison of two dumps as a table."""
    table = Table()
    table.names("tensor")
    table.numbers("elements", importance=4)
    table.numbers("differ", "largest", importance=9)
    table.text("differences", importance=3)
    for one in result.tensors:
        style = BAD if one.differing else ""
        cells = (f"{one.elements:,}", f"{one.differing:,}", f"{one.largest:g}", _spread(one.differences))
        table.row(one.name, *cells, style=style)
    lines = [Text(result.sentence, style=f"bold {GOOD if result.equal else BAD}")]
    for which, names in (("first", result.only_first), ("second", result.only_second)):
        if names:
            lines.append(Text(f"Only in the {which}: {_listed(names)}.", style=QUIET))
    return rendered("two dumps", table, lines)


def write_html(path: Path, result: Comparison) -> None:
    """Write the page of a comparison, whole or not at all."""
    write_text(path, page(result, "Comparison with a device"))
