"""Keyword arguments that are fields of several frozen objects of options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

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
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    changes = {name: value for name, value in keywords.items() if name in names}
    return kind(**changes) if options is None else replace(options, **changes)  # type: ignore[type-var]


def check_keywords(function: str, keywords: Mapping[str, Any], *kinds: type[Any]) -> None:
    """Raise TypeError where a keyword argument is not a field of any of the classes of options."""
    known = {field.name for kind in kinds for field in fields(kind)}
    for name in keywords:
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")
