"""The line of each key of a TOML text, which `tomllib` does not keep.

The text is valid TOML: `tomllib` has read it before. So the scanner only has to know where keys, strings, comments,
arrays and inline tables begin and end.
"""

from __future__ import annotations

import re
from typing import cast

Path = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""(?P<bare>[A-Za-z0-9_-]+)|"(?P<basic>(?:[^"\\]|\\.)*)"|'(?P<literal>[^']*)'""")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}' + r"|'''(?:[^']|'(?!''))*'{3,5}" + r"""|"(?:[^"\\]|\\.)*"|'[^']*'""", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}\n#]*")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1 on, on which each key and each table of a valid TOML text first stands."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """The position in a text, and the lines of the keys before it."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._counted, self._line = 0, 1  # a place up to which lines are counted, and its line
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                start = self._at
                while self._text[self._at] == "[":
                    self._at += 1
                table = self._keys((), start)
                self._skip(re.compile(r"[ \t]*\]+"))
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _pair(self, table: Path) -> None:
        path = self._keys(table, self._at)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self, table: Path, start: int) -> Path:
        """Read keys with dots between them, and enter each into the lines."""
        self._line += self._text.count("\n", self._counted, start)
        self._counted, line = start, self._line
        while True:
            self._skip(_SPACE)
            match = cast("re.Match[str]", _KEY.match(self._text, self._at))
            self._at = match.end()
            basic = match["basic"]
            key = match["bare"] or match["literal"] or "" if basic is None else _ESCAPE.sub(_unescaped, basic)
            table = (*table, key)
            self.lines.setdefault(table, line)
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return table
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_STRING)
        elif first in "[{":
            self._at += 1
            while True:
                self._skip(_BLANK)
                if self._text[self._at] in "]}":
                    break
                if self._text[self._at] == ",":
                    self._at += 1
                elif first == "{":
                    self._pair(path)
                else:
                    self._value(path)
            self._at += 1
        else:
            self._skip(_SCALAR)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._at = cast("re.Match[str]", pattern.match(self._text, self._at)).end()


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" and len(code) > 1 else _ESCAPED.get(code, code)
