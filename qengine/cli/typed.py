"""The command line as it was typed, for commands that are suggested: they can be pasted."""

import shlex
from collections.abc import Iterator, Sequence

_typed: list[str] = []
_taken: list[str] = []
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
    """Keep the words after the name of the command."""
    _typed[:] = words
    _taken.clear()


def remember_taken(keys: Sequence[str]) -> None:
    """Keep the keys of the project file that the command took."""
    _taken[:] = keys


def is_taken(key: str) -> bool:
    """Return whether the command took a key of the project file."""
    return key in _taken


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
    return shlex.join(["qengine", command, *([] if is_taken("model") else [model]), *_repeated(kept), *added])


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
