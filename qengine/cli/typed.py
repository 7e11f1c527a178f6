"""The command line as it was typed, for commands that are suggested: they can be pasted."""

import shlex
from collections.abc import Sequence

_typed: list[str] = []


def remember(words: Sequence[str]) -> None:
    """Keep the words after the name of the command."""
    _typed[:] = words


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
