"""Elements of HTML and SVG as text that is escaped by construction.

`element` escapes each child that is not `Markup` itself, and each attribute. Names of tensors come from files and may
hold anything; nothing else in this package writes "<".
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from qengine.errors import printable

Child = "str | int | None | Iterable[Any]"

VOID = frozenset({"meta", "input", "br", "img", "link"})

_SURROGATE = "\ufffd"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as escaped text of one line."""
    if isinstance(value, Markup):
        return value
    plain = printable(str(value)).encode("utf-8", "replace").decode("utf-8")
    return Markup(escape(plain, quote=True))


def joined(children: Iterable[Any]) -> Markup:
    """Return children one after the other; None is left out, and lists are opened."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        parts.append(joined(child) if isinstance(child, list | tuple) else text(child))
    return Markup("".join(parts))


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """Return an element.

    Parameters
    ----------
    tag
        Name of the element.
    children
        Texts, elements and lists of them; None is left out.
    attributes
        Attributes by name, with "_" for "-" and `class_` for class. None and False leave an attribute out, True gives
        it no value.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        words.append(name if value is True else f'{name}="{text(value)}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if tag in VOID else f"{start}{joined(children)}</{tag}>")


def shortened(name: str, length: int = 48) -> str:
    """Return a printable name of at most some characters, the middle left out."""
    name = printable(name[: 4 * length] + name[-4 * length :] if len(name) > 8 * length else name)
    if len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[len(name) - end :]}"


def name_of(name: str, length: int = 48, **attributes: Any) -> Markup:
    """Return the name of a tensor or node as code, shortened; the whole of it is its title."""
    short = shortened(name, length)
    title = None if short == name else shortened(name, 400)
    return element("code", short, title=title, **attributes)
