"""Completion of command lines by bash, zsh, fish and PowerShell, without the modules of the commands.

The scripts that --install-completion writes are Typer's: they call this program with `_QENGINE_COMPLETE` and the words
so far in the environment. A command imports most of qengine, which takes longer than a person waits for a key, so the
options of all commands, and the words that each takes, are kept in a small file in the cache folder. It is written with
the script, or at the first completion, and again when a file of the command line is newer. Whatever goes wrong, nothing
is completed and nothing is printed: the shell then completes file names.
"""

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qengine import __version__
from qengine.cli.model_names import tensor_names
from qengine.cli.project.find import without_project

_FILE = "completion.json"
_FILES = {
    **{"--formats": (".json",), "--target": (".toml",), "--targets": (".toml",), "--operators": (".py",)},
    **{"--csv": (".csv",), "--learn": (".toml",), "--model": (".onnx",)},
}
"""Ends of the names of files that an option takes, besides words."""

_OF_TENSORS = ("--fetch", "--plot")
_OF_INPUTS = ("-i", "--input", "--shape")

Table = Mapping[str, Mapping[str, Any]]
"""For each command: "options", for each of which the words that it takes, None for a flag; and "help" for each."""


def respond(instruction: str) -> int:
    """Print completions for a shell, and return the exit status that it expects."""
    shell = instruction.partition("_")[2]
    try:
        found = completions(*_words(shell))
        text = _FORMATS.get(shell, _plain)(found)
    except Exception:
        return 1 if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args" else 0
    if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if found else 1
    if text:
        print(text)  # noqa: T201 - this is the command line
    return 0


def completions(words: Sequence[str], start: str) -> list[tuple[str, str]]:
    """Return the words that may stand in a place, each with a help text.

    Parameters
    ----------
    words
        Words of the command line before the place, without the name of the program.
    start
        Text in the place so far.
    """
    table, words = read_table(), without_project(words)
    command = _command(words, table)
    if command is None:
        above = f"{words[0]} " if words else ""
        names = {name[len(above) :]: one["about"] for name, one in table.items() if name.startswith(above)}
        names = {**_groups(names), **({} if above else {"--help": "", "--version": "Show the version."})}
        return [(name, text) for name, text in names.items() if name.startswith(start) and " " not in name]
    options: Mapping[str, Any] = table[command]["options"]
    rest = words[len(command.split()) :]
    last = rest[-1] if rest else ""
    name, equals, value = start.partition("=")
    if start.startswith("--") and equals and options.get(name) is not None:
        return [(f"{name}={word}", text) for word, text in _values(name, value, options[name], rest)]
    if options.get(last) is not None:
        return _values(last, start, options[last], rest)
    if start.startswith("-"):
        return [(one, table[command]["help"].get(one, "")) for one in options if one.startswith(start)]
    return _arguments(command, start, table[command], rest)


def read_table() -> Table:
    """Return the options of all commands, from the file in the cache folder if it is not older than they are."""
    state = _state()
    try:
        path = _path()
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return kept["commands"]  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return write_table()


