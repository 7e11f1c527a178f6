"""Long lines of C in several: calls with many arguments, and initializers with many numbers."""

from __future__ import annotations

_WIDTH = 110


def folded(text: str) -> str:
    """Return text of C with its long lines broken after commas; lines of comments and of strings stay."""
    return "\n".join(part for line in text.split("\n") for part in _parts(line))


def _parts(line: str) -> list[str]:
    plain = line.lstrip()
    if len(line) <= _WIDTH or plain.startswith(("/*", "*")) or '"' in line:
        return [line]
    indent = line[: len(line) - len(plain)] + "    "
    found, current = [], ""
    for item in line.split(", "):
        longer = f"{current}, {item}" if current else item
        if current and len(longer) >= _WIDTH:
            found.append(f"{current},")
            current = indent + item
        else:
            current = longer
    return [*found, current]
