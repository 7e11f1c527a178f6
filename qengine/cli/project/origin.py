"""Memory of what came from the project file, for messages that would name, or repeat, what nobody typed."""

from collections.abc import Iterable, Mapping, Sequence

_origins: dict[str, str] = {}
_taken: set[str] = set()


def remember(file: str = "", keys: Mapping[str, Sequence[str]] | None = None, names: Iterable[str] = ()) -> None:
    """Keep which options come from which keys of a file, in place of those before; without arguments, none.

    Parameters
    ----------
    file
        Name of the file.
    keys
        Key of each option, with the tables that it is in.
    names
        Names of all keys that the command took.
    """
    _taken.clear()
    _taken.update(names)
    _origins.clear()
    for option, key in (keys or {}).items():
        _origins[option] = f"[{'.'.join(key[:-1])}] of {file}" if key[1:] else f"'{key[0]}' of {file}"


def is_taken(key: str) -> bool:
    """Return whether the command took a key of the project file."""
    return key in _taken


def named(options: Iterable[str]) -> tuple[str, ...]:
    """Return how messages name options: as they are typed, or by the table of the project file, each once."""
    return tuple(dict.fromkeys(_origins.get(name.removeprefix("--").replace("rgb", "bgr"), name) for name in options))