def write_table() -> Table:
    """Make the table of all commands, and keep it where that is possible."""
    table = make_table()
    try:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_FILE}.{os.getpid()}")
        temporary.write_text(json.dumps({"state": _state(), "commands": table}), encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError:
        pass
    return table


def make_table() -> Table:
    """Return the options of all commands, which are imported for it, with the words that each option takes."""
    from qengine.cli.option_words import words_of_options
    from qengine.cli.usage import commands_by_name

    words = words_of_options()
    table: dict[str, dict[str, Any]] = {}
    for name, command in commands_by_name().items():
        options: dict[str, list[str] | None] = {}
        texts: dict[str, str] = {}
        for param in command.params:
            for option in (*param.opts, *param.secondary_opts):
                if not option.startswith("-"):
                    continue
                taken = words.get(f"{name} {option}", words.get(option, []))
                options[option] = None if getattr(param, "is_flag", False) else taken
                texts[option] = _short(getattr(param, "help", "") or "")
        options["--help"], texts["--help"] = None, "Show the help."
        about = _short((command.help or "").partition("\n\n")[0])
        table[name] = {"about": about, "options": options, "help": texts, "models": words["MODEL"]}
    return table


def _path() -> Path:
    from qengine.kernels.build import cache_root

    return Path(cache_root()) / _FILE


def _state() -> str:
    """Return what changes when the options may have changed: the version, and the newest file of the command line."""
    folder = Path(__file__).resolve().parent
    places = (folder, folder / "options", folder / "project")
    newest = max(one.stat().st_mtime_ns for place in places for one in os.scandir(place) if one.name.endswith(".py"))
    return f"{__version__} {newest} {folder}"


def _command(words: Sequence[str], table: Table) -> str | None:
    for count in (1, 2):
        if (name := " ".join(words[:count])) in table and len(words) >= count:
            return name
    return None


def _groups(names: Mapping[str, str]) -> dict[str, str]:
    """Return names of commands, with the name of a group in place of those in it."""
    return {name.partition(" ")[0]: ("" if " " in name else text) for name, text in names.items()}


def _values(option: str, start: str, words: Sequence[str], rest: Sequence[str]) -> list[tuple[str, str]]:
    """Return the values of an option; of one that takes a list, those of its last item."""
    if option in _OF_TENSORS or option in _OF_INPUTS:
        model = next((word for word in rest if not word.startswith("-")), "")
        inputs, tensors = tensor_names(model)
        if option in _OF_INPUTS:
            return [(f"{name}=", "") for name in inputs if f"{name}=".startswith(start)]
        return [(name, "") for name in (*tensors, *words) if name.startswith(start)]
    before, comma, item = start.rpartition(",")
    found = [(before + comma + word, "") for word in words if word.startswith(item)]
    return found + _files(start, _FILES.get(option, ()))


def _arguments(command: str, start: str, entry: Mapping[str, Any], rest: Sequence[str]) -> list[tuple[str, str]]:
    given = [word for i, word in enumerate(rest) if not word.startswith("-") and not _is_value(rest, i, entry)]
    if command == "targets":
        if given == ["check"]:
            return [(name, "") for name in entry["models"] if name.startswith(start)] + _files(start, (".onnx",))
        if given:
            return []
        names = [*entry["options"].get("--target", ()), "check"]
        return [(name, "") for name in names if name.startswith(start)] + _files(start, (".toml",))
    if given:
        return []
    return [(name, "") for name in entry["models"] if name.startswith(start)] + _files(start, (".onnx",))


def _is_value(rest: Sequence[str], i: int, entry: Mapping[str, Any]) -> bool:
    return i > 0 and entry["options"].get(rest[i - 1]) is not None


def _files(start: str, ends: Sequence[str]) -> list[tuple[str, str]]:
    """Return files that begin as typed and end as an option takes them, and folders on the way to such."""
    if not ends:
        return []
    folder, _, name = start.rpartition("/")
    place = Path(folder).expanduser() if folder else Path("/" if start.startswith("/") else ".")
    before = start[: len(start) - len(name)]
    found = []
    with os.scandir(place) as entries:
        for one in sorted(entries, key=lambda entry: entry.name):
            if not one.name.startswith(name) or (one.name.startswith(".") and not name):
                continue
            if one.is_dir():
                found.append((f"{before}{one.name}/", ""))
            elif one.name.lower().endswith(tuple(ends)):
                found.append((before + one.name, ""))
    return found


def _words(shell: str) -> tuple[list[str], str]:
    """Return the words before the place that a shell completes, and what stands there."""
    if shell == "bash":
        words = _split(os.environ["COMP_WORDS"])
        place = int(os.environ["COMP_CWORD"])
        return words[1:place], words[place] if place < len(words) else ""
    text = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(text)[1:]
    if shell in ("powershell", "pwsh"):
        start = os.environ.get("_TYPER_COMPLETE_WORD_TO_COMPLETE", "")
        return words[:-1] if start else words, start
    if words and not text.endswith(" "):
        return words[:-1], words[-1]
    return words, ""


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is still open
        return text.replace("'", " ").replace('"', " ").split()


def _plain(found: Iterable[tuple[str, str]]) -> str:
    return "\n".join(word for word, _ in found)


def _zsh(found: Sequence[tuple[str, str]]) -> str:
    if not found:
        return "_files"
    items = [f'"{_escaped(word)}":"{_escaped(text)}"' if text else f'"{_escaped(word)}"' for word, text in found]
    return "_arguments '*: :(({}))'".format("\n".join(items))


def _escaped(text: str) -> str:
    """Return a text within double quotes in an argument in single quotes, of which zsh reads both."""
    for mark, replacement in (("\\", "\\\\"), ('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", r"\\:")):
        text = text.replace(mark, replacement)
    return text


def _fish(found: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{word}\t{text}" if text else word for word, text in found)


def _powershell(found: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{word}:::{text or ' '}" for word, text in found)


def _short(text: str) -> str:
    """Return the first sentence of a help text on one line."""
    line = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return line if len(line) <= 70 else f"{line[:67]}..."


_FORMATS: Mapping[str, Callable[[list[tuple[str, str]]], str]] = {
    **{"bash": _plain, "zsh": _zsh, "fish": _fish, "powershell": _powershell, "pwsh": _powershell},
}
