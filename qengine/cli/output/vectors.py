"""Output of `qengine export vectors`: tables, or one JSON object.

Every key is always present.

==============  ====================================================================================================
model, out      the model as typed, and the folder
samples         [{name, kind, source}]: runs of the network, samples of data and edge vectors
tensors         number of tensors that are described
operators       [{name, operator, coverage, impossible, not_reached, vectors}]: counts of ties, rails and more on data,
                with edge vectors, and on vectors of the operator alone; proofs; what was not found; number of its
                vectors
mutation_score  as in the manifest: faults, and how many are detected, in total and by operator, and those that are not
preprocessing   how pixels became numbers, a record of `Preprocessing`; null where no pixels were read
notes           lines of text
==============  ====================================================================================================
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qengine.cli.jsontext import as_object
from qengine.cli.output.console import Name, add_names, open_table, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.data.applied import Applied
from qengine.deploy.vectors import Pack
from qengine.deploy.vectors.coverage import RAILS, TIES
from qengine.errors import printable

_MOST_LISTED = 8  # faults that are not detected
_MOST_NAMED = 3  # operators with one proof


def as_json(model: str, pixels: Applied, pack: Pack, notes: tuple[str, ...]) -> str:
    """Return the JSON object, in lines of ASCII."""
    manifest = pack.manifest
    return as_object(
        {
            "model": model,
            "out": str(pack.folder),
            "samples": manifest["samples"],
            "tensors": len(manifest["tensors"]),
            "operators": [
                {
                    "name": one["name"],
                    "operator": one["operator"],
                    "coverage": one.get("coverage"),
                    "impossible": one.get("impossible"),
                    "not_reached": one.get("not_reached"),
                    "vectors": len(one.get("vectors", ())),
                }
                for one in manifest["operators"]
            ],
            "mutation_score": manifest["mutation_score"],
            "preprocessing": pixels.record,
            "notes": [*notes, *manifest["notes"], *pixels.notes],
        }
    )


def as_tables(model: str, pixels: Applied, pack: Pack, notes: tuple[str, ...]) -> str:
    """Return tables and a summary, in colour if standard output is a terminal."""
    samples = pack.manifest["samples"]
    edges = sum(one["kind"] == "edge" for one in samples)
    own = sum(len(one.get("vectors", ())) for one in pack.manifest["operators"])
    title = f"{model}: {len(samples) - edges} samples, {edges} edge vectors, {own} vectors of single operators"
    summed = [one for one in pack.manifest["operators"] if one.get("accumulator") is not None]
    tables = (_coverage(summed), _sums(summed)) if summed else ()
    parts = [part for table in (*tables, _scores(pack)) for part in (table, Text())]
    return rendered(title, Group(*parts[:-1]), [*pixel_lines(pixels), *_summary(pack, notes)])


def _coverage(operators: Sequence[dict[str, Any]]) -> Table:
    """Return how often ties and numbers beyond the word occur."""
    table = open_table()
    add_names(table, "operator", (one["name"] for one in operators))
    for heading in ("ties\ndata", "\n+ edges", "\nalone", "rails\ndata", "\n+ edges", "\nalone"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("not reached", overflow="fold", min_width=8)
    for one in operators:
        shown = _counts(one)
        table.add_row(
            Name(one["name"]),
            *(f"{_sum(c, 'tie '):,}" for c in shown),
            *(f"{_sum(c, 'high rail') + _sum(c, 'low rail'):,}" for c in shown),
            Text(", ".join(one["not_reached"]) or "-"),
        )
    return table


def _sums(operators: Sequence[dict[str, Any]]) -> Table:
    """Return the largest sums, and the bits that hold all sums."""
    table = open_table()
    add_names(table, "operator", (one["name"] for one in operators))
    for heading in ("largest sum\ndata", "\n+ edges", "\nalone", "bits of\nall sums"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in operators:
        bits = one["accumulator"]["bits"]
        table.add_row(Name(one["name"]), *map(_largest, _counts(one)), "-" if bits is None else str(bits))
    return table


def _counts(operator: dict[str, Any]) -> list[dict[str, int]]:
    return [operator["coverage"][name] for name in ("data", "with_edges", "operator_vectors")]


def _sum(coverage: dict[str, int], beginning: str) -> int:
    return sum(n for name, n in coverage.items() if name.startswith(beginning))


def _largest(coverage: dict[str, int]) -> str:
    if "most accumulator" not in coverage:
        return "-"
    return f"{max(coverage['most accumulator'], -coverage['least accumulator']):,}"


def _scores(pack: Pack) -> Table:
    table = open_table()
    add_names(table, "operator", pack.score["operators"])
    for heading in ("faults", "data", "+ edges", "+ alone"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("not detected", overflow="fold", min_width=8)
    for name, one in (*pack.score["operators"].items(), ("all", pack.score)):
        missed = list(one.get("not_detected", ()))
        listed = ", ".join(missed[:_MOST_LISTED]) + (f" and {n} more" if (n := len(missed) - _MOST_LISTED) > 0 else "")
        missing = Text(listed or ("" if name == "all" else "-"))
        table.add_row(Name(name), f"{one['faults']:,}", *_percents(one), missing)
    return table


def _percents(score: dict[str, Any]) -> list[str]:
    kinds = ("detected_by_data", "detected_with_edges", "detected_with_operator_vectors")
    return [f"{score[kind] / score['faults']:.1%}" if score["faults"] else "-" for kind in kinds]


def _summary(pack: Pack, notes: tuple[str, ...]) -> Iterator[Text]:
    by_data, with_edges, with_own = _percents(pack.score)
    yield Text(
        f"mutation score: {with_own} of {pack.score['faults']:,} faults detected; {by_data} by data alone, "
        f"{with_edges} with edge vectors"
    )
    for names, reason, whats in _impossible(pack):
        yield Text(printable(f"impossible in {_listed(names)}: {'; '.join(whats)}: {reason}"), style="dim")
    for note in (*notes, *pack.manifest["notes"]):
        yield Text(printable(f"note: {note}"), style="yellow")
    yield Text(printable(f"wrote {pack.folder}"))


def _impossible(pack: Pack) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    """Yield operators, a proof, and what it shows not to occur in any of them."""
    where: dict[tuple[str, str], list[str]] = {}
    for one in pack.manifest["operators"]:
        for what, reason in (one.get("impossible") or {}).items():
            if what in (*TIES, *RAILS):
                where.setdefault((what, reason), []).append(one["name"])
    whats: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (what, reason), names in where.items():
        whats.setdefault((tuple(names), reason), []).append(what)
    for (in_operators, reason), found in whats.items():
        yield in_operators, reason, found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
