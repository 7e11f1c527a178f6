"""The command line as it was typed, for commands that are suggested: they can be pasted.

A suggestion is made from the words that were typed, in three ways: the same command with another value, another command
on the same model and data, and a command in a message of the library, which names the model as MODEL.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from qengine.cli.project import origin

_typed: list[str] = []
_calls: list[tuple[Any, Any, list[str]]] = []
"""The command of Typer that was called last, its context and its words; empty before."""

_SUGGESTED = re.compile(r"qengine (init|calibrate|quantize|sweep|search|report|run|targets check) MODEL\b")
_FLAGS = frozenset(("--bgr", "--rgb", "--no-project", "--per-channel", "--per-tensor"))

DATA = frozenset(
    (
        *("--data", "--labels", "--limit", "--batch", "-i", "--input", "--project", "--no-project"),
        *("--scale", "--mean", "--std", "--resize", "--crop", "--bgr", "--rgb", "--layout", "--convert"),
    )
)
"""Options that say what a model is run on, which commands have in common."""

FIXED_POINT = frozenset(
    (
        *("--qformat", "--weight-qformat", "--formats", "--rule", "--rounding", "--overflow", "--accumulator-bits"),
        *("--per-channel", "--per-tensor", "--islands", "--target"),
    )
)
"""Options that say what a model computes, which commands have in common."""


def remember(words: Sequence[str]) -> None:
    """Keep the words after the name of the command."""
    _typed[:] = words
    _calls.clear()
    origin.remember()


def remember_call(command: Any, context: Any, words: Sequence[str]) -> None:
    """Keep the command that is called, its context, and its words."""
    _calls[:] = [(command, context, list(words))]


def is_typed(*options: str) -> bool:
    """Return whether one of some options was typed."""
    return any(word.partition("=")[0] in options for word in _typed)


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
    return shlex.join(
        ["qengine", *command.split(), *([] if origin.is_taken("model") else [model]), *_repeated(kept), *added]
    )


def _repeated(kept: frozenset[str]) -> Iterator[str]:
    words = iter(_typed)
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
    words, found = list(_typed), False
    for i, word in enumerate(words):
        if word == option and i + 1 < len(words):
            words[i + 1], found = value, True
        elif word.startswith(f"{option}="):
            words[i], found = f"{option}={value}", True
    return shlex.join(["qengine", *words, *([] if found else [option, value])])


def with_typed(text: str) -> str:
    """Return a text whose suggested commands have the model and the data that were typed in place of MODEL."""
    if text.startswith("{") or not _SUGGESTED.search(text):  # an object of JSON is the same for all spellings of paths
        return text
    model = "" if origin.is_taken("model") else _typed_model()
    if model is None:
        return text

    def suggested(found: re.Match[str]) -> str:
        return follow_up(found[1], model, frozenset(("--project",)) if found[1].endswith("check") else DATA)

    return _SUGGESTED.sub(suggested, text)


def _typed_model() -> str | None:
    """Return the model that was typed; None where there is none."""
    if not _calls:
        return None
    from qengine.cli.project.parse import typed_values
    from qengine.cli.project.rules import typed_model

    command, context, words = _calls[0]
    typed = typed_values(command.make_parser(context).parse_args(args=list(words))[0])
    return typed_model(" ".join(context.command_path.split()[1:]), typed) or None
