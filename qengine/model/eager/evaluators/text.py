"""Evaluators of text: StringNormalizer, StringConcat, StringSplit and RegexFullMatch."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import ModelError, UnsupportedError
from qengine.memory import MAX_ELEMENTS
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.regex import compiled

_POINTER = 8  # bytes
_ACTIONS = ("NONE", "LOWER", "UPPER")
_LOCALE = re.compile(r"(C|POSIX|([A-Za-z]{2,3})([_-][A-Za-z0-9]{2,4})?)?(\.[A-Za-z0-9-]+)?(@[a-z]+)?")
_TO_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_TO_UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)
_OWN_CASES = ("tr", "az", "lt")
"""Languages whose small and capital letters are paired in another way than Unicode's default."""


@evaluator("StringNormalizer")
def string_normalizer(
    x: NDArray[Any],
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "en_US",
    stopwords: tuple[str, ...] = (),
) -> NDArray[Any]:
    """Return the words without the stop words, in small or capital letters; one empty word where none remains."""
    if case_change_action not in _ACTIONS:
        raise ModelError(f"case_change_action is '{case_change_action}'; it must be one of {', '.join(_ACTIONS)}")
    if not x.size or not (x.ndim == 1 or (x.ndim == 2 and len(x) == 1)):
        raise ModelError(f"its input has the shape {list(x.shape)}; it must be [C] or [1, C], and not empty")
    lower, upper = _cases(locale)
    if is_case_sensitive:
        stops = set(stopwords)
        words = [word for word in x.flat if word not in stops]
    else:
        stops = set(map(lower, stopwords))
        words = [word for word in x.flat if lower(word) not in stops] if stops else list(x.flat)
    if case_change_action != "NONE":
        words = list(map(lower if case_change_action == "LOWER" else upper, words))
    result = np.empty(max(len(words), 1), object)
    result[:] = words or [""]
    return result if x.ndim == 1 else result[None]


def _cases(locale: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Return the functions to small and to capital letters; raise an error for a locale that has others."""
    match = _LOCALE.fullmatch(locale)
    if not match:
        raise ModelError(f"'{locale}' is not a locale such as en_US")
    if match[2] and match[2].lower() in _OWN_CASES:
        raise UnsupportedError(f"locale '{locale}' is not supported; supported are those with the cases of en_US")
    if locale in ("C", "POSIX"):
        return (lambda text: text.translate(_TO_LOWER)), (lambda text: text.translate(_TO_UPPER))
    return _lower, _upper


def _lower(text: str) -> str:
    """Return text in small letters, each of a single character, as in C."""
    return text.lower() if text.isascii() else "".join(c.lower()[0] for c in text)


def _upper(text: str) -> str:
    """Return text in capital letters, each of a single character, as in C; one without such a form stays."""
    if text.isascii():
        return text.upper()
    forms = ((c.upper(), c.title(), c) for c in text)
    return "".join(next(form for form in each if len(form) == 1) for each in forms)


@evaluator("StringConcat")
def string_concat(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return the texts of two tensors joined, with broadcasting."""
    shape = checked_shape(np.broadcast_shapes(x.shape, y.shape), _POINTER)
    count = int(np.prod(shape))
    length = sum(sum(map(len, one.flat)) * (count // one.size) for one in (x, y) if one.size)
    memory.require(length, "the text of the result")
    if length > MAX_ELEMENTS:
        raise UnsupportedError(f"its result has {length:,} characters, more than {MAX_ELEMENTS:,}")
    result: NDArray[Any] = np.empty(shape, object)
    result[...] = x + y
    return result


@evaluator("StringSplit")
def string_split(
    x: NDArray[Any], *, delimiter: str = "", maxsplit: int | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the parts of each text along a new last axis, filled with empty text, and the number of parts.

    Without a delimiter, white space of any length separates parts, and none is kept at the ends. An empty text has
    no parts.
    """
    limit = -1 if maxsplit is None or not 0 <= maxsplit < MAX_ELEMENTS else maxsplit
    if delimiter:
        parts = [text.split(delimiter, limit) if text else [] for text in x.flat]
    else:
        parts = [text.strip().split(None, limit) for text in x.flat]
    counts = np.fromiter(map(len, parts), np.int64, len(parts))
    widest = int(counts.max(initial=0))
    result: NDArray[Any] = np.full(checked_shape((x.size, widest), _POINTER), "", object)
    result[np.arange(widest) < counts[:, None]] = [part for row in parts for part in row]
    return result.reshape(*x.shape, widest), counts.reshape(x.shape)


@evaluator("RegexFullMatch")
def regex_full_match(x: NDArray[Any], *, pattern: str | None = None) -> NDArray[np.bool_]:
    """Return whether each text matches a regular expression of RE2 as a whole."""
    if pattern is None:
        raise ModelError("has no pattern")
    expression = compiled(pattern)
    found = {text: expression.matches(text) for text in set(x.flat)}
    return np.array([found[text] for text in x.flat], bool).reshape(x.shape)
