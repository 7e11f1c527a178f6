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

from rich.text import Text

from qengine.cli.output.console import Line, Part, rendered
from qengine.cli.output.pixels import pixel_lines
from qengine.cli.output.styles import QUIET, WARN
from qengine.cli.output.tables import Table
from qengine.cli.output.text import Paste
from qengine.data.applied import Applied
from qengine.deploy.vectors import Pack
from qengine.deploy.vectors.coverage import RAILS, TIES
from qengine.results import json_text

_MOST_LISTED = 8  # faults that are not detected
_MOST_NAMED = 3  # operators with one proof


def as_json(model: str, pixels: Applied, pack: Pack, notes: tuple[str, ...]) -> str:
    """Return the JSON object, in lines of ASCII."""
    manifest = pack.manifest
    return json_text(
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
    parts: list[Part] = [part for table in (*tables, _scores(pack)) for part in (table, "")]
    return rendered(title, parts[:-1], [*pixel_lines(pixels), *_summary(pack, notes)])


def _coverage(operators: Sequence[dict[str, Any]]) -> Table:
    """Return how often ties and numbers beyond the word occur."""
    table = Table()
    table.names("operator")
    for what in ("ties", "rails"):
        table.numbers(f"{what}\ndata", importance=7)
        table.numbers(f"{what}\n+ edges", importance=6)
        table.numbers(f"{what}\nalone", importance=8)
    table.text("not reached", importance=5)
    for one in operators:
        shown = _counts(one)
        table.row(
            one["name"],
            *(f"{_sum(c, 'tie '):,}" for c in shown),
            *(f"{_sum(c, 'high rail') + _sum(c, 'low rail'):,}" for c in shown),
            ", ".join(one["not_reached"]) or "-",
        )
    return table


def _sums(operators: Sequence[dict[str, Any]]) -> Table:
    """Return the largest sums, and the bits that hold all sums."""
    table = Table()
    table.names("operator")
    table.numbers("largest sum\ndata", "largest sum\n+ edges", "largest sum\nalone")
    table.numbers("bits of\nall sums", importance=9)
    for one in operators:
        bits = one["accumulator"]["bits"]
        table.row(one["name"], *map(_largest, _counts(one)), "-" if bits is None else str(bits))
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
    table = Table()
    table.names("operator")
    table.numbers("faults", importance=7)
    table.numbers("data", "+ edges", importance=6)
    table.numbers("+ alone", importance=9)
    table.text("not detected", importance=5)
    for name, one in (*pack.score["operators"].items(), ("all", pack.score)):
        missed = list(one.get("not_detected", ()))
        listed = ", ".join(missed[:_MOST_LISTED]) + (f" and {n} more" if (n := len(missed) - _MOST_LISTED) > 0 else "")
        table.row(name, f"{one['faults']:,}", *_percents(one), listed or ("" if name == "all" else "-"))
    return table


def _percents(score: dict[str, Any]) -> list[str]:
    kinds = ("detected_by_data", "detected_with_edges", "detected_with_operator_vectors")
    return [f"{score[kind] / score['faults']:.1%}" if score["faults"] else "-" for kind in kinds]


def _summary(pack: Pack, notes: tuple[str, ...]) -> Iterator[Line]:
    by_data, with_edges, with_own = _percents(pack.score)
    yield (
        f"mutation score: {with_own} of {pack.score['faults']:,} faults detected; {by_data} by data alone, "
        f"{with_edges} with edge vectors"
    )
    for names, reason, whats in _impossible(pack):
        yield Text(f"impossible in {_listed(names)}: {'; '.join(whats)}: {reason}", style=QUIET)
    for note in (*notes, *pack.manifest["notes"]):
        yield Text(f"note: {note}", style=WARN)
    yield Paste(f"wrote {pack.folder}")


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
