"""Output of `qengine doctor`: the environment as tables of two columns."""

from collections.abc import Iterator

from rich.text import Text

from qengine.analysis.environment import Check, Environment, Package
from qengine.cli.output.console import Part, rendered
from qengine.cli.output.styles import TITLE
from qengine.cli.output.tables import NEVER, Table
from qengine.memory import size_text
from qengine.results import json_text


def as_json(found: Environment) -> str:
    """Return the environment as one JSON object."""
    return json_text(found.record())


def as_tables(found: Environment) -> str:
    """Return the environment as tables."""
    parts: list[Part] = []
    for heading, rows in _panels(found):
        if rows:
            parts += ["", Text(heading, style=TITLE), _table(rows)]
    return rendered(f"qengine {found.qengine}", parts[1:], _verdict(found))


def _panels(found: Environment) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each heading with its rows of a name and a text."""
    load = "" if found.load is None else f", load {found.load:g}"
    yield (
        "Machine",
        [
            ("system", found.system),
            ("processor", found.cpu),
            ("kernels for", ", ".join(found.isas)),
            ("cores", f"{found.cores}{load}"),
            ("memory", size_text(found.memory)),
        ],
    )
    yield "Installation", [("Python", found.python), ("folder", found.folder), ("compiled kernels", found.cache)]
    yield "Packages", [(package.name, _package(package)) for package in found.packages]
    yield "Compilers of C", list(found.compilers.items())
    yield "Variables", list(found.variables.items())
    yield "Kernels compared with the reference", [(check.isa, _check(check)) for check in found.checks]


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table(has_heading=False)
    table.words("", importance=NEVER)
    table.text("", importance=NEVER)
    for name, text in rows:
        table.row(name, text)
    return table


def _package(package: Package) -> str:
    if package.version is not None:
        return package.version
    return f"not installed: pip install 'qengine[{package.extra}]'" if package.extra else "missing"


def _check(check: Check) -> str:
    return check.error or ("the same bits" if check.is_equal else "OTHER BITS: please report this")


def _verdict(found: Environment) -> list[str]:
    """Return the last lines."""
    missing = [package.name for package in found.packages if package.version is None and not package.extra]
    if missing:
        return [f"missing: {', '.join(missing)}; install qengine again"]
    if not found.checks:
        return []
    return ["all is well" if found.is_sound else "kernels do not compute what they should: please report this output"]
