"""Objects that are made once for a node, such as the trees that its attributes describe, and live as long as it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from qengine.model.graph import Node

_T = TypeVar("_T")

_kept: dict[int, dict[Hashable, Any]] = {}


def keep(node: Node, key: Hashable, make: Callable[[], _T]) -> _T:
    """Return the object of a node and a key, made where there is none yet.

    Two threads that miss it at the same time both make it, and one of the two stays.
    """
    own = _kept.get(id(node))
    if own is None:
        own = _kept[id(node)] = {}
        weakref.finalize(node, _kept.pop, id(node), None)
    if key not in own:
        own[key] = make()
    return cast("_T", own[key])


def kept(node: Node) -> list[Any]:
    """Return all objects of a node."""
    return list(_kept.get(id(node), {}).values())
