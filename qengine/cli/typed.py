"""The command line as it was typed, for commands that are suggested: they can be pasted.

Messages of the library name a model as MODEL. Here it is replaced by what was typed: the model, its data, and the
options that say how the data is read, without which the suggested command would compute something else.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_words: list[str] = []
_calls: list[tuple[Any, Any, list[str]]] = []
"""The command of Typer that was called last, its context and its words; empty before."""

_taken: list[str] = []
_SUGGESTED = re.compile(r"(qengine (?:init|calibrate|quantize|sweep|search|report|run|targets check)) MODEL\b")
_REPEATED = ("data", "labels", "mean", "std", "scale", "resize", "crop", "bgr", "layout", "convert")
"""Options that a suggested command repeats, besides those of the project file."""


_FLAGS = frozenset(("--bgr", "--no-project", "--per-channel"))
DATA = frozenset(
    [
        "--data",
        "--labels",
        "--limit",
        "--batch",
        "--scale",
        "--mean",
        "--std",
        "--resize",
        "--crop",
        "--bgr",
        "--layout",
        "--convert",
        "-i",
        "--input",
        "--project",
        "--no-project",
    ]
)
"""Options that say what a model is run on, which commands have in common."""
FIXED_POINT = frozenset(
    [
        "--qformat",
        "--weight-qformat",
        "--formats",
        "--rounding",
        "--overflow",
        "--accumulator-bits",
        "--per-channel",
        "--target",
    ]
)
"""Options that say what a model computes, which commands have in common."""


def remember(words: Sequence[str]) -> None:
    """Keep the words after the name of the program."""
    _words[:] = words
    _calls.clear()
    _taken.clear()


def remember_call(command: Any, context: Any, words: Sequence[str]) -> None:
    """Keep the command that is called, its context, and its words."""
    _calls[:] = [(command, context, list(words))]


def remember_taken(keys: Sequence[str]) -> None:
    """Keep the keys of the project file that the command took."""
    _taken[:] = keys


def is_taken(key: str) -> bool:
    """Return whether the command took a key of the project file."""
    return key in _taken


def is_typed(*options: str) -> bool:
    """Return whether one of some options was typed."""
    return any(word.partition("=")[0] in options for word in _words)


def follow_up(command: str, model: str, kept: frozenset[str] = DATA, added: Sequence[str] = ()) -> str:
    """Return another command on the model and the data that were typed, quoted for a shell.

    Parameters
    ----------
    command
        Name of the command.
    model
        The model, which is left out where it comes from the project file.
    kept
        Options that are repeated, with their values, if they were typed.
    added
        Words that are added.
    """
    return shlex.join(["qengine", command, *([] if is_taken("model") else [model]), *_repeated(kept), *added])


def _repeated(kept: frozenset[str]) -> Iterator[str]:
    words = iter(_words)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in kept:
            yield word
            if not equals and name not in _FLAGS:
                yield from (next(words, ""),)
        elif word[:1] == "-" and word[:2] in kept and not word.startswith("--"):
            yield word


def typed_with(option: str, value: str) -> str:
    """Return the command that was typed with another value of an option, quoted for a shell.

    Parameters
    ----------
    option
        Name of the option, such as "--qformat"; it is added where it was not typed.
    value
        The new value.
    """
    words, found = list(_words), False
    for i, word in enumerate(words):
        if word == option and i + 1 < len(words):
            words[i + 1], found = value, True
        elif word.startswith(f"{option}="):
            words[i], found = f"{option}={value}", True
    return shlex.join(["qengine", *words, *([] if found else [option, value])])


def with_typed(text: str) -> str:
    """Return a text whose suggested commands have what was typed in place of MODEL; nothing, if a project has it."""
    if text.startswith("{") or not _calls or not _SUGGESTED.search(text):  # JSON is the same for all spellings of paths
        return text
    from qengine.cli.project.parse import typed_values
    from qengine.cli.project.rules import typed_model

    command, context, words = _calls[0]
    typed = typed_values(command.make_parser(context).parse_args(args=list(words))[0])
    model = typed_model(" ".join(context.command_path.split()[1:]), typed)
    if model == "" or (model is None and not context.default_map):
        return text
    named = [] if model is None else [model]
    options = _options({**context.find_root().params, **typed})
    return _SUGGESTED.sub(lambda found: f"{found[1]} {_joined(found[1], named, options)}".rstrip(), text)


def _joined(command: str, model: list[str], options: list[str]) -> str:
    return shlex.join(model if command.endswith("check") else [*model, *options])


def _options(typed: Mapping[str, Any]) -> list[str]:
    """Return the words of the options that are repeated."""
    found: list[str] = []
    for name in (*_REPEATED, "project", "no_project"):
        value = typed.get(name)
        if name == "bgr" and value is False:
            found.append("--rgb")
        elif isinstance(value, bool):
            found += [f"--{name.replace('_', '-')}"] * value
        elif value is not None:
            found += [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]
    return found
