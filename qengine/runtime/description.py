"""Description of a session: its model, inputs and outputs, arithmetic, formats, and nodes in float32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, cast

from qengine.errors import printable
from qengine.results import html_table
from qengine.targets import Target

if TYPE_CHECKING:
    from qengine.runtime.session import InferenceSession

_LISTED = 4


def described(session: InferenceSession) -> str:
    """Return a session in one line."""
    graph = session.graph
    ends = " -> ".join(", ".join(map(str, values)) for values in (graph.inputs, graph.outputs))
    return printable(f"{graph.name or 'a model'}: {ends}; {_arithmetic(session)}")


def lines_of(session: InferenceSession) -> list[tuple[str, str]]:
    """Return a session as lines: what each is about, and the words."""
    graph, formats = session.graph, session.formats
    lines = [("model", f"{graph.name or '-'}, {len(graph.nodes):,} nodes")]
    lines += [("input", str(value)) for value in graph.inputs]
    lines += [("output", str(value)) for value in graph.outputs]
    lines.append(("arithmetic", _arithmetic(session)))
    if formats:
        counts = Counter(map(str, formats.values())).most_common()
        listed = [f"{name} ({count})" for name, count in counts]
        lines.append(("formats", _some(listed)))
    if islands := session.plans.islands():
        lines.append(("in float32", _some(islands)))
    lines += [("note", note) for note in session.notes]
    return [(label, printable(words)) for label, words in lines]


def as_text(session: InferenceSession) -> str:
    """Return a session as lines of text."""
    lines = lines_of(session)
    width = max(len(label) for label, _ in lines)
    return "\n".join(f"{label:{width}}  {words}" for label, words in lines)


def as_html(session: InferenceSession) -> str:
    """Return a session as HTML, with a table of its formats."""
    rows = "".join(
        f'<tr><td style="text-align:left"><b>{escape(label)}</b></td>'
        f'<td style="text-align:left">{escape(words)}</td></tr>'
        for label, words in lines_of(session)
    )
    table = html_table([{"tensor": name, "format": fmt} for name, fmt in session.formats.items()])
    more = f"<details><summary>formats</summary>{table}</details>" if table else ""
    return f"<table><tbody>{rows}</tbody></table>{more}"


def _arithmetic(session: InferenceSession) -> str:
    if not session.in_fixed_point:
        return "float32"
    options, rules = session.options, session.rules
    file = options.formats if isinstance(options.formats, str) else None
    words = [
        str(options.qformat) if options.qformat is not None else f"formats of {len(session.formats):,} tensors",
        f"weights {options.weight_qformat}" if options.weight_qformat is not None else "",
        file or "",
        f"target {options.target.name}" if isinstance(options.target, Target) else "",
        str(rules.rounding),
        str(rules.overflow),
        f"{options.accumulator_bits}-bit accumulator" if options.accumulator_bits else "",
        f"{', '.join(sorted(rules.islands))} in float32" if rules.islands else "",
    ]
    return ", ".join(filter(None, words))


def _some(words: Iterable[str]) -> str:
    """Return the first words, and how many more there are."""
    known = list(words)
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return ", ".join(known[:_LISTED]) + more


class Described:
    """Base of `InferenceSession`: its text and HTML, for a terminal and a notebook."""

    def __repr__(self) -> str:
        return f"<InferenceSession {described(cast('InferenceSession', self))}>"

    def __str__(self) -> str:
        return as_text(cast("InferenceSession", self))

    def _repr_html_(self) -> str:
        return as_html(cast("InferenceSession", self))
