"""Memory of the options that came from the project file, for messages that would name what nobody typed."""

from collections.abc import Iterable, Mapping, Sequence

_origins: dict[str, str] = {}


def remember(file: str = "", keys: Mapping[str, Sequence[str]] | None = None) -> None:
    """Keep which options come from which table of a file, in place of those before; without arguments, none."""
    _origins.clear()
    for option, key in (keys or {}).items():
        _origins[option] = f"[{'.'.join(key[:-1])}] of {file}" if key[1:] else f"'{key[0]}' of {file}"


def named(options: Iterable[str]) -> tuple[str, ...]:
    """Return how messages name options: as they are typed, or by the table of the project file, each once."""
    return tuple(dict.fromkeys(_origins.get(name.removeprefix("--").replace("rgb", "bgr"), name) for name in options))
