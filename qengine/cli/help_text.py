"""Help of the commands: what a command does in one line, lines to paste, and its options in two columns.

Typer's own panels give a third of 80 columns to frames and types, and cut what does not fit. Here the docstring of a
command is read in three parts: its first paragraph is the summary, paragraphs that begin with `qengine` are examples,
one a line, and the rest are remarks, which follow the options. Options come in their panels, the most used first.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from qengine.cli.commands import COMMAND_GROUPS
from qengine.cli.panels import CHOICE, FIXED_POINT, INPUTS, PREPROCESSING, RUN
from qengine.cli.typed import remember_call
from qengine.cli.typed_words import checked_arguments

_MOST_USED = (
    *("--data", "--labels", "--input", "--out", "--qformat", "--formats", "--target", "--targets", "--bits"),
    *("--weight-bits", "--activation-bits", "--method", "--metric", "--max-drop", "--min", "--recipe", "--rounding"),
    *("--overflow", "--per-channel", "--accumulator-bits", "--weight-qformat", "--fetch", "--shape", "--mean", "--std"),
    *("--scale", "--resize", "--crop", "--json", "--fail-under", "--jobs", "--threads"),
)
"""Options that come first in their panels, in this order."""

_ON = " \\"
"""End of a line that the next one continues."""

_COLUMN = 28  # of the texts of options, from the left
_WIDEST, _NARROWEST = 110, 60  # columns of the text


class Command(TyperCommand):
    """Command whose help is that of this module, and whose arguments are checked before Typer reads them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(of_command(self, ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; raise OptionError where an option has no value, or is given twice."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        words = checked_arguments(self.params, args)
        remember_call(self, ctx, words)
        return super().parse_args(ctx, words)


class Group(TyperGroup):
    """Group of commands whose help is that of this module, also where no command is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        return super().parse_args(ctx, args if ctx.resilient_parsing else args or ["--help"])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(of_group(self, ctx))


def of_command(command: Any, context: Any) -> str:
    """Return the help of a command of Typer, which the context of its call names."""
    width = text_width()
    params = [one for one in command.get_params(context) if not getattr(one, "hidden", False)]
    arguments = [one for one in params if one.param_type_name == "argument"]
    options = [one for one in params if one.param_type_name == "option"]
    needed = [f"{one.opts[0]} {metavar_of(one)}" for one in options if one.required]
    summary, examples, remarks = parts_of(command.help or "")
    usage = " ".join([context.command_path, *(metavar_of(one) for one in arguments), *needed, "[OPTIONS]"])
    lines = [f"{_bold('Usage:')} {usage}", "", *_wrapped(summary, width), ""]
    lines += _examples(examples, width)
    for one in arguments:
        text = meaning_of(one)
        if one.required and one.metavar == "MODEL" and any(other.name == "project" for other in params):
            text = text.replace("Needed.", "Needed, here or in a project file.", 1)
        lines += [_bold(metavar_of(one)), *_wrapped(text, width, "  "), ""]
    for title, panel in panels_of(options):
        lines += [_bold(title), *(line for one in panel for line in _option(one, width)), ""]
    for paragraph in remarks:
        lines += [*_wrapped(paragraph, width), ""]
    return "\n".join(lines)


def of_group(group: Any, context: Any) -> str:
    """Return the help of a group of commands: a list of them."""
    width, path = text_width(), context.command_path
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    summary, examples, remarks = parts_of(group.help or "")
    lines = [f"{_bold('Usage:')} {path} COMMAND ...", "", *_wrapped(summary, width), ""]
    lines += _examples(examples, width)
    for title, names in _grouped(commands):
        lines += [_bold(title)]
        for name in names:
            said = first_sentence(parts_of(commands[name].help or "")[0])
            lines += _row(f"  {_name(name)}", 2 + len(name), said, width, 14)
        lines += [""]
    options = [one for one in group.get_params(context) if not getattr(one, "hidden", False)]
    if options:
        lines += [_bold("Options"), *(line for one in options for line in _option(one, width)), ""]
    for paragraph in remarks:
        lines += [*_wrapped(paragraph, width), ""]
    lines += [*_wrapped(f"{path} COMMAND --help tells what a command does and takes.", width)]
    return "\n".join(lines)


def parts_of(text: str) -> tuple[str, list[str], list[str]]:
    """Return the summary, the examples and the remarks of a docstring."""
    summary, examples, remarks = "", [], []
    for i, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if paragraph.startswith("qengine "):
            examples += [line.strip() for line in paragraph.splitlines()]
        elif i == 0:
            summary = " ".join(paragraph.split())
        else:
            remarks.append(" ".join(paragraph.split()))
    return summary, examples, remarks


def first_sentence(text: str) -> str:
    """Return the first sentence of a text without its full stop."""
    return re.split(r"\.(?:\s|$)", text, maxsplit=1)[0]


def text_width() -> int:
    """Return the number of columns that a help text may fill."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns - 1))


def panels_of(options: Sequence[Any]) -> Iterable[tuple[str, list[Any]]]:
    """Yield the titles of panels and their options, in the order of the help."""
    places = (INPUTS, None, FIXED_POINT, CHOICE, PREPROCESSING, RUN)  # None: panels that one command has
    titled: dict[str, list[Any]] = {}
    for one in options:
        title = getattr(one, "rich_help_panel", None)
        if one.name in ("help", "version", "project", "no_project"):
            title = RUN
        titled.setdefault(title or INPUTS, []).append(one)
    own = [title for title in titled if title not in places]
    order = [title for place in places for title in (own if place is None else [place])]
    for title in order:
        if title in titled:
            yield title, sorted(titled[title], key=_rank)


def _rank(option: Any) -> int:
    names = [*option.opts, *option.secondary_opts]
    if "--help" in names:
        return 2 * len(_MOST_USED)
    return min((_MOST_USED.index(name) for name in names if name in _MOST_USED), default=len(_MOST_USED))


def _option(option: Any, width: int) -> list[str]:
    """Return the lines of an option: its names, and what it does."""
    names = sorted(option.opts, key=len) + list(option.secondary_opts)
    shown = ", ".join(_name(name) for name in names)
    length = len(", ".join(names))
    if names[0].startswith("--"):  # long names stand below each other
        shown, length = f"    {shown}", length + 4
    metavar = metavar_of(option)
    if metavar:
        shown, length = f"{shown} {metavar}", length + 1 + len(metavar)
    return _row(f"  {shown}", length + 2, meaning_of(option), width, _COLUMN)


def _row(shown: str, length: int, text: str, width: int, column: int) -> list[str]:
    lines = _wrapped(text, width - column) or [""]
    if length > column - 2:
        return [shown, *(" " * column + line for line in lines)]
    return [shown + " " * (column - length) + lines[0], *(" " * column + line for line in lines[1:])]


def metavar_of(param: Any) -> str:
    """Return the word for the value of an option or argument; "" for a flag."""
    if getattr(param, "is_flag", False):
        return ""
    word = param.metavar or param.name.upper()
    if param.param_type_name == "argument" and not param.required and not word.startswith("["):
        return f"[{word}]"
    return str(word)


def meaning_of(param: Any) -> str:
    """Return what an option does: whether it is needed, its text, the numbers that it takes, and its default."""
    text = (getattr(param, "help", None) or "").strip()
    if param.required:
        text = f"Needed. {text}"
    said = [text, _range(param)]
    if "Default:" not in text:
        said.append(_default(param))
    return " ".join(part for part in said if part)


def limits_of(param: Any) -> tuple[float | None, float | None]:
    """Return the least and the most value of an option for numbers; None for no limit."""
    holder = param if getattr(param, "min", None) is not None else getattr(param, "type", None)
    return getattr(holder, "min", None), getattr(holder, "max", None)


def _range(param: Any) -> str:
    least, most = limits_of(param)
    if least is not None and most is not None:
        return f"{least:,} to {most:,}."
    return "" if least in (None, 0, 1) else f"{least:,} or more."


def _default(param: Any) -> str:
    if param.required or getattr(param, "show_default", True) is False or getattr(param, "multiple", False):
        return ""
    value = param.default
    if getattr(param, "is_flag", False):
        names = [*param.opts, *param.secondary_opts]
        return f"Default: {names[not value]}." if param.secondary_opts else ""
    if value is None or callable(value):
        return ""
    return f"Default: {value:,}." if isinstance(value, int) and not isinstance(value, bool) else f"Default: {value}."


def _examples(examples: Sequence[str], width: int) -> list[str]:
    """Return lines to paste; one that is too long is continued after a backslash."""
    if not examples:
        return []
    lines = []
    for example in examples:
        folded = _folded(example, width - 6)
        lines += [f"  {'  ' * bool(i)}{part}{_ON * (i < len(folded) - 1)}" for i, part in enumerate(folded)]
    return [_bold("Examples"), *lines, ""]


def _folded(example: str, width: int) -> list[str]:
    """Return the parts of a command line that are not longer than a width; an option stays with its value."""
    units: list[str] = []
    for word in example.split(" "):
        follows = units and units[-1].startswith("-") and " " not in units[-1] and not word.startswith(("-", "&&"))
        if follows or (units and word == "&&"):
            units[-1] = f"{units[-1]} {word}"
        else:
            units.append(word)
    lines = [units[0]]
    for unit in units[1:]:
        if lines[-1].endswith("&&") or len(lines[-1]) + 1 + len(unit) > width:
            lines.append(unit)
        else:
            lines[-1] += f" {unit}"
    return lines


def _grouped(commands: dict[str, Any]) -> list[tuple[str, list[str]]]:
    listed = [(title, [name for name in names if name in commands]) for title, names in COMMAND_GROUPS]
    found = [(title, names) for title, names in listed if names]
    rest = [name for name in commands if not any(name in names for _, names in found)]
    if not found:
        return [("Commands", rest)]
    return [*found[:-1], (found[-1][0], found[-1][1] + rest)]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if _is_coloured() else text


def _name(text: str) -> str:
    return f"\x1b[36m{text}\x1b[0m" if _is_coloured() else text


def _is_coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
