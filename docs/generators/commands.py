"""Reference of the command line: a page for each command, made from the application that prints `--help`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from generators.markdown import Pages, code, escaped, page, table
from qengine.cli.app import COMMANDS, GROUPS, application

FOLDER = "reference/commands"


def pages() -> Pages:
    """Return a page for each command, and one that lists them."""
    found = dict(_commands())
    listed = table(
        ("command", ""),
        ((f"[`qengine {name}`]({_file(name)})", escaped(_paragraphs(one)[0])) for name, one in found.items()),
    )
    index = page(
        "Commands",
        "What `qengine COMMAND --help` prints, on a page for each command. `qengine --version` prints the version, "
        "`qengine --help` the list of commands.",
        listed,
        "The exit status is 0 where a command did what it was asked, 1 where a comparison found a difference or a "
        "figure failed a limit, 2 after an error, which is one line on standard error, and 130 after an interrupt.",
    )
    return {f"{FOLDER}/index.md": index, **{f"{FOLDER}/{_file(name)}": _page(name, one) for name, one in found.items()}}


def _file(name: str) -> str:
    return name.replace(" ", "-") + ".md"


def _commands() -> Iterator[tuple[str, Any]]:
    """Yield every command of Click by what is typed after `qengine`, in the order of the help."""
    for name in COMMANDS:
        yield name, typer.main.get_command(application([name])).commands[name]  # type: ignore[attr-defined]
    for group, (_, names) in GROUPS.items():
        for name in names:
            made: Any = typer.main.get_command(application([group, name]))
            yield f"{group} {name}", made.commands[group].commands[name]


def _paragraphs(command: Any) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]


def _page(name: str, command: Any) -> str:
    """Return the page of a command: its text, its examples, and a table of options for each panel."""
    text = _paragraphs(command)
    examples = [paragraph for paragraph in text if paragraph.startswith("qengine ")]
    context = command.make_context(name, [], resilient_parsing=True)
    panels: dict[str, list[tuple[str, str]]] = {}
    usage = ["qengine", name, "[OPTIONS]"]
    for parameter in command.get_params(context):
        if getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            usage.append(_value(parameter))
            panels.setdefault("Arguments", []).append((_value(parameter), _help(parameter, context)))
        else:
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append((_spelled(parameter), _help(parameter, context)))
    parts = [escaped(paragraph) for paragraph in text if paragraph not in examples]
    if examples:
        parts.append("\n".join(["```sh", *examples, "```"]))
    parts.append("\n".join(["```text", " ".join(usage), "```"]))
    for panel, rows in panels.items():
        parts += [
            f"## {panel}",
            table(
                ("option" if panel != "Arguments" else "argument", "meaning"), ((code(one), text) for one, text in rows)
            ),
        ]
    return page(f"qengine {name}", *parts)


def _value(parameter: Any) -> str:
    """Return what the value of a parameter stands for."""
    return str(parameter.metavar or parameter.name.upper())


def _spelled(option: Any) -> str:
    """Return an option as it is typed: every name, the short one first, and what its value stands for."""
    names = ", ".join([*sorted(option.opts, key=len), *option.secondary_opts])
    return names if option.is_flag or option.count else f"{names} {_value(option)}"


def _help(parameter: Any, context: Any) -> str:
    """Return the text of the help of a parameter, and its default, as the terminal shows them."""
    record = parameter.get_help_record(context)
    text = record[1] if record else (parameter.help or "")
    text = " ".join(re.sub(r"\[/?[a-z ]+\](?<!\])", "", text).split())
    return escaped(text)
