"""Words of a command line before Typer reads them: what was pasted, forgotten or given twice."""

from collections.abc import Sequence
from typing import Any

from qengine.errors import OptionError

_DASHES = "‐‑‒–—―−﹘﹣－"
_QUOTES = "‘’“”„«»"
_BLANKS = "\u00a0\u2007\u202f\u200b\ufeff"


def read_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line for Typer; `help run` is `run --help`.

    Raises
    ------
    OptionError
        If a word has a dash, a quote or a blank that only looks like the one of a keyboard.
    """
    found = list(words)
    if found[:1] == ["help"]:
        found = [*found[1:], "--help"]
    for word in found:
        _check_pasted(word)
    return found


def _check_pasted(word: str) -> None:
    start = word.lstrip(f"-{_DASHES}")
    dashes = word[: len(word) - len(start)]
    if start and any(dash in _DASHES for dash in dashes):
        option = f"--{start}" if len(start.partition("=")[0]) > 1 else f"-{start}"
        raise OptionError(f"'{word}' begins with a dash that is no '-', as pasted from a page: give {option}")
    if word.startswith(tuple(_QUOTES)) or (word.startswith("-") and any(quote in word for quote in _QUOTES)):
        plain = "".join(c for c in word if c not in _QUOTES)
        raise OptionError(f"'{word}' has quotes that no shell reads, as pasted from a page: give {plain}")
    if word.startswith("-") and any(blank in word for blank in _BLANKS):
        plain = "".join(" " if c in _BLANKS else c for c in word).strip()
        raise OptionError(f"'{plain}' has a blank of a web page in it: type it again, as separate words")


def checked_arguments(params: Sequence[Any], words: list[str]) -> list[str]:
    """Return the arguments of a command unchanged.

    Raises
    ------
    OptionError
        If the name of an option stands where the value of another one belongs, or an option that has one value is
        given two.
    """
    valued = {name: one for one in params if not getattr(one, "is_flag", False) for name in one.opts if name[:1] == "-"}
    flags = {name for one in params if getattr(one, "is_flag", False) for name in (*one.opts, *one.secondary_opts)}
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word == "--":
            break
        name, equals, value = word.partition("=")
        option = valued.get(name if word.startswith("--") else word)
        if option is None:
            continue
        if not equals or not word.startswith("--"):
            name, found = word, next(rest, None)
            if found is None:
                raise OptionError(_needs(name, option))
            if found in valued or found in flags or found == "--":
                raise OptionError(f"{_needs(name, option)}; found {found}")
            value = found
        elif not value:
            raise OptionError(f"{_needs(name, option)}; found nothing after '='")
        if not getattr(option, "multiple", False):
            if option.name in given and given[option.name] != value:
                raise OptionError(f"{name} is given twice, '{given[option.name]}' and '{value}': give it once")
            given[option.name] = value
    return words


def _needs(name: str, option: Any) -> str:
    return f"{name} needs a value, {option.metavar or option.name.upper()}"
