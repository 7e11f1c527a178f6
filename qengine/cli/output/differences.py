"""Tables of the codes that each two targets compute otherwise: one square for each choice of formats.

Targets whose codes are all equal share a row and a column, so that the square of all bundled targets fits a terminal.
"""

from collections.abc import Iterator, Sequence

from rich.text import Text

from qengine.analysis.sweep import Difference
from qengine.cli.output.console import Part, counted_samples
from qengine.cli.output.styles import QUIET
from qengine.cli.output.tables import NEVER, Table

_COLUMNS = 11  # in one table: as many as fit 80 characters


def matrices(differences: Sequence[Difference]) -> Iterator[Part]:
    """Yield a heading and a table for each choice of formats."""
    for formats in dict.fromkeys(one.formats for one in differences):
        yield from _matrix([one for one in differences if one.formats == formats])


def _matrix(differences: Sequence[Difference]) -> Iterator[Part]:
    between = {(one.first, one.second): one for one in differences}
    between |= {(one.second, one.first): one for one in differences}
    groups: list[list[str]] = []
    for name in dict.fromkeys(name for one in differences for name in (one.first, one.second)):
        equal = next((group for group in groups if not between[group[0], name].tensors_differ), None)
        if equal is None:
            groups.append([name])
        else:
            equal.append(name)
    one = differences[0]
    formats = f"formats of {one.formats} bits (weights/activations)" if "/" in one.formats else one.formats
    text = (
        f"codes that differ in the same {formats}, on {counted_samples(one.samples)}: above the diagonal of all "
        f"{one.tensors:,}, below of the {one.outputs:,} of outputs"
    )
    yield ""
    yield Text(text, style=QUIET)
    if len(groups) == 1:
        yield f"none: {', '.join(groups[0])}"
        return
    for start in range(0, len(groups), _COLUMNS):
        columns = range(start, min(start + _COLUMNS, len(groups)))
        table = Table(gap=1)
        table.numbers("", importance=NEVER)
        table.text("target", importance=NEVER)
        for j in columns:
            table.numbers(str(j + 1))
        for i, group in enumerate(groups):
            cells = ["" if i == j else _share(between[group[0], groups[j][0]], of_outputs=i > j) for j in columns]
            table.row(str(i + 1), ", ".join(group), *cells)
        yield table


def _share(one: Difference, *, of_outputs: bool) -> str:
    count, total = (one.outputs_differ, one.outputs) if of_outputs else (one.tensors_differ, one.tensors)
    if not count:
        return "0"
    share = 100 * count / total
    return f"{share:.0f}%" if share >= 9.5 else f"{share:.1f}%" if share >= 0.05 else "<.1%"
