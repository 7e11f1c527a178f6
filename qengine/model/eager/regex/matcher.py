"""Matcher: a pattern as an automaton, whose sets of states are computed when a text first needs them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache

from qengine.errors import UnsupportedError
from qengine.model.eager.regex.charsets import LAST, WORD, Ranges, contains
from qengine.model.eager.regex.parser import Assertion, Chars, Choice, Repeat, Sequence, Tree, parse

MAX_STATES = 20_000
"""Largest number of states of a pattern, its repetitions written out."""
MAX_WORK = 10_000_000
"""Largest number of states that the sets computed for one pattern may hold together."""

_KEPT_SETS = 2_000
_OUTSIDE, _NEWLINE, _WORD, _OTHER = range(4)
"""Kinds of characters that assertions tell apart; the first is the begin and the end of the text."""


@dataclass
class _Program:
    """States of an automaton: each reads a character of a set, or branches, or asserts; state 0 accepts."""

    ranges: list[Ranges | None] = field(default_factory=lambda: [None])
    assertions: list[Assertion | None] = field(default_factory=lambda: [None])
    following: list[list[int]] = field(default_factory=lambda: [[]])

    def add(self, following: list[int], ranges: Ranges | None = None, assertion: Assertion | None = None) -> int:
        """Add a state, and return its number."""
        if len(self.ranges) >= MAX_STATES:
            raise UnsupportedError(f"the pattern has more than {MAX_STATES:,} states, its repetitions written out")
        self.ranges.append(ranges)
        self.assertions.append(assertion)
        self.following.append(following)
        return len(self.ranges) - 1

    def compile(self, tree: Tree, then: int) -> int:
        """Add the states of a tree that go on with the state `then`, and return the first."""
        if isinstance(tree, Chars):
            return self.add([then], tree.ranges)
        if isinstance(tree, Assertion):
            return self.add([then], assertion=tree)
        if isinstance(tree, Sequence):
            for part in reversed(tree.parts):
                then = self.compile(part, then)
            return then
        if isinstance(tree, Choice):
            return self.add([self.compile(part, then) for part in tree.parts])
        return self._repeat(tree, then)

    def _repeat(self, tree: Repeat, then: int) -> int:
        if tree.most is None:
            again = self.add([then])
            self.following[again].append(self.compile(tree.part, again))
            then = again
        else:
            out = then
            for _ in range(tree.most - tree.least):
                then = self.add([out, self.compile(tree.part, then)])
        for _ in range(tree.least):
            then = self.compile(tree.part, then)
        return then


class Expression:
    """A compiled pattern.

    Attributes
    ----------
    pattern : the pattern.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._program = _Program()
        self._first = self._program.compile(parse(pattern), 0)
        sets = {ranges for ranges in self._program.ranges if ranges}
        edges = {0, 10, 11, LAST + 1}
        edges |= {edge for ranges in (*sets, WORD) for low, high in ranges for edge in (low, high + 1)}
        self._edges = sorted(edges)  # characters between two edges are alike
        self._ascii = [bisect_right(self._edges, code) for code in range(128)]
        self._kinds = [_OUTSIDE, *(_kind(code) for code in self._edges[:-1])]
        self._classes = {ranges: self._classes_of(ranges) for ranges in sets}
        self._numbers: dict[tuple[frozenset[int], int], int] = {}
        self._sets: list[tuple[frozenset[int], int]] = []
        self._steps: list[dict[int, int]] = []
        self._work = 0

    def _classes_of(self, ranges: Ranges) -> frozenset[int]:
        """Return the classes of characters that a set has."""
        edges = self._edges
        return frozenset(
            number for low, high in ranges for number in range(bisect_right(edges, low), bisect_right(edges, high) + 1)
        )

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches the whole text.

        Raises
        ------
        UnsupportedError
            If the sets of states that the texts need become too large together.
        """
        state = self._number(frozenset({self._first}), _OUTSIDE)
        edges, ascii_classes = self._edges, self._ascii
        for c in text:
            code = ord(c)
            kind = ascii_classes[code] if code < 128 else bisect_right(edges, code)
            following = self._steps[state].get(kind)
            state = self._step(state, kind) if following is None else following
            if not self._sets[state][0]:
                return False
        return self._is_accepting(state)

    def _number(self, states: frozenset[int], kind: int) -> int:
        """Return the number of a set of states after a character of a kind; it is made if it is new."""
        number = self._numbers.get((states, kind))
        if number is None:
            number = self._numbers[states, kind] = len(self._sets)
            self._sets.append((states, kind))
            self._steps.append({})
        return number

    def _step(self, state: int, character: int) -> int:
        """Compute and remember the set of states after a character of a class."""
        states, before = self._sets[state]
        kind = self._kinds[character]
        reached = set()
        for one in self._closure(states, before, kind):
            ranges = self._program.ranges[one]
            if ranges is not None and character in self._classes[ranges]:
                reached.add(self._program.following[one][0])
        if len(self._sets) >= _KEPT_SETS:  # forget all, so that the memory stays small
            self._numbers, self._sets, self._steps = {}, [], []
            return self._number(frozenset(reached), kind)
        number = self._number(frozenset(reached), kind)
        self._steps[state][character] = number
        return number

    def _is_accepting(self, state: int) -> bool:
        states, before = self._sets[state]
        return 0 in self._closure(states, before, _OUTSIDE)

    def _closure(self, states: frozenset[int], before: int, after: int) -> set[int]:
        """Return the states that are reached without a character, between characters of two kinds."""
        program = self._program
        seen, pending = set(states), list(states)
        while pending:
            one = pending.pop()
            assertion = program.assertions[one]
            if program.ranges[one] is not None or (assertion and not _holds(assertion, before, after)):
                continue
            for following in program.following[one]:
                if following not in seen:
                    seen.add(following)
                    pending.append(following)
        self._work += len(seen)
        if self._work > MAX_WORK:
            raise UnsupportedError(
                f"pattern '{self.pattern}' takes more than {MAX_WORK:,} steps on these texts; simplify it"
            )
        return seen


def _kind(code: int) -> int:
    """Return the kind of a character."""
    if code == 10:
        return _NEWLINE
    return _WORD if contains(WORD, code) else _OTHER


def _holds(assertion: Assertion, before: int, after: int) -> bool:
    """Whether an assertion is true between characters of two kinds."""
    if assertion is Assertion.BEGIN:
        return before == _OUTSIDE
    if assertion is Assertion.END:
        return after == _OUTSIDE
    if assertion is Assertion.LINE_BEGIN:
        return before in (_OUTSIDE, _NEWLINE)
    if assertion is Assertion.LINE_END:
        return after in (_OUTSIDE, _NEWLINE)
    return ((before == _WORD) != (after == _WORD)) == (assertion is Assertion.BOUNDARY)


@lru_cache(maxsize=32)
def compiled(pattern: str) -> Expression:
    """Return a pattern compiled, from a cache of the latest ones; see `parser.parse` for errors."""
    return Expression(pattern)
