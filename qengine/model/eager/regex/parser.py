r"""Parser of regular expressions in the syntax of RE2, as its page "Syntax" lists it.

Left out, and refused by name: single bytes (\C), and the scripts of Unicode (\p{Greek}), for which Python has no
table. Backreferences and lookaround are errors, as in RE2: no search in linear time has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.regex.charsets import (
    ANY,
    DIGIT,
    LAST,
    POSIX,
    SPACE,
    WORD,
    Ranges,
    category,
    complement,
    folded,
    union,
)

MAX_LENGTH = 10_000
"""Largest number of characters of a pattern."""
MAX_NESTING = 100
"""Largest number of groups inside each other."""
MAX_REPEATS = 1000
"""Largest number in a repetition such as a{2,5}, as in RE2."""

_PERL = {"d": DIGIT, "s": SPACE, "w": WORD}
_ESCAPES = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_COUNTS = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_FLAGS = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_NAME = re.compile(r"\(\?P?<(\w+)>", re.ASCII)
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]+)\}")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")


class Assertion(Enum):
    """A condition on a position between two characters."""

    BEGIN = auto()
    END = auto()
    LINE_BEGIN = auto()
    LINE_END = auto()
    BOUNDARY = auto()
    NO_BOUNDARY = auto()


@dataclass(frozen=True)
class Chars:
    """A character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequence:
    """Parts one after the other; without parts the empty text."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Choice:
    """Several alternatives."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Repeat:
    """A part several times; `most` is None for any number."""

    part: Tree
    least: int
    most: int | None


Tree = Chars | Sequence | Choice | Repeat | Assertion


@dataclass(frozen=True)
class _Flags:
    ignores_case: bool = False
    is_multiline: bool = False
    dot_is_any: bool = False

    def with_text(self, on: str, off: str) -> _Flags:
        """Return the flags after (?on-off)."""
        names = {"i": "ignores_case", "m": "is_multiline", "s": "dot_is_any"}  # U changes nothing here
        changes = {names[c]: True for c in on if c in names} | {names[c]: False for c in off if c in names}
        return replace(self, **changes)


@dataclass
class _Group:
    """A group that is open: its finished alternatives, the parts of the current one, and the flags around it."""

    flags: _Flags
    choices: list[Tree] = field(default_factory=list)
    parts: list[Tree] = field(default_factory=list)

    def close(self) -> Tree:
        self.choices.append(Sequence(tuple(self.parts)))
        return self.choices[0] if len(self.choices) == 1 else Choice(tuple(self.choices))


