"""Values of keys in a target: how each kind is read, and the words that say what is allowed.

A value comes from TOML, from a mapping of Python, or as text from a command line. The text is read as TOML where it is
TOML, and as a word otherwise, so that `32`, `true`, `half_up` and `Add,Concat` mean what they look like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qengine.errors import FormatError, did_you_mean
from qengine.model.schemas import standard_operators
from qengine.qformat import QFormat


class ValueNotAllowedError(Exception):
    """A value is not allowed; the message says what was found."""


@dataclass(frozen=True)
class Value:
    """The values that a key may have.

    Attributes
    ----------
    allowed : all values in words, for messages and documentation.
    read : function from a value as given to the value of the field; it raises ValueNotAllowedError.
    write : function from the value of the field to a value that `read` takes.
    """

    allowed: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def choice(names: Iterable[str], kind: Callable[[str], Any] = str, meanings: Mapping[str, str] | None = None) -> Value:
    """Return the values that are one of some names.

    Parameters
    ----------
    names
        The names.
    kind
        Function that converts a name to the value of the field.
    meanings
        Names of others, and the name here that each means; see `did_you_mean`.
    """
    known = tuple(map(str, names))

    def read(given: Any) -> Any:
        if not isinstance(given, str):
            raise ValueNotAllowedError(found(given))
        if given not in known:
            raise ValueNotAllowedError(found(given) + did_you_mean(given, known, meanings))
        return kind(str(given))

    return Value(", ".join(known), read, str)


def whole(least: int, most: int, none: str | None = None, words: Sequence[str] = ()) -> Value:
    """Return whole numbers within bounds, and some words; the word `none` stands for None."""
    named = (*((none,) if none else ()), *words)

    def read(given: Any) -> Any:
        if isinstance(given, str) and given in named:
            return None if given == none else given
        if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
            raise ValueNotAllowedError(found(given))
        return int(given)

    return Value(" or ".join([f"{least} to {most}", *named]), read, lambda value: none if value is None else value)


def flag(none: str | None = None) -> Value:
    """Return true and false; the word `none` stands for None."""

    def read(given: Any) -> Any:
        if none is not None and given == none:
            return None
        if not isinstance(given, bool):
            raise ValueNotAllowedError(found(given))
        return given

    return Value(" or ".join(["true", "false", *([none] if none else [])]), read, lambda v: none if v is None else v)


def power_of_two(least: int, most: int, words: Sequence[str] = ()) -> Value:
    """Return the powers of two within bounds, and some words."""
    number = _read_power(least, most)

    def read(given: Any) -> Any:
        return given if isinstance(given, str) and given in words else number(given)

    return Value(" or ".join([f"a power of two, {least} to {most}", *words]), read, lambda value: value)


def powers_by_operator(least: int, most: int) -> Value:
    """Return tables of a power of two for each of some operators."""
    number = _read_power(least, most)

    def read(given: Any) -> tuple[tuple[str, int], ...]:
        if not isinstance(given, Mapping):
            raise ValueNotAllowedError(found(given))
        return tuple(sorted((operator_name(name), number(one)) for name, one in given.items()))

    return Value(f"a table of powers of two, {least} to {most}, by operator", read, dict)


def _read_power(least: int, most: int) -> Callable[[Any], int]:
    bounds = whole(least, most)

    def read(given: Any) -> int:
        number: int = bounds.read(given)
        if number & (number - 1):
            raise ValueNotAllowedError(found(given))
        return number

    return read


def word_lengths() -> Value:
    """Return lists of word lengths; "any" stands for None."""
    each = whole(2, 16)

    def read(given: Any) -> tuple[int, ...] | None:
        if given == "any":
            return None
        return tuple(sorted({each.read(one) for one in _list(given)}))

    return Value("a list of 2 to 16, or any", read, lambda value: "any" if value is None else list(value))


def shifts() -> Value:
    """Return pairs of a least and a most shift; "any" stands for None."""
    each = whole(-63, 63)

    def read(given: Any) -> tuple[int, int] | None:
        if given == "any":
            return None
        pair = tuple(each.read(one) for one in _list(given))
        if len(pair) != 2 or pair[0] > pair[1]:
            raise ValueNotAllowedError(found(given))
        return pair[0], pair[1]

    return Value("[least, most] of -63 to 63, or any", read, lambda value: "any" if value is None else list(value))


def names_of(known: Sequence[str], kind: Callable[[Iterable[str]], Any]) -> Value:
    """Return lists of some names; `kind` makes the value of the field."""

    def read(given: Any) -> Any:
        return kind([_name(one, known) for one in _list(given)])

    return Value(f"a list of {', '.join(known)}", read, lambda value: [name for name in known if name in value])


def operators(none: str | None = None) -> Value:
    """Return lists of names of operators of ONNX; the word `none` stands for None."""

    def read(given: Any) -> tuple[str, ...] | None:
        if none is not None and given == none:
            return None
        return tuple(dict.fromkeys(operator_name(one) for one in _list(given)))

    allowed = "a list of operators of ONNX"
    return Value(
        f"{allowed}, or {none}" if none else allowed, read, lambda value: none if value is None else list(value)
    )


def formats_by_operator() -> Value:
    """Return tables of formats, or lists of formats, by the name of an operator of ONNX."""

    def read(given: Any) -> dict[str, tuple[QFormat, ...]]:
        if not isinstance(given, Mapping):
            raise ValueNotAllowedError(found(given))
        result = {}
        for name, formats in given.items():
            try:
                result[operator_name(name)] = tuple(QFormat.of(one) for one in _list(formats))
            except FormatError:
                raise ValueNotAllowedError(f"{found(formats)} for {name}") from None
        return result

    def write(value: Mapping[str, tuple[QFormat, ...]]) -> dict[str, list[str]]:
        return {name: [str(fmt) for fmt in formats] for name, formats in value.items()}

    return Value("a table of lists of formats such as Q3.4, by operator of ONNX", read, write)


def text(allowed: str = "text") -> Value:
    """Return texts that are not empty."""

    def read(given: Any) -> str:
        if not isinstance(given, str) or not given.strip():
            raise ValueNotAllowedError(found(given))
        return given.strip()

    return Value(allowed, read, str)


def texts() -> Value:
    """Return lists of texts."""
    each = text()
    return Value("a list of texts", lambda given: tuple(each.read(one) for one in _list(given, split=False)), list)


def operator_name(given: Any) -> str:
    """Return the name of an operator of ONNX, or of another domain with its domain before it."""
    if not isinstance(given, str):
        raise ValueNotAllowedError(found(given))
    return given if "." in given else _name(given, sorted(standard_operators()))


def from_text(text: str) -> Any:
    """Return the value of a text from a command line."""
    import tomllib  # seldom needed

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def found(given: Any) -> str:
    """Return a value in words."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, Mapping):
        return "a table"
    if isinstance(given, list | tuple):
        return f"[{', '.join(map(found, given))}]"
    return repr(str(given)) if isinstance(given, str) else str(given)


def _list(given: Any, *, split: bool = True) -> list[Any]:
    """Return a list; a text with commas is a list of words."""
    if isinstance(given, str) and split:
        return [from_text(word.strip()) for word in given.split(",") if word.strip()]
    if isinstance(given, Mapping | str) or not isinstance(given, Iterable):
        raise ValueNotAllowedError(found(given))
    return list(given)


def _name(given: Any, known: Iterable[str]) -> str:
    names = list(known)
    if not isinstance(given, str) or given not in names:
        raise ValueNotAllowedError(found(given) + (did_you_mean(given, names) if isinstance(given, str) else ""))
    return given
