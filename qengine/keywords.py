"""Keyword arguments that are fields of frozen objects of options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from qengine.errors import OptionError

T = TypeVar("T")


def options_with(kind: type[T], options: T | None, keywords: Mapping[str, Any]) -> T:
    """Return options, of which the keywords that are fields of their class replace fields.

    Parameters
    ----------
    kind
        Dataclass of the options.
    options
        Options to start from; None for the defaults.
    keywords
        Keyword arguments; those that are not fields of the class are ignored, see `check_keywords`.

    Raises
    ------
    OptionError
        If the options are of another class, or the value of a keyword is not allowed.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    changes = {name: value for name, value in keywords.items() if name in names}
    if options is None:
        return kind(**changes)
    if not isinstance(options, kind):
        raise OptionError(f"options must be {kind.__name__}, not {options!r}: give single options by keyword")
    return replace(options, **changes)  # type: ignore[type-var]


def check_keywords(function: str, keywords: Mapping[str, Any], allowed: type[Any]) -> None:
    """Raise TypeError where a keyword argument is not a key of a `TypedDict`."""
    for name in keywords:
        if name not in allowed.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")
