"""Reference of the command line: a page for each command, made from what `--help` prints."""

from __future__ import annotations

from functools import cache
from typing import Any

from generators.markdown import Pages, code, escaped, page, table
from qengine.cli.commands import COMMAND_GROUPS
from qengine.cli.help_text import meaning_of, metavar_of, panels_of, parts_of
from qengine.cli.usage import commands_by_name

FOLDER = "reference/commands"


@cache
def pages() -> Pages:
    """Return a page that lists the commands, and one for each."""
    found = commands_by_name()
    parts = []
    for title, names in COMMAND_GROUPS:
        rows = [
            (f"[`qengine {name}`]({_file(name)})", escaped(parts_of(one.help or "")[0]))
            for name, one in found.items()
            if name.split()[0] in names
        ]
        parts += [f"## {title}", table(("command", "what it does"), rows)]
    index = page(
        "Commands",
        "What `qengine COMMAND --help` prints, on a page for each command. `qengine --version` prints the version, "
        "`qengine --help` the list of commands, and `qengine --install-completion` teaches your shell their names.",
        *parts,
        "## Exit status",
        table(
            ("status", "when"),
            (
                ("0", "the command did what it was asked"),
                ("1", "`--fail-under` asked for a better figure, or `compare` found a difference"),
                ("2", "an error, which is one line on standard error"),
                ("130", "an interrupt"),
            ),
        ),
    )
    return {f"{FOLDER}/index.md": index, **{f"{FOLDER}/{_file(name)}": _page(name, one) for name, one in found.items()}}


def _file(name: str) -> str:
    return name.replace(" ", "-") + ".md"


def _page(name: str, command: Any) -> str:
    """Return the page of a command: its text, its examples, and a table of options for each panel."""
    context = command.make_context(name, [], resilient_parsing=True)
    params = [one for one in command.get_params(context) if not getattr(one, "hidden", False)]
    arguments = [one for one in params if one.param_type_name == "argument"]
    options = [one for one in params if one.param_type_name == "option"]
    summary, examples, remarks = parts_of(command.help or "")
    needed = [f"{one.opts[0]} {metavar_of(one)}" for one in options if one.required]
    usage = " ".join(["qengine", name, *map(metavar_of, arguments), *needed, "[OPTIONS]"])
    parts = [escaped(summary), f"```text\n{usage}\n```"]
    if examples:
        parts += ["\n".join(["```sh", *examples, "```"])]
    if arguments:
        rows = [(code(metavar_of(one)), escaped(meaning_of(one))) for one in arguments]
        parts += [table(("argument", "meaning"), rows)]
    for title, panel in panels_of(options):
        rows = [(_spelled(one), escaped(meaning_of(one))) for one in panel]
        parts += [f"## {title}", table(("option", "meaning"), rows)]
    parts += map(escaped, remarks)
    return page(f"qengine {name}", *parts)


def _spelled(option: Any) -> str:
    """Return the names of an option, the short one first, and what its value stands for."""
    names = [*sorted(option.opts, key=len), *option.secondary_opts]
    return ", ".join(map(code, [*names[:-1], f"{names[-1]} {metavar_of(option)}".strip()]))