def parse(pattern: str) -> Tree:
    """Return the tree of a pattern.

    Raises
    ------
    ModelError
        If RE2 would not accept the pattern.
    UnsupportedError
        If it is too long or nested too deeply, or uses what is left out.
    """
    if len(pattern) > MAX_LENGTH:
        raise UnsupportedError(f"the pattern has {len(pattern):,} characters, more than {MAX_LENGTH:,}")
    return _Parser(pattern).parse()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0
        self.flags = _Flags()
        self.open = [_Group(self.flags)]
        self.is_repeatable = False  # whether a repetition may follow
        self.is_repeated = False  # whether the last part is a repetition

    def error(self, reason: str) -> ModelError:
        return ModelError(f"pattern '{self.pattern}' is not valid in RE2: {reason} at character {self.at}")

    def parse(self) -> Tree:
        while self.at < len(self.pattern):
            self._step(self.pattern[self.at])
        if len(self.open) > 1:
            raise self.error("a group is not closed")
        return self.open[0].close()

    def _step(self, c: str) -> None:
        """Read one construct."""
        counts = _COUNTS.match(self.pattern, self.at) if c == "{" else None
        if c in "*+?" or counts:
            self._repeat(c, counts)
        elif c == "(":
            self._begin_group()
        elif c == ")":
            self._end_group()
        elif c == "|":
            group = self.open[-1]
            group.choices.append(Sequence(tuple(group.parts)))
            group.parts = []
            self.at, self.is_repeatable = self.at + 1, False
        elif c == "[":
            self._add(self._class())
        elif c == "\\":
            self._escape()
        elif c == ".":
            self.at += 1
            self._add(Chars(ANY if self.flags.dot_is_any else complement(((10, 10),))))
        elif c in "^$":
            self.at += 1
            begin, end = Assertion.BEGIN, Assertion.END
            if self.flags.is_multiline:
                begin, end = Assertion.LINE_BEGIN, Assertion.LINE_END
            self._add(begin if c == "^" else end)
        else:
            self.at += 1
            self._add(self._chars(((ord(c), ord(c)),)))

    def _add(self, part: Tree) -> None:
        self.open[-1].parts.append(part)
        self.is_repeatable, self.is_repeated = True, False

    def _chars(self, ranges: Ranges) -> Chars:
        return Chars(folded(ranges) if self.flags.ignores_case else ranges)

    def _repeat(self, c: str, counts: re.Match[str] | None) -> None:
        if not self.is_repeatable:
            raise self.error("a repetition has nothing to repeat")
        if self.is_repeated:
            raise self.error("a repetition follows a repetition")
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(c, (0, None))
        if counts:
            if max(len(counts[1]), len(counts[3] or "")) > len(str(MAX_REPEATS)):
                raise self.error(f"a repetition is above {MAX_REPEATS}")
            least = int(counts[1])
            most = least if counts[2] is None else int(counts[3]) if counts[3] else None
            if max(least, most or 0) > MAX_REPEATS or (most is not None and most < least):
                raise self.error(f"a repetition is above {MAX_REPEATS}, or its bounds are in the wrong order")
        self.at += len(counts[0]) if counts else 1
        if self.pattern[self.at : self.at + 1] == "?":  # prefers fewer, which changes no match of the whole text
            self.at += 1
        parts = self.open[-1].parts
        parts.append(Repeat(parts.pop(), least, most))
        self.is_repeated = True
        if counts and _copies(parts[-1]) > MAX_REPEATS:
            raise self.error(f"repetitions inside each other are above {MAX_REPEATS} together")

    def _begin_group(self) -> None:
        if len(self.open) > MAX_NESTING:
            raise UnsupportedError(f"the pattern nests groups more than {MAX_NESTING} deep")
        outer = self.flags
        if self.pattern.startswith("(?", self.at):
            flags, name = _FLAGS.match(self.pattern, self.at), _NAME.match(self.pattern, self.at)
            if name:
                self.at = name.end()
            elif flags:
                self.flags = self.flags.with_text(flags[1], flags[2] or "")
                self.at = flags.end()
                if flags[3] == ")":  # the flags of the rest of this group
                    self.is_repeatable = False
                    return
            else:
                raise self.error("a group begins with (? in a way that does not exist")
        else:
            self.at += 1
        self.open.append(_Group(outer))
        self.is_repeatable = False

    def _end_group(self) -> None:
        if len(self.open) == 1:
            raise self.error("a group is closed that is not open")
        group = self.open.pop()
        self.flags = group.flags
        self.at += 1
        self._add(group.close())

    def _escape(self) -> None:
        """Read an escape outside of a class."""
        c = self.pattern[self.at + 1 : self.at + 2]
        single = {"A": Assertion.BEGIN, "z": Assertion.END, "b": Assertion.BOUNDARY, "B": Assertion.NO_BOUNDARY}
        if c in single:
            self.at += 2
            self._add(single[c])
        elif c == "Q":
            end = self.pattern.find("\\E", self.at + 2)
            quoted = self.pattern[self.at + 2 : end if end >= 0 else len(self.pattern)]
            for one in quoted:
                self._add(self._chars(((ord(one), ord(one)),)))
            self.at = end + 2 if end >= 0 else len(self.pattern)
        elif c == "C":
            raise UnsupportedError("the pattern has \\C, a single byte, which is not supported")
        else:
            named = self._named()
            code = self._code() if named is None else 0
            self._add(self._chars(named if named is not None else ((code, code),)))

    def _named(self) -> Ranges | None:
        r"""Read a class such as \d or \pL; return None where another escape stands here."""
        c = self.pattern[self.at + 1 : self.at + 2]
        if c.lower() in _PERL and c:
            self.at += 2
            return _PERL[c] if c in _PERL else complement(_PERL[c.lower()])
        if c not in ("p", "P"):
            return None
        found = re.compile(r"\{(\^?)(\w+)\}|([A-Za-z])", re.ASCII).match(self.pattern, self.at + 2)
        if not found:
            raise self.error(f"\\{c} names no class")
        name = found[2] or found[3]
        ranges = category(name)
        if ranges is None:
            raise UnsupportedError(f"the pattern has \\{c}{{{name}}}: only general categories such as Lu are supported")
        self.at = found.end()
        if self.flags.ignores_case:
            ranges = folded(ranges)
        return complement(ranges) if (c == "P") != bool(found[1]) else ranges

    def _code(self) -> int:
        """Read an escape of a single character, and return its code point."""
        c = self.pattern[self.at + 1 : self.at + 2]
        digits = _HEX.match(self.pattern, self.at + 1)
        octal = _OCTAL.match(self.pattern, self.at + 1)
        if digits and len(digits[2] or "") <= 8 and (code := int(digits[1] or digits[2], 16)) <= LAST:
            self.at = digits.end()
            return code
        if octal:
            self.at = octal.end()
            return int(octal[0], 8)
        if c in _ESCAPES and c:
            self.at += 2
            return _ESCAPES[c]
        if c and c.isascii() and not c.isalnum():
            self.at += 2
            return ord(c)
        raise self.error(f"the escape \\{c} does not exist")

    def _class(self) -> Chars:
        """Read a class in brackets."""
        self.at += 1
        is_negated = self.pattern[self.at : self.at + 1] == "^"
        self.at += is_negated
        start, parts = self.at, []
        while self.pattern[self.at : self.at + 1] != "]" or self.at == start:
            if self.at >= len(self.pattern):
                raise self.error("a class is not closed")
            c = self.pattern[self.at]
            named = self._posix() if c == "[" else self._named() if c == "\\" else None
            parts.append(named if named is not None else self._range())
        self.at += 1
        ranges = union(*parts)
        if self.flags.ignores_case:
            ranges = folded(ranges)
        return Chars(complement(ranges) if is_negated else ranges)

    def _posix(self) -> Ranges | None:
        """Read a class such as [:alpha:]; return None where a plain bracket stands here."""
        if not self.pattern.startswith("[:", self.at):
            return None
        end = self.pattern.find(":]", self.at + 2)
        if end < 0:
            return None
        name = self.pattern[self.at + 2 : end]
        if name.removeprefix("^") not in POSIX:
            raise self.error(f"the class [:{name}:] does not exist")
        self.at = end + 2
        ranges = POSIX[name.removeprefix("^")]
        return complement(ranges) if name.startswith("^") else ranges

    def _range(self) -> Ranges:
        """Read a character of a class, or a range of them."""
        low = high = self._class_code()
        rest = self.pattern[self.at : self.at + 2]
        if rest.startswith("-") and len(rest) == 2 and rest[1] != "]":
            self.at += 1
            high = self._class_code()
            if high < low:
                raise self.error("the ends of a range are in the wrong order")
        return ((low, high),)

    def _class_code(self) -> int:
        if self.at >= len(self.pattern):
            raise self.error("a class is not closed")
        if self.pattern[self.at] == "\\":
            return self._code()
        self.at += 1
        return ord(self.pattern[self.at - 1])


def _copies(tree: Tree) -> int:
    """Return the largest number of copies of a part that the repetitions with counts make."""
    if isinstance(tree, Repeat):
        return max(tree.most or tree.least, 1) * _copies(tree.part)
    if isinstance(tree, Sequence | Choice):
        return max(map(_copies, tree.parts), default=1)
    return 1
