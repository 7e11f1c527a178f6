"""Values of keys in a project file that become the text of an option, as somebody would type it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

from qengine.cli import parsing
from qengine.errors import OptionError, did_you_mean
from qengine.targets.values import Value, ValueNotAllowedError, found


def numbers() -> Value:
    """Return numbers, lists of one for each channel, and texts such as "1/255"."""
    return _texts('a number, a list of one for each channel, or text such as "1/255"', _is_number, parsing.numbers)


def lengths() -> Value:
    """Return whole numbers of pixels, and pairs of height and width."""
    return _texts("a number of pixels such as 224, or [height, width]", _is_whole, parsing.some_lengths)


def at_least_one() -> Value:
    """Return whole numbers of 1 or more."""

    def read(given: Any) -> int:
        if not _is_whole(given) or given < 1:
            raise ValueNotAllowedError(found(given))
        return int(given)

    return Value("a whole number of 1 or more", read, lambda value: value)


def file_name(*endings: str) -> Value:
    """Return the names of files with one of some endings."""

    def read(given: Any) -> str:
        if not isinstance(given, str) or PurePath(given).suffix.lower() not in endings:
            raise ValueNotAllowedError(found(given))
        return given

    return Value(f"a file name that ends in {' or '.join(endings)}", read, str)


def names(known: Iterable[str]) -> Value:
    """Return some names: one text with commas between, or a list."""
    allowed = tuple(known)

    def read(given: Any) -> str:
        several = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        if not isinstance(several, list):
            raise ValueNotAllowedError(found(given))
        for one in several:
            if one not in allowed:
                raise ValueNotAllowedError(found(one) + did_you_mean(str(one), allowed))
        return ",".join(several)

    return Value(f"a list of {', '.join(allowed)}", read, str)


def inputs() -> Value:
    """Return tables of inputs: a number, a list of numbers, or the name of a file for each."""

    def read(given: Any) -> dict[str, str]:
        if not isinstance(given, Mapping):
            raise ValueNotAllowedError(found(given))
        return {name: _input(name, value) for name, value in given.items()}

    return Value("a table such as {factor = [1, 1, 3, 3]}: numbers, truth values or a file for each input", read, dict)


def _input(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(one, int | float) for one in several):
        raise ValueNotAllowedError(f"{found(value)} for '{name}'")
    return ",".join(_text(one) for one in several)


def _texts(allowed: str, is_one: Callable[[Any], bool], parse: Callable[[str, str], Any]) -> Value:
    """Return values that an option reads from text: one or a list of what `is_one` takes, or the text itself."""

    def read(given: Any) -> str:
        several = given if isinstance(given, list) else [given]
        if isinstance(given, str):
            text = given
        elif several and all(map(is_one, several)):
            text = ",".join(map(_text, several))
        else:
            raise ValueNotAllowedError(found(given))
        try:
            parse("", text)
        except OptionError:
            raise ValueNotAllowedError(found(given)) from None
        return text

    return Value(allowed, read, str)


def _is_whole(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _text(number: float | bool) -> str:
    return str(number).lower() if isinstance(number, bool) else repr(number)
