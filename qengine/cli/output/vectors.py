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
notes           lines of text
==============  ====================================================================================================
"""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qengine.cli.jsontext import as_object
from qengine.cli.output.console import open_table, rendered
from qengine.deploy.vectors import Pack
from qengine.deploy.vectors.coverage import RAILS, TIES
from qengine.errors import printable

_MOST_LISTED = 8


def as_json(model: str, pack: Pack, notes: tuple[str, ...]) -> str:
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
            "notes": [*notes, *manifest["notes"]],
        }
    )


def as_tables(model: str, pack: Pack, notes: tuple[str, ...]) -> str:
    """Return tables and a summary, in colour if standard output is a terminal."""
    samples = pack.manifest["samples"]
    edges = sum(one["kind"] == "edge" for one in samples)
    own = sum(len(one.get("vectors", ())) for one in pack.manifest["operators"])
    title = f"{model}: {len(samples) - edges} samples, {edges} edge vectors, {own} vectors of single operators"
    return rendered(title, Group(_coverage(pack), Text(), _scores(pack)), _summary(pack, notes))


def _coverage(pack: Pack) -> Table:
    table = open_table()
    table.add_column("operator", overflow="fold", min_width=8)
    for heading in ("ties\ndata", "\n+ edges", "\nalone", "rails\ndata", "\n+ edges", "\nalone", "largest sum\ndata"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("\n+ edges", justify="right", no_wrap=True)
    table.add_column("\nalone", justify="right", no_wrap=True)
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("not reached", overflow="fold", min_width=8)
    for one in pack.manifest["operators"]:
        if one.get("accumulator") is None:
            continue
        shown = [one["coverage"][name] for name in ("data", "with_edges", "operator_vectors")]
        bits = one["accumulator"]["bits"]
        table.add_row(
            Text(one["name"]),
            *(f"{_sum(c, 'tie '):,}" for c in shown),
            *(f"{_sum(c, 'high rail') + _sum(c, 'low rail'):,}" for c in shown),
            *(_largest(c) for c in shown),
            "-" if bits is None else str(bits),
            Text(", ".join(one["not_reached"]) or "-"),
        )
    return table


def _sum(coverage: dict[str, int], beginning: str) -> int:
    return sum(n for name, n in coverage.items() if name.startswith(beginning))


def _largest(coverage: dict[str, int]) -> str:
    if "most accumulator" not in coverage:
        return "-"
    return f"{max(coverage['most accumulator'], -coverage['least accumulator']):,}"


def _scores(pack: Pack) -> Table:
    table = open_table()
    table.add_column("operator", overflow="fold", min_width=8)
    for heading in ("faults", "data", "+ edges", "+ alone"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("not detected", overflow="fold", min_width=8)
    for name, one in (*pack.score["operators"].items(), ("all", pack.score)):
        missed = list(one.get("not_detected", ()))
        listed = ", ".join(missed[:_MOST_LISTED]) + (f" and {n} more" if (n := len(missed) - _MOST_LISTED) > 0 else "")
        missing = Text(listed or ("" if name == "all" else "-"))
        table.add_row(Text(name), str(one["faults"]), *_percents(one), missing)
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
    why: dict[str, list[str]] = {}
    for one in pack.manifest["operators"]:
        for what, reason in (one.get("impossible") or {}).items():
            if what in (*TIES, *RAILS):
                why.setdefault(f"{what}: {reason}", []).append(one["name"])
    for text, names in why.items():
        yield Text(printable(f"impossible in {', '.join(names)}: {text}"), style="dim")
    for note in (*notes, *pack.manifest["notes"]):
        yield Text(printable(f"note: {note}"), style="yellow")
    yield Text(printable(f"wrote {pack.folder}"))
