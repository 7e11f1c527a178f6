"""Output of `qengine targets`: lists of targets, one target, and what a model has that a target does not.

As JSON, the list is {"targets": [{name, status, description}]}, one target is its file as an object (`rules` and
`constraints` as in docs/how-to/targets.md), and a check is {model, target, is_clean, violations: [{constraint, subject,
operator, found, allowed, remedy}], accumulators: [{tensor, operator, bits, channel, channels, available, is_proved}],
notes, preprocessing}: the latter a record of `Preprocessing`, null where no pixels were read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from rich.text import Text

from qengine.analysis.target_check import AccumulatorNeed, TargetCheck
from qengine.cli.output.console import Line, Part, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import QUIET, TITLE, WARN
from qengine.cli.output.tables import NEVER, Table
from qengine.cli.output.text import shortened
from qengine.data.applied import Applied
from qengine.model.constant_roles import label_of
from qengine.results import json_text
from qengine.targets import Target
from qengine.targets.words import constraints_in_words, rules_in_words

_MOST_NAME = 24  # characters of a name that has little room
_LISTED = 3  # tensors or nodes with the same fault that are named


def list_as_json(targets: Iterable[Target]) -> str:
    """Return the list as one JSON object."""
    listed = [{"name": one.name, "status": one.status, "description": one.description} for one in targets]
    return json_text({"targets": listed})


def list_as_table(targets: Sequence[Target]) -> str:
    """Return the list as a table."""
    table = Table()
    table.words("target", importance=NEVER)
    table.words("status", importance=7)
    table.text("device", importance=9)
    for one in targets:
        style = "" if one.status == "verified" else WARN
        table.row(one.name, Text(one.status, style=style), one.description)
    line = "qengine targets NAME shows the rules, constraints and sources of one; --target takes a TOML file too."
    return rendered(f"{len(targets)} targets", table, [line])


def one_as_json(target: Target) -> str:
    """Return a target as one JSON object, every key always present."""
    empty = {"checked": "", "sources": [], "notes": [], "rules": {}, "constraints": {}}
    return json_text({**empty, **target.record()})


def one_as_tables(target: Target) -> str:
    """Return a target in words."""
    status = f"{target.status}: {target.checked}" if target.checked else target.status
    parts: list[Part] = [
        Text(status, style="" if target.status == "verified" else WARN),
        *_section("rules", _pairs(rules_in_words(target.rules))),
        *_section("constraints", _pairs(constraints_in_words(target.constraints)), "none"),
        *_section("what the rules do not say", _items(target.notes), "nothing is known"),
        *_section("sources", _items(target.sources), "none"),
    ]
    return rendered(Text(f"{target.name}: {target.description}", style=TITLE), parts, ())


def check_as_json(model: str, pixels: Applied, check: TargetCheck) -> str:
    """Return a check as one JSON object."""
    return json_text(
        {
            "model": model,
            "target": check.target.name,
            "is_clean": check.is_clean,
            "violations": [asdict(one) for one in check.violations],
            "accumulators": [{**asdict(one), "is_proved": one.is_proved} for one in check.accumulators],
            "preprocessing": pixels.record,
            "notes": (*check.notes, *pixels.notes),
        }
    )


def check_as_table(model: str, pixels: Applied, check: TargetCheck, roles: Mapping[str, str]) -> str:
    """Return a check as a table, given what constants are; see `qengine.model.constant_roles`."""
    table = Table()
    table.text("what", importance=NEVER)
    table.text("found", importance=8)
    table.text("the target has", importance=7)
    table.text("what to do", importance=9)
    subjects: dict[tuple[str, ...], list[str]] = {}
    for one in check.violations:
        subjects.setdefault((one.operator, one.found, one.allowed, one.remedy), []).append(one.subject)
    for (operator, *cells), names in subjects.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        listed = [shortened(label_of(name, roles.get(name)), _MOST_NAME) for name in names[:_LISTED]]
        what = f"{operator} {', '.join(listed)}{more}".strip()
        table.row(what, *cells)
    name, count = check.target.name, len(check.violations)
    what = f"nothing that {name} does not have" if not count else f"{count} x not on {name}"
    lines: list[Line] = [*pixel_lines(pixels)]
    lines += [Text(_accumulator(one), style=WARN) for one in check.unproved]
    proved = len(check.accumulators) - len(check.unproved)
    if proved:
        lines.append(f"{proved} of {len(check.accumulators)} accumulators are proved never to overflow")
    lines += [Text(f"note: {note}", style=WARN) for note in check.notes]
    return rendered(f"{model}: {what}", table if count else (), lines)


def _accumulator(one: AccumulatorNeed) -> str:
    filters = f"{one.channels} filters" if one.channels != 1 else "1 filter"
    return (
        f"'{one.tensor}' ({one.operator}): sums of {filters} may leave the accumulator of {one.available} bits; filter "
        f"{one.channel} needs {one.bits}"
    )


def _section(heading: str, content: Table, otherwise: str = "") -> list[Part]:
    """Return a heading and a table, or other words where it has no rows."""
    return ["", Text(heading, style=QUIET), content if content.row_count else f"  {otherwise}"]


def _pairs(pairs: Iterator[tuple[str, str]]) -> Table:
    table = Table(has_heading=False, indent=2)
    table.text("", importance=NEVER, most=28)
    table.text("", importance=NEVER)
    for name, words in pairs:
        table.row(name, words)
    return table


def _items(lines: Sequence[str]) -> Table:
    table = Table(has_heading=False, indent=2)
    table.words("", importance=NEVER)
    table.text("", importance=NEVER)
    for line in lines:
        table.row("-", line)
    return table
