"""Output of `qengine targets`: lists of targets, one target, and what a model has that a target does not.

As JSON, the list is {"targets": [{name, status, description}]}, one target is its file as an object (`rules` and
`constraints` as in docs/how-to/targets.md), and a check is {model, target, is_clean, violations: [{constraint, subject,
operator, found, allowed, remedy}], accumulators: [{tensor, operator, bits, channel, channels, available, is_proved}],
notes, preprocessing}: the latter a record of `Preprocessing`, null where no pixels were read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qengine.analysis.target_check import AccumulatorNeed, TargetCheck
from qengine.cli.jsontext import as_object
from qengine.cli.output.console import open_table, rendered, shortened
from qengine.cli.output.pixels import pixel_lines
from qengine.data.applied import Applied
from qengine.errors import printable
from qengine.targets import Target
from qengine.targets.words import constraints_in_words, rules_in_words

_MOST_NAME = 20  # characters of a name that has little room
_LISTED = 3  # tensors or nodes with the same fault that are named


def list_as_json(targets: Iterable[Target]) -> str:
    """Return the list as one JSON object."""
    listed = [{"name": one.name, "status": one.status, "description": one.description} for one in targets]
    return as_object({"targets": listed})


def list_as_table(targets: Sequence[Target]) -> str:
    """Return the list as a table."""
    table = open_table()
    table.add_column("target", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("device", overflow="fold", min_width=20)
    for one in targets:
        style = "" if one.status == "verified" else "yellow"
        table.add_row(one.name, Text(one.status, style=style), one.description)
    line = "qengine targets NAME shows the rules, constraints and sources of one; --target takes a TOML file too."
    return rendered(f"{len(targets)} targets", table, [line])


def one_as_json(target: Target) -> str:
    """Return a target as one JSON object, every key always present."""
    empty = {"checked": "", "sources": [], "notes": [], "rules": {}, "constraints": {}}
    return as_object({**empty, **target.record()})


def one_as_tables(target: Target) -> str:
    """Return a target in words."""
    status = f"{target.status}: {target.checked}" if target.checked else target.status
    parts: list[RenderableType] = [
        Text(printable(status), style="" if target.status == "verified" else "yellow"),
        _section("rules", _pairs(rules_in_words(target.rules))),
        _section("constraints", _pairs(constraints_in_words(target.constraints)), "none"),
        _section("what the rules do not say", _items(target.notes), "nothing is known"),
        _section("sources", _items(target.sources), "none"),
    ]
    title = Text(printable(f"{target.name}: {target.description}"), style="bold")
    return rendered(title, Group(*parts), ())


def check_as_json(model: str, pixels: Applied, check: TargetCheck) -> str:
    """Return a check as one JSON object."""
    return as_object(
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


def check_as_table(model: str, pixels: Applied, check: TargetCheck) -> str:
    """Return a check as a table."""
    table = open_table()
    for heading in ("what", "found", "the target has", "what to do"):
        table.add_column(heading, overflow="fold", min_width=_MOST_NAME + 1 if heading == "what" else 12)
    subjects: dict[tuple[str, ...], list[str]] = {}
    for one in check.violations:
        subjects.setdefault((one.operator, one.found, one.allowed, one.remedy), []).append(one.subject)
    for (operator, *cells), names in subjects.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        listed = [shortened(name, _MOST_NAME) for name in names[:_LISTED]]
        what = f"{operator} {', '.join(listed)}{more}".strip()
        table.add_row(*(Text(printable(cell)) for cell in (what, *cells)))
    name, count = check.target.name, len(check.violations)
    what = f"nothing that {name} does not have" if not count else f"{count} x not on {name}"
    lines = [*pixel_lines(pixels)]
    lines += [Text(printable(_accumulator(one)), style="yellow") for one in check.unproved]
    proved = len(check.accumulators) - len(check.unproved)
    if proved:
        lines.append(Text(f"{proved} of {len(check.accumulators)} accumulators are proved never to overflow"))
    lines += [Text(printable(f"note: {note}"), style="yellow") for note in check.notes]
    return rendered(f"{model}: {what}", table if count else Group(), lines)


def _accumulator(one: AccumulatorNeed) -> str:
    filters = f"{one.channels} filters" if one.channels != 1 else "1 filter"
    return (
        f"'{one.tensor}' ({one.operator}): sums of {filters} may leave the accumulator of {one.available} bits; filter "
        f"{one.channel} needs {one.bits}"
    )


def _section(heading: str, content: Table, otherwise: str = "") -> Group:
    """Return a heading and a table, or other words where it has no rows."""
    return Group(
        Text(""), Text(heading, style="dim"), Padding(content if content.row_count else otherwise, (0, 0, 0, 2))
    )


def _pairs(pairs: Iterator[tuple[str, str]]) -> Table:
    table = open_table()
    table.show_header = False
    table.add_column(max_width=28)
    table.add_column(overflow="fold")
    for name, words in pairs:
        table.add_row(Text(printable(name)), Text(printable(words)))
    return table


def _items(lines: Sequence[str]) -> Table:
    table = open_table()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row("-", Text(printable(line)))
    return table
